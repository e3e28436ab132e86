"""What all commands that send ledger actions share: options, amounts, names of accounts and validators, the answer.

Amounts are in PLAIT with up to 18 decimals; `base` after a whole number means base units (`5base`).
"""

import asyncio
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from plait.cli.keys import key_path, keys_dir_option, keys_directory, read_key
from plait.cli.output import json_option, out, print_json, url_option
from plait.client import Client
from plait.client.ledger import ACTION_WAIT_S, act, address_of
from plait.errors import InvalidInput
from plait.ledger.parameters import TOKEN
from plait.types import Address, Amount
from plait.types.action import Body

_AMOUNT: Final = re.compile(r"([0-9]+)(?:\.([0-9]{1,18}))?\Z").match
_BASE: Final = re.compile(r"([0-9]+)base\Z").match
_ADDRESS: Final = re.compile(r"0x[0-9a-fA-F]{40}\Z").match
T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


class AmountType(click.ParamType[Amount]):
    """An amount of PLAIT."""

    name = "amount"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Amount:
        """Base units."""
        if isinstance(value, int):
            return Amount(value)
        whole = _BASE(value)
        if whole is not None:
            return Amount(int(whole[1]))
        found = _AMOUNT(value)
        if found is None:
            self.fail(f"{value!r} is no amount: PLAIT with up to 18 decimals, or base units as in 5base", param, ctx)
        return Amount(int(found[1]) * TOKEN + int((found[2] or "").ljust(18, "0")))


AMOUNT: Final = AmountType()


def tokens(amount: str | int) -> str:
    """An amount of base units for people."""
    units = int(amount, 16) if isinstance(amount, str) else amount
    whole, rest = divmod(units, TOKEN)
    decimals = f"{rest:018d}".rstrip("0")
    return f"{whole:,}" + (f".{decimals}" if decimals else "") + " PLAIT"


def acting_options(function: F) -> F:
    """Options of a command that sends an action."""
    for option in (
        json_option,
        url_option,
        click.option(
            "--wait", "wait_s", type=float, default=ACTION_WAIT_S, show_default=True,
            help="Seconds to wait for the decision; 0 only hands it in.",
        ),
        keys_dir_option,
        click.option("--from", "key_name", required=True, metavar="NAME", help="Key that signs; see `plait keys`."),
    ):  # fmt: skip
        function = option(function)
    return function


def run(url: str, work: Callable[[Client], Awaitable[T]]) -> T:
    """Runs a coroutine with a client of the node at `url`."""

    async def inner() -> T:
        async with Client(url) as client:
            return await work(client)

    return asyncio.run(inner())


def send(body_of: Callable[[Client, Address], Awaitable[Body]] | Body, told: str, options: dict[str, Any]) -> None:
    """Signs and sends an action, waits, and tells the outcome.

    Args:
        body_of: the body, or what makes it with answers of the node.
        told: what was done, for people.
        options: of `acting_options`, by name.
    """
    private_key = read_key(keys_directory(options["keys_dir"]), options["key_name"])

    async def work(client: Client) -> dict[str, Any]:
        body = body_of if isinstance(body_of, Body) else await body_of(client, address_of(private_key))
        done = await act(client, private_key, body, wait_s=options["wait_s"])
        return {"hash": done.hash, "nonce": done.nonce, "height": done.height}

    answer = run(options["url"], work)
    if options["as_json"]:
        print_json(answer)
    elif answer["height"] is None:
        out.print(f"handed in: {told}; action {answer['hash']}", markup=False)
    else:
        out.print(f"{told}; decided in height {answer['height']}, action {answer['hash']}", markup=False)


def account_address(text: str, keys_dir: Path | None) -> Address:
    """An account by address or by the name of a key file.

    Raises:
        ConfigurationError: no such key.
    """
    if _ADDRESS(text):
        return Address(bytes.fromhex(text[2:]))
    directory = keys_directory(keys_dir)
    if not key_path(directory, text).exists():
        raise InvalidInput(f"{text!r} is neither an address nor a key's name.", code="account_unknown")
    return address_of(read_key(directory, text))


async def validator_operator(client: Client, text: str) -> Address:
    """A validator by its operator's address or by its name.

    Raises:
        InvalidInput: `validator_unknown`, no validator or several have this name.
    """
    if _ADDRESS(text):
        return Address(bytes.fromhex(text[2:]))
    found = [entry["operator"] for entry in await client.call("plait_getValidators") if entry["name"] == text]
    if len(found) != 1:
        problem = "several validators have" if found else "no validator has"
        raise InvalidInput(f"{problem} the name {text!r}; use the operator's address.", code="validator_unknown")
    return Address(bytes.fromhex(found[0][2:]))
