"""A light block: a header, the commit that decided it, and the validators that could sign it; CometBFT's JSON of it.

CometBFT's RPC gives a block's header and commit at `/commit` and its validators at `/validators`. A node of Plait
serves both together (`plait_getLightBlock`): {"signed_header": {"header", "commit"}, "validators": [...]}, each part
as CometBFT writes it. What is said twice there (addresses of validators, hashes) is computed here, never taken over.

Pure.
"""

import re
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Sequence
from datetime import date
from typing import Any, Final

import msgspec

from plait.errors import LightRefused
from plait.light.commits import Commit, CommitSignature
from plait.light.headers import INT64_MAX, BlockId, Header
from plait.light.protobuf import NANOSECONDS
from plait.light.validators import Validator, ValidatorSet
from plait.limits import LIGHT_VALIDATORS_MAX
from plait.types import Hash32, Height
from plait.types.consensus import BlockIdFlag

KEY_TYPE: Final = "tendermint/PubKeyEd25519"
_TIME: Final = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?Z", re.ASCII)
_EPOCH_DAY: Final = date(1970, 1, 1).toordinal()
_INT: Final = re.compile(r"-?\d{1,20}", re.ASCII)


class LightBlock(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is needed to check that a block was decided."""

    header: Header
    commit: Commit
    validators: ValidatorSet

    @property
    def height(self) -> Height:
        """Of the block."""
        return self.header.height

    @property
    def hash(self) -> Hash32:
        """Of the block."""
        return self.header.hash

    def check(self, chain_id: str) -> None:
        """Checks that the three parts belong together. Signatures are checked elsewhere.

        Raises:
            LightRefused: `light_block_malformed`, `light_commit_malformed`, `light_chain_wrong`,
                `light_commit_mismatch` (the commit is for another block), `light_validators_mismatch`.
        """
        self.header.check()
        self.commit.check()
        self.validators.check()
        header, commit = self.header, self.commit
        if header.chain_id != chain_id:
            raise LightRefused(
                f"The block is of chain {header.chain_id!r}, not of {chain_id!r}.",
                code="light_chain_wrong", height=header.height, chain_id=header.chain_id,
            )  # fmt: skip
        if commit.height != header.height or commit.block_id.hash != header.hash:
            raise LightRefused(
                f"The commit is for block {commit.block_id.hash.hex()} of height {commit.height}, the header is block "
                f"{header.hash.hex()} of height {header.height}.",
                code="light_commit_mismatch", height=header.height,
            )  # fmt: skip
        if self.validators.hash != header.validators_hash:
            raise LightRefused(
                f"The validators shown for height {header.height} are not those that its header names.",
                code="light_validators_mismatch", height=header.height,
            )  # fmt: skip


# ---------------------------------------------------------------- from JSON
def decode_light_block(value: object) -> LightBlock:
    """Reads the JSON form of this module's description.

    Raises:
        LightRefused: `light_answer_malformed` with the field that cannot be read.
    """
    shown = _object("light block", value)
    signed = _object("signed_header", shown.get("signed_header"))
    return LightBlock(
        header=decode_header(signed.get("header")),
        commit=decode_commit(signed.get("commit")),
        validators=decode_validators(shown.get("validators")),
    )


def decode_header(value: object) -> Header:
    """Reads a header as CometBFT writes it. Raises LightRefused `light_answer_malformed`."""
    shown = _object("header", value)
    version = _object("version", shown.get("version"))
    chain_id = shown.get("chain_id")
    if not isinstance(chain_id, str):
        raise _malformed("chain_id")
    return Header(
        block_version=_integer("version.block", version.get("block", "0"), 0, INT64_MAX),
        app_version=_integer("version.app", version.get("app", "0"), 0, 2**64 - 1),
        chain_id=chain_id,
        height=Height(_integer("height", shown.get("height"), 0, INT64_MAX)),
        time_ns=parse_time(shown.get("time")),
        last_block_id=_block_id(shown.get("last_block_id")),
        **{name: _hex(name, shown.get(name, "")) for name in _HASHES},
    )


_HASHES: Final = (
    "last_commit_hash",
    "data_hash",
    "validators_hash",
    "next_validators_hash",
    "consensus_hash",
    "app_hash",
    "last_results_hash",
    "evidence_hash",
    "proposer_address",
)


def decode_commit(value: object) -> Commit:
    """Reads a commit as CometBFT writes it. Raises LightRefused `light_answer_malformed`."""
    shown = _object("commit", value)
    return Commit(
        height=Height(_integer("commit.height", shown.get("height"), 0, INT64_MAX)),
        round=_integer("commit.round", shown.get("round"), 0, 2**31 - 1),
        block_id=_block_id(shown.get("block_id")),
        signatures=tuple(_signature(one) for one in _list("commit.signatures", shown.get("signatures"))),
    )


def decode_validators(value: object) -> ValidatorSet:
    """Reads a list of validators as CometBFT writes it. Raises LightRefused `light_answer_malformed`."""
    return ValidatorSet(tuple(_validator(one) for one in _list("validators", value)))


def parse_time(value: object) -> int:
    """Nanoseconds since the Unix epoch of an RFC 3339 time in UTC. Raises LightRefused `light_answer_malformed`."""
    found = _TIME.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise _malformed("time")
    year, month, day, hour, minute, second = (int(part) for part in found.groups()[:6])
    try:
        days = date(year, month, day).toordinal() - _EPOCH_DAY
    except ValueError:
        raise _malformed("time") from None
    if hour > 23 or minute > 59 or second > 59:
        raise _malformed("time")
    nanoseconds = int((found.group(7) or "0").ljust(9, "0"))
    return ((days * 24 + hour) * 3600 + minute * 60 + second) * NANOSECONDS + nanoseconds


def _validator(value: object) -> Validator:
    shown = _object("validator", value)
    key = _object("pub_key", shown.get("pub_key"))
    if key.get("type") != KEY_TYPE:
        raise _malformed("pub_key.type")
    return Validator(
        _base64("pub_key.value", key.get("value")), _integer("power", shown.get("voting_power"), 0, INT64_MAX)
    )


def _signature(value: object) -> CommitSignature:
    shown = _object("signature", value)
    flag = _integer("block_id_flag", shown.get("block_id_flag"), 1, 3)
    signature = shown.get("signature")
    return CommitSignature(
        flag=BlockIdFlag(flag),
        address=_hex("validator_address", shown.get("validator_address", "")),
        time_ns=parse_time(shown.get("timestamp")),
        signature=b"" if signature is None else _base64("signature", signature),
    )


def _block_id(value: object) -> BlockId:
    shown = _object("block_id", value)
    parts = _object("parts", shown.get("parts"))
    return BlockId(
        hash=_hex("block_id.hash", shown.get("hash", "")),
        parts_total=_integer("parts.total", parts.get("total", 0), 0, 2**32 - 1),
        parts_hash=_hex("parts.hash", parts.get("hash", "")),
    )


def _object(field: str, value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _malformed(field)
    return value


def _list(field: str, value: object) -> Sequence[object]:
    if not isinstance(value, list) or len(value) > LIGHT_VALIDATORS_MAX:
        raise _malformed(field)
    return value


def _integer(field: str, value: object, low: int, high: int) -> int:
    """CometBFT writes integers of 64 bits as strings and smaller ones as numbers."""
    if isinstance(value, str) and _INT.fullmatch(value):
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise _malformed(field)
    return value


def _hex(field: str, value: object) -> bytes:
    try:
        return bytes.fromhex(value) if isinstance(value, str) and len(value) <= 128 else _refuse(field)
    except ValueError:
        raise _malformed(field) from None


def _base64(field: str, value: object) -> bytes:
    try:
        return b64decode(value, validate=True) if isinstance(value, str) and len(value) <= 128 else _refuse(field)
    except (Base64Error, ValueError):
        raise _malformed(field) from None


def _refuse(field: str) -> bytes:
    raise _malformed(field)


def _malformed(field: str) -> LightRefused:
    return LightRefused(f"The provider's answer has no readable {field}.", code="light_answer_malformed", field=field)


# ---------------------------------------------------------------- to JSON
def encode_light_block(block: LightBlock) -> dict[str, Any]:
    """The JSON form of this module's description."""
    signed = {"header": encode_header(block.header), "commit": encode_commit(block.commit)}
    return {"signed_header": signed, "validators": encode_validators(block.validators)}


def encode_header(header: Header) -> dict[str, Any]:
    """A header as CometBFT writes it."""
    return {
        "version": {"block": str(header.block_version), "app": str(header.app_version)},
        "chain_id": header.chain_id,
        "height": str(header.height),
        "time": format_time(header.time_ns),
        "last_block_id": encode_block_id(header.last_block_id),
    } | {name: getattr(header, name).hex().upper() for name in _HASHES}


def encode_commit(commit: Commit) -> dict[str, Any]:
    """A commit as CometBFT writes it."""
    return {
        "height": str(commit.height),
        "round": commit.round,
        "block_id": encode_block_id(commit.block_id),
        "signatures": [
            {
                "block_id_flag": int(one.flag),
                "validator_address": one.address.hex().upper(),
                "timestamp": format_time(one.time_ns),
                "signature": b64encode(one.signature).decode() if one.signature else None,
            }
            for one in commit.signatures
        ],
    }


def encode_validators(validators: ValidatorSet) -> list[dict[str, Any]]:
    """Validators as CometBFT writes them, without their proposer priorities."""
    return [
        {
            "address": one.address.hex().upper(),
            "pub_key": {"type": KEY_TYPE, "value": b64encode(one.public_key).decode()},
            "voting_power": str(one.power),
        }
        for one in validators.validators
    ]


def encode_block_id(block_id: BlockId) -> dict[str, Any]:
    """A block id as CometBFT writes it."""
    parts = {"total": block_id.parts_total, "hash": block_id.parts_hash.hex().upper()}
    return {"hash": block_id.hash.hex().upper(), "parts": parts}


def format_time(time_ns: int) -> str:
    """RFC 3339 in UTC, with as many digits of a second as are needed, as Go writes it. Years 1 to 9999."""
    seconds, nanoseconds = divmod(time_ns, NANOSECONDS)
    days, rest = divmod(seconds, 86_400)
    fraction = f".{nanoseconds:09d}".rstrip("0") if nanoseconds else ""
    day = date.fromordinal(days + _EPOCH_DAY).isoformat()
    return f"{day}T{rest // 3600:02d}:{rest // 60 % 60:02d}:{rest % 60:02d}{fraction}Z"
