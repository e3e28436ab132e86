"""`plait keys`: key files of ledger accounts. A private key is never an argument, an environment variable or output.

A key file is JSON, {"version": 1, "address", "private_key"}, readable by its owner only; a file that others may read is
refused. The keys are ordinary Ethereum keys; actions are EIP-712 typed data, so a wallet can sign them instead.
"""

import os
import secrets
import stat
import sys
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from plait.cli.output import json_option, out, print_json
from plait.client.ledger import address_of
from plait.codec.damage import DAMAGED
from plait.errors import ConfigurationError
from plait.rollups.embedded.accounts import DEVELOPMENT_ACCOUNTS
from plait.rpc.encoding import checksummed

KEYS_ENVIRONMENT: Final = "PLAIT_KEYS"
_NAME_CHARACTERS_MAX: Final = 64
_VERSION: Final = 1


class KeyFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a key file holds."""

    version: int
    address: str
    private_key: str


def keys_directory(given: Path | None) -> Path:
    """Where key files are: the option, else $PLAIT_KEYS, else ~/.plait/keys."""
    if given is not None:
        return given
    named = os.environ.get(KEYS_ENVIRONMENT)
    return Path(named) if named else Path.home() / ".plait" / "keys"


def key_path(directory: Path, name: str) -> Path:
    """Path of a key file by its name.

    Raises:
        ConfigurationError: `name_malformed`.
    """
    if not 1 <= len(name) <= _NAME_CHARACTERS_MAX or not all(letter.isalnum() or letter in "-_" for letter in name):
        raise ConfigurationError("A key's name has 1 to 64 letters, digits, - or _.", code="name_malformed")
    return directory / f"{name}.json"


def write_key(directory: Path, name: str, private_key: bytes) -> str:
    """Writes a new key file; returns its address.

    Raises:
        ConfigurationError: `key_exists`, `key_malformed` or `name_malformed`.
    """
    path = key_path(directory, name)
    try:
        address = checksummed(address_of(private_key))
    except ValueError:
        raise ConfigurationError(
            "A private key is 32 bytes, not zero and below the curve's order.", code="key_malformed"
        ) from None
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    content = msgspec.json.encode(KeyFile(_VERSION, address, "0x" + private_key.hex()))
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise ConfigurationError(
            f"There is a key named {name!r} already; choose another name.", code="key_exists", path=str(path)
        ) from None
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return address


def read_key(directory: Path, name: str) -> bytes:
    """The private key of a key file.

    Raises:
        ConfigurationError: `key_unknown`, `key_exposed` (others may read it) or `key_malformed`.
    """
    path = key_path(directory, name)
    try:
        mode = path.stat().st_mode
        content = path.read_bytes()
    except FileNotFoundError:
        known = ", ".join(names(directory)) or "none"
        raise ConfigurationError(
            f"There is no key named {name!r} in {directory}; there are: {known}.", code="key_unknown"
        ) from None
    if stat.S_IMODE(mode) & 0o077:
        raise ConfigurationError(
            f"{path} can be read by others; make it yours alone with `chmod 600`.", code="key_exposed", path=str(path)
        )
    try:
        found = msgspec.json.decode(content, type=KeyFile)
        private_key = bytes.fromhex(found.private_key.removeprefix("0x"))
        if checksummed(address_of(private_key)) != found.address:
            raise ValueError("another address")
    except DAMAGED:
        raise ConfigurationError(f"{path} is not a key file.", code="key_malformed", path=str(path)) from None
    return private_key


def names(directory: Path) -> list[str]:
    """Names of all key files, ascending."""
    return sorted(path.stem for path in directory.glob("*.json")) if directory.is_dir() else []


def keys_dir_option(function: Any) -> Any:
    """The option that says where key files are."""
    return click.option(
        "--keys-dir",
        type=click.Path(file_okay=False, path_type=Path),
        help=f"Directory of key files; else ${KEYS_ENVIRONMENT}, else ~/.plait/keys.",
    )(function)


@click.group()
def keys() -> None:
    """Create, import and list the key files of ledger accounts."""


@keys.command("create")
@click.argument("name")
@keys_dir_option
@json_option
def create(name: str, keys_dir: Path | None, as_json: bool) -> None:
    """Make a new key under NAME. Copy its file to a safe place: nobody can restore it."""
    directory = keys_directory(keys_dir)
    _told(name, write_key(directory, name, secrets.token_bytes(32)), directory, as_json)


@keys.command("import")
@click.argument("name")
@click.option("--development", type=click.IntRange(0, 9), help="One of the ten public development keys.")
@keys_dir_option
@json_option
def import_(name: str, development: int | None, keys_dir: Path | None, as_json: bool) -> None:
    """Store a private key under NAME; it is read from the terminal without echo, or from standard input."""
    directory = keys_directory(keys_dir)
    if development is not None:
        private_key = DEVELOPMENT_ACCOUNTS[development].private_key
    else:
        text = click.prompt("private key", hide_input=True) if sys.stdin.isatty() else sys.stdin.readline()
        try:
            private_key = bytes.fromhex(text.strip().removeprefix("0x"))
        except ValueError:
            raise ConfigurationError("A private key is 64 hex digits.", code="key_malformed") from None
    _told(name, write_key(directory, name, private_key), directory, as_json)


@keys.command("list")
@keys_dir_option
@json_option
def list_(keys_dir: Path | None, as_json: bool) -> None:
    """List key files with their addresses."""
    directory = keys_directory(keys_dir)
    found = [{"name": name, "address": checksummed(address_of(read_key(directory, name)))} for name in names(directory)]
    if as_json:
        print_json(found)
        return
    for entry in found:
        out.print(f"{entry['name']:<20} {entry['address']}", markup=False)
    if not found:
        out.print(f"no keys in {directory}; `plait keys create NAME` makes one", markup=False)


def _told(name: str, address: str, directory: Path, as_json: bool) -> None:
    if as_json:
        print_json({"name": name, "address": address})
    else:
        out.print(f"{name}  {address}  in {key_path(directory, name)}", markup=False)


commands = {"keys": keys}
