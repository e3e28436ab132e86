"""Plait as the interop filter of an execution client: may a transaction with this access list enter a pool?

An op-geth (`--rollup.interoprpc`) or op-reth (`--rollup.interop-http`) asks before it admits a transaction that
executes messages. What is answered is `plait.interop.validity.refuse_admission` on the rollups of this node, with the
OP Stack's numbers. Like the OP Stack's own filter it wants a message to be older than its execution: of a transaction
that another builder will order nobody here can exclude cycles. Same-slot messages are for transactions handed to this
node.

A chain has been read up to the last second before its next block can begin: the open block's timestamp and its block
time, less one. Levels `unsafe` and `cross-unsafe` see the open block as decided so far, the safer ones sealed blocks
only (`plait.rpc.endpoint` says why these are final here).

Level 7. Source: ethereum-optimism/optimism op-interop-filter (backend.go), op-service/apis; op-geth eth/interop.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

from plait.errors import MessageRefused
from plait.execution.messages import declared_by, initiating_log
from plait.interop.access_list import Access, parse_accesses
from plait.interop.identifiers import LogIndex, MessageChainId
from plait.interop.messages import CROSS_L2_INBOX
from plait.interop.validity import (
    AWAITED_CODES,
    InitiatingLog,
    InteropSet,
    LogAbsence,
    LogLookup,
    MessageRefusal,
    RpcCode,
    refuse_admission,
    refuse_execution,
    refuse_unknown_chain,
)
from plait.limits import ACCESS_LIST_KEYS_MAX, MESSAGE_LOGS_KEPT_S, MESSAGES_PER_TRANSACTION_MAX
from plait.native import Refusal, Transaction, declaring
from plait.rpc.backend import Backend
from plait.rpc.errors import RpcError
from plait.rpc.parameters import COUNT, COUNT_SCHEMA, HASH_SCHEMA, Kind, fixed
from plait.types import BlockNumber, Hash32, RollupId, Seconds

SAFETY_LEVELS: Final = {
    "unsafe": True,
    "cross-unsafe": True,
    "local-safe": False,
    "safe": False,
    "finalized": False,
}
"""Safety levels, and whether logs of the open block have them."""


class Execution(NamedTuple):
    """Where and when messages are to be executed."""

    chain_id: MessageChainId
    timestamp: Seconds
    timeout_s: Seconds
    """How long the transaction may wait."""


class _Descriptor(msgspec.Struct):
    timestamp: int | str
    chain_id: int | str | None = msgspec.field(name="chainID", default=None)
    timeout: int | str | None = None


_descriptor: Final = msgspec.json.Decoder(_Descriptor)
_UINT256: Final = 256


def chain_id(value: object) -> MessageChainId:
    """A chain id as clients write it: a decimal string (op-geth), a hex quantity, or a number. Raises ValueError."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= len(str(2**_UINT256)):
        number = int(value)
        if number >> _UINT256:
            raise ValueError("a chain id has at most 256 bits")
        return MessageChainId(number)
    return MessageChainId(int(COUNT.decode(value)))


def descriptor(data: bytes) -> Execution:
    """The executing descriptor {chainID, timestamp, timeout}. Raises ValueError with the problem."""
    try:
        found = _descriptor.decode(data)
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from None
    if found.chain_id is None:
        raise ValueError("chainID is missing: which chain executes the message?")
    numbers = [int(COUNT.decode(value)) for value in (found.timestamp, found.timeout or 0)]
    if any(number >> 64 for number in numbers):
        raise ValueError("timestamp and timeout have at most 64 bits")
    return Execution(chain_id(found.chain_id), Seconds(numbers[0]), Seconds(numbers[1]))


def inbox_entries(value: object) -> list[Hash32]:
    """Storage keys of CrossL2Inbox. Raises ValueError with the problem."""
    if not isinstance(value, list):
        raise ValueError("the entries are an array of 32-byte hex strings")
    if len(value) > ACCESS_LIST_KEYS_MAX:
        raise ValueError(f"at most {ACCESS_LIST_KEYS_MAX} entries are looked at")
    return [Hash32(fixed(item, 32)) for item in value]


def safety_level(value: object) -> bool:
    """Whether logs of the open block count. Raises ValueError for a level that there is not."""
    if not isinstance(value, str) or value not in SAFETY_LEVELS:
        raise ValueError(f"unsupported safety level; there are {', '.join(SAFETY_LEVELS)}")
    return SAFETY_LEVELS[value]


CHAIN_ID: Final = Kind(chain_id, {"title": "chain id", "anyOf": [{"type": "string"}, {"type": "integer"}]})
INBOX_ENTRIES: Final = Kind(inbox_entries, {"type": "array", "items": HASH_SCHEMA})
SAFETY_LEVEL: Final = Kind(safety_level, {"enum": list(SAFETY_LEVELS)})
DESCRIPTOR: Final = Kind(
    descriptor,
    {
        "title": "executing descriptor",
        "type": "object",
        "required": ["chainID", "timestamp"],
        "properties": {"chainID": {"type": "string"}, "timestamp": COUNT_SCHEMA, "timeout": COUNT_SCHEMA},
    },
    raw=True,
)


