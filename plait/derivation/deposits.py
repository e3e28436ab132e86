"""TransactionDeposited logs of L1 to the deposits of a rollup's block. Pure.

Specification (OP Stack specs, deposits: user-deposited transactions; deposit contract)
    - The event is TransactionDeposited(address indexed from, address indexed to, uint256 indexed version,
      bytes opaqueData) of the rollup's deposit contract (its portal), in a transaction that succeeded.
    - Version 0: opaqueData = mint (32) ++ value (32) ++ gas limit (8) ++ is creation (1) ++ data. `from` is aliased
      already when a contract deposited. A creation ignores `to`.
    - The log's data is the ABI encoding of one `bytes`: offset 32, its length, the bytes, padded to words, and no
      word more than needed.
    - Source hash: domain 0 over the L1 block's hash and the log's index in the block (not in its transaction). The
      order of deposits is the order of the logs.
    - op-node stops at a deposit log that is malformed, for a deposit may never be skipped; no portal emits one. Here
      `deposits_of_logs` hands the malformed ones out beside the others, so that one rollup's broken portal stops
      no other rollup and the caller names it.
Imports: plait.types, plait.errors, plait.native (Keccak-256), the Deposit record.
"""

from collections.abc import Iterable
from typing import Final

import msgspec

from plait.derivation.attributes import Deposit, user_deposit_source_hash
from plait.errors import CodecError
from plait.native import keccak256
from plait.types import Address, Gas, Hash32, Wei

TRANSACTION_DEPOSITED: Final = Hash32(keccak256(b"TransactionDeposited(address,address,uint256,bytes)"))
"""Topic 0 of the event."""

_VERSION_0: Final = bytes(32)
_OPAQUE_BYTES_MIN: Final = 32 + 32 + 8 + 1
_WORD: Final = 32


class L1Log(msgspec.Struct, frozen=True):
    """A log of a successful L1 transaction; `index` is its position in the block, over all transactions."""

    address: Address
    topics: tuple[bytes, ...]
    data: bytes
    index: int


class MalformedLog(msgspec.Struct, frozen=True):
    """A log that says it is a deposit and is none, and why."""

    index: int
    reason: str


def deposit_of_log(log: L1Log, l1_block_hash: Hash32) -> Deposit:
    """The deposit that a TransactionDeposited log says.

    Raises:
        CodecError: `deposit_log_malformed`: other topics or version, data that is not one `bytes`, too few bytes.
    """
    if len(log.topics) != 4 or log.topics[0] != TRANSACTION_DEPOSITED:
        raise _malformed(log, f"it has {len(log.topics)} topics or another event's")
    if log.topics[3] != _VERSION_0:
        raise _malformed(log, f"version 0x{log.topics[3].hex()} is unknown")
    opaque = _opaque_data(log)
    if len(opaque) < _OPAQUE_BYTES_MIN:
        raise _malformed(log, f"{len(opaque)} bytes hold no deposit of version 0")
    creation = opaque[72] != 0
    return Deposit(
        source_hash=user_deposit_source_hash(l1_block_hash, log.index),
        sender=Address(log.topics[1][12:]),
        to=None if creation else Address(log.topics[2][12:]),
        mint=Wei(int.from_bytes(opaque[:32], "big")),
        value=Wei(int.from_bytes(opaque[32:64], "big")),
        gas_limit=Gas(int.from_bytes(opaque[64:72], "big")),
        data=opaque[73:],
    )


def deposits_of_logs(
    logs: Iterable[L1Log], l1_block_hash: Hash32, deposit_contract: Address
) -> tuple[tuple[bytes, ...], tuple[MalformedLog, ...]]:
    """Raw deposits of one rollup in an L1 block, and what claims to be one and is not.

    Args:
        logs: of the block's successful transactions, in their order.
        l1_block_hash: of that block.
        deposit_contract: the rollup's portal.
    """
    raws: list[bytes] = []
    malformed: list[MalformedLog] = []
    for log in logs:
        if log.address != deposit_contract or not log.topics or log.topics[0] != TRANSACTION_DEPOSITED:
            continue
        try:
            raws.append(deposit_of_log(log, l1_block_hash).encode())
        except CodecError as error:
            malformed.append(MalformedLog(index=log.index, reason=error.message))
    return tuple(raws), tuple(malformed)


def deposit_log(deposit: Deposit, *, address: Address, index: int) -> L1Log:
    """The log that a portal emits for a deposit; the inverse of `deposit_of_log` but for the source hash."""
    opaque = b"".join(
        (
            deposit.mint.to_bytes(32, "big"),
            deposit.value.to_bytes(32, "big"),
            deposit.gas_limit.to_bytes(8, "big"),
            b"\x01" if deposit.to is None else b"\x00",
            deposit.data,
        )
    )
    padded = opaque + bytes(-len(opaque) % _WORD)
    target = deposit.to if deposit.to is not None else bytes(20)
    return L1Log(
        address=address,
        topics=(TRANSACTION_DEPOSITED, deposit.sender.rjust(32, b"\0"), target.rjust(32, b"\0"), _VERSION_0),
        data=_WORD.to_bytes(32, "big") + len(opaque).to_bytes(32, "big") + padded,
        index=index,
    )


def _opaque_data(log: L1Log) -> bytes:
    """The one `bytes` of a log's data. Raises CodecError as `deposit_of_log`."""
    data = log.data
    if len(data) < 2 * _WORD or len(data) % _WORD:
        raise _malformed(log, f"{len(data)} bytes of data are no ABI encoding of one `bytes`")
    offset = int.from_bytes(data[:32], "big")
    length = int.from_bytes(data[32:64], "big")
    room = len(data) - 2 * _WORD
    if offset != _WORD:
        raise _malformed(log, "its data does not begin at byte 32")
    if length > room or length + _WORD <= room:
        raise _malformed(log, f"a length of {length} does not fill {room} bytes")
    return data[64 : 64 + length]


def _malformed(log: L1Log, reason: str) -> CodecError:
    sentence = f"log {log.index} of the deposit contract 0x{log.address.hex()} is no deposit: {reason}"
    return CodecError(sentence, code="deposit_log_malformed", log_index=log.index)