# ---------------------------------------------------------------- the node's chains
def set_of(backend: Backend, chain: MessageChainId) -> InteropSet:
    """The set of a chain. Raises RpcError with the number for unknown chains."""
    found = backend.interop_sets.get(RollupId(chain))
    if found is None:
        raise error_of(
            MessageRefusal("chain_unknown", RpcCode.UNKNOWN_CHAIN, f"chain {chain} is in no interop set here")
        )
    return found


def read_until(backend: Backend, interop_set: InteropSet) -> Seconds:
    """The last second up to which every chain of a set has been read."""
    ends: list[int] = []
    for chain in interop_set.chains:
        native = backend.rollups[RollupId(chain.chain_id)].native
        block = native.open_block or native.head
        ends.append(block.timestamp + chain.block_time_s - 1)
    return Seconds(min(ends))


def lookup_in(backend: Backend, *, open_blocks: bool) -> LogLookup:
    """Finds logs in the node's rollups: of sealed blocks, and of open ones too if wanted."""

    def lookup(chain: MessageChainId, number: BlockNumber, index: LogIndex) -> InitiatingLog | LogAbsence:
        native = backend.rollups[RollupId(chain)].native
        head = native.head.number
        if number > head and not open_blocks:
            return LogAbsence.FUTURE_BLOCK
        slots = backend.rollups[RollupId(chain)].parameters.block_time_slots
        if (head - number) * slots * backend.parameters.slot_ms > MESSAGE_LOGS_KEPT_S * 1_000:
            return LogAbsence.PRUNED
        found = native.log(number, index)
        if found is None:
            return LogAbsence.NO_SUCH_LOG if number <= head else LogAbsence.FUTURE_BLOCK
        return initiating_log(*found)

    return lookup


def check(backend: Backend, entries: Sequence[Hash32], execution: Execution, *, open_blocks: bool) -> None:
    """Refuses an access list with a message that may not be executed then.

    Raises:
        RpcError: with the OP Stack's number, and Plait's code as `data.code`.
    """
    if not backend.health().ok:
        raise error_of(MessageRefusal("failsafe", RpcCode.FAILSAFE, "failsafe is enabled: this node makes no progress"))
    interop_set = set_of(backend, execution.chain_id)
    try:
        accesses: list[Access] = parse_accesses(entries)
    except MessageRefused as refused:
        raise RpcError(
            RpcCode.INVALID_PARAMETERS, f"failed to parse access entry: {refused.message}", {"code": refused.code}
        ) from None
    lookup = lookup_in(backend, open_blocks=open_blocks)
    until = read_until(backend, interop_set)
    for access in accesses:
        refusal = refuse_unknown_chain(interop_set, access.chain_id) or refuse_admission(
            interop_set,
            execution.chain_id,
            execution.timestamp,
            access,
            lookup,
            timeout_s=execution.timeout_s,
            read_until=until,
        )
        if refusal is not None:
            raise error_of(refusal)


def error_of(refusal: MessageRefusal) -> RpcError:
    """A refusal as an answer."""
    return RpcError(int(refusal.rpc_code), refusal.message, {"code": refusal.code})


# ---------------------------------------------------------------- transactions handed to this node
def refuse_never_valid(
    backend: Backend, rollup_id: RollupId, transactions: Sequence[Transaction | Refusal]
) -> dict[int, RpcError]:
    """Per position of a transaction with a message that can never be executed, why.

    Whoever sends one learns it at once, with the OP Stack's number. What may still become valid is left to the builder.
    """
    interop_set, block = backend.interop_sets.get(rollup_id), backend.rollups[rollup_id].native.open_block
    if interop_set is None or block is None:
        return {}
    places = [place for place, item in enumerate(transactions) if isinstance(item, Transaction)]
    decoded = [item for item in transactions if isinstance(item, Transaction)]
    lookup = lookup_in(backend, open_blocks=True)
    refused: dict[int, RpcError] = {}
    for index in declaring(decoded, CROSS_L2_INBOX):
        try:
            accesses = declared_by(decoded[index])
        except MessageRefused as error:
            refused[places[index]] = RpcError(RpcCode.INVALID_PARAMETERS, error.message, {"code": error.code})
            continue
        for access in accesses[:MESSAGES_PER_TRANSACTION_MAX]:
            found = refuse_execution(interop_set, MessageChainId(rollup_id), Seconds(block.timestamp), access, lookup)
            if found is not None and found.code not in AWAITED_CODES:
                refused[places[index]] = error_of(found)
                break
    return refused
