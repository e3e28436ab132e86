"""When an executing message is valid: one function per rule, each returning a refusal or nothing.

Let a message be initiated at timestamp `i` on one chain and executed at `e` on another (or the same) one.

    known       both chains are in the interop set
    activation  e >= activation + block time of the executing chain, and i >= activation + block time of the initiating
                one: the activation block holds deposits only, and nothing of it or before it takes part
    order       i <= e; equal timestamps are valid
    expiry      e - i <= 604,800 s; a message that is exactly seven days old is still valid
    existence   the log is where the message says, in canonical history, and says what the checksum commits to
    cycles      plait.interop.cycles

Admission to a pool asks the same of the future: what is valid at `e` must still be so at `e + timeout`, the OP Stack's
filter wants i < e (a filter that cannot check cycles must not admit equal timestamps), and that every chain has been
read up to i.

Source: OP Stack specs, interop/derivation.md; ethereum-optimism/optimism op-supernode (interop/algo.go), op-core
(interop/depset/links.go, interop/interop.go for the error codes), op-interop-filter (lockstep_cross_validator.go).
"""

from collections.abc import Callable
from enum import Enum, IntEnum
from typing import Final

import msgspec

from plait.errors import ConfigurationError
from plait.interop.access_list import Access
from plait.interop.identifiers import LogIndex, MessageChainId, checksum_of
from plait.limits import INTEROP_CHAINS_MAX
from plait.types import BlockNumber, Hash32, Seconds

EXPIRY_WINDOW_S: Final = Seconds(604_800)
"""Seven days: the oldest message that may be executed (OP Stack specs, interop/derivation.md)."""


class RpcCode(IntEnum):
    """Error codes of `interop_checkAccessList` (op-core/interop/interop.go)."""

    INVALID_PARAMETERS = -32602
    UNINITIALISED = -320400
    SKIPPED = -320500
    UNKNOWN_CHAIN = -320501
    CONFLICT = -320600
    INEFFECTIVE = -320601
    FAILSAFE = -320602
    OUT_OF_ORDER = -320900
    AWAIT_REPLACEMENT = -320901
    OUT_OF_SCOPE = -321100
    PREVIOUS_TO_FIRST = -321200
    FUTURE = -321401
    NOT_EXACT = -321500
    CORRUPTION = -321501


class MessageRefusal(msgspec.Struct, frozen=True):
    """Why a message may not be executed: Plait's stable code, the OP Stack's number, a sentence."""

    code: str
    rpc_code: RpcCode
    message: str


class InteropChain(msgspec.Struct, frozen=True, kw_only=True):
    """A chain of an interop set: `activation` is the timestamp of its first block with interop."""

    chain_id: MessageChainId
    activation: Seconds
    block_time_s: Seconds

    @property
    def first_timestamp(self) -> int:
        """From here on its logs may initiate messages, and its blocks execute them."""
        return self.activation + self.block_time_s


class InteropSet(msgspec.Struct, frozen=True, kw_only=True):
    """Chains whose messages are valid on each other, ascending by chain id; each belongs to its own set.

    Raises:
        ConfigurationError: `interop_set_invalid` for none, too many, or chains that are not strictly ascending.
    """

    chains: tuple[InteropChain, ...]
    expiry_window_s: Seconds = EXPIRY_WINDOW_S

    def __post_init__(self) -> None:
        """Refuses a set that is empty, too large or out of order."""
        ids = [chain.chain_id for chain in self.chains]
        if not 1 <= len(ids) <= INTEROP_CHAINS_MAX or ids != sorted(set(ids)):
            raise ConfigurationError(
                f"an interop set has 1 to {INTEROP_CHAINS_MAX} chains, ascending by chain id",
                code="interop_set_invalid",
                chains=ids,
            )

    def chain(self, chain_id: MessageChainId) -> InteropChain | None:
        """The chain with this id, if it belongs to the set."""
        return next((chain for chain in self.chains if chain.chain_id == chain_id), None)


class InitiatingLog(msgspec.Struct, frozen=True, kw_only=True):
    """What a log lookup finds: the timestamp of the log's block and its hash (`identifiers.log_hash_of`)."""

    timestamp: Seconds
    log_hash: Hash32


class LogAbsence(Enum):
    """Why a log lookup finds nothing."""

    NO_SUCH_LOG = "no_such_log"
    """The block is there and final for the caller, and has no log at that position."""
    FUTURE_BLOCK = "future_block"
    PRUNED = "pruned"
    UNINITIALISED = "uninitialised"
    """The chain's history has not been read yet."""


LogLookup = Callable[[MessageChainId, BlockNumber, LogIndex], InitiatingLog | LogAbsence]
"""Finds a log by chain, block and position in the block; of the open block too where the caller executes on it."""

_ABSENCES: Final = {
    LogAbsence.NO_SUCH_LOG: ("message_missing", RpcCode.CONFLICT, "has no such log"),
    LogAbsence.FUTURE_BLOCK: ("message_not_yet", RpcCode.FUTURE, "has not reached that block"),
    LogAbsence.PRUNED: ("message_pruned", RpcCode.SKIPPED, "no longer keeps that block"),
    LogAbsence.UNINITIALISED: ("chain_uninitialised", RpcCode.UNINITIALISED, "has not been read yet"),
}


AWAITED_CODES: Final = frozenset({"message_not_yet", "message_from_future"})
"""Refusals that time may heal: the message may still come, or the executing chain reach its time."""


def refuse_unknown_chain(interop_set: InteropSet, chain_id: MessageChainId) -> MessageRefusal | None:
    """known: the chain belongs to the set."""
    if interop_set.chain(chain_id) is not None:
        return None
    return MessageRefusal("chain_unknown", RpcCode.UNKNOWN_CHAIN, f"chain {chain_id} is not in the interop set")


def refuse_execution_too_early(chain: InteropChain, execution: Seconds) -> MessageRefusal | None:
    """activation: e >= activation + block time of the executing chain."""
    if execution >= chain.first_timestamp:
        return None
    return _conflict(
        "execution_too_early",
        f"chain {chain.chain_id} executes messages from {chain.first_timestamp} on, not at {execution}",
    )


def refuse_initiation_too_early(chain: InteropChain, initiation: Seconds) -> MessageRefusal | None:
    """activation: i >= activation + block time of the initiating chain."""
    if initiation >= chain.first_timestamp:
        return None
    return _conflict(
        "initiation_too_early",
        f"chain {chain.chain_id} initiates messages from {chain.first_timestamp} on, not at {initiation}",
    )


def refuse_from_future(initiation: Seconds, execution: Seconds) -> MessageRefusal | None:
    """order: i <= e."""
    if initiation <= execution:
        return None
    return _conflict("message_from_future", f"a message of {initiation} cannot be executed at {execution}")


def refuse_same_timestamp(initiation: Seconds, execution: Seconds) -> MessageRefusal | None:
    """order as the admission filter has it: i < e."""
    if initiation < execution:
        return None
    return _conflict("message_not_before_execution", f"a message of {initiation} is not before {execution}")


def refuse_expired(
    initiation: Seconds, execution: Seconds, window_s: Seconds = EXPIRY_WINDOW_S
) -> MessageRefusal | None:
    """expiry: e - i <= window."""
    if execution - initiation <= window_s:
        return None
    return _conflict(
        "message_expired", f"a message of {initiation} expired {execution - initiation - window_s} s before {execution}"
    )


def refuse_expiring_before_timeout(
    initiation: Seconds, execution: Seconds, timeout_s: Seconds, window_s: Seconds = EXPIRY_WINDOW_S
) -> MessageRefusal | None:
    """expiry with a timeout: i <= e, and i + window >= e + timeout."""
    if timeout_s == 0 or (initiation <= execution and execution + timeout_s <= initiation + window_s):
        return None
    return _conflict(
        "message_expires_before_timeout", f"a message of {initiation} is not valid until {execution + timeout_s}"
    )


def refuse_beyond_read(initiation: Seconds, read_until: Seconds) -> MessageRefusal | None:
    """admission: every chain has been read up to i; `read_until` is the least timestamp over all chains."""
    if initiation <= read_until:
        return None
    return MessageRefusal(
        "message_beyond_read",
        RpcCode.OUT_OF_SCOPE,
        f"a message of {initiation} cannot be judged: some chain has been read until {read_until} only",
    )


def refuse_missing(access: Access, lookup: LogLookup) -> MessageRefusal | None:
    """existence: the log is there, at that timestamp, and gives that checksum."""
    found = lookup(access.chain_id, access.block_number, access.log_index)
    where = f"log {access.log_index} of block {access.block_number} of chain {access.chain_id}"
    if isinstance(found, LogAbsence):
        code, rpc_code, reason = _ABSENCES[found]
        return MessageRefusal(code, rpc_code, f"{where}: the chain {reason}")
    if found.timestamp != access.timestamp:
        return _conflict("message_timestamp_wrong", f"{where} is of {found.timestamp}, not of {access.timestamp}")
    if access.checksum != checksum_of(
        access.block_number, access.timestamp, access.log_index, access.chain_id, found.log_hash
    ):
        return _conflict("message_checksum_wrong", f"{where} does not say what the message commits to")
    return None


def refuse_execution(
    interop_set: InteropSet, executing_chain: MessageChainId, execution: Seconds, access: Access, lookup: LogLookup
) -> MessageRefusal | None:
    """All rules of validity but cycles, cheapest first: what a block may hold.

    Args:
        executing_chain, execution: chain and timestamp of the block that executes the message.
        access: the message, from an access list or from its ExecutingMessage log (`access_list.access_of`).
        lookup: finds logs of canonical history; of the open blocks too where those become history together.

    Returns:
        The first rule that is broken, or None.
    """
    return refuse_position(interop_set, executing_chain, execution, access) or refuse_missing(access, lookup)


def refuse_position(
    interop_set: InteropSet, executing_chain: MessageChainId, execution: Seconds, access: Access
) -> MessageRefusal | None:
    """The rules of `refuse_execution` that need no log: chains, activation, order, expiry."""
    return (
        _refuse_by_time(interop_set, executing_chain, execution, access)
        or refuse_from_future(access.timestamp, execution)
        or refuse_expired(access.timestamp, execution, interop_set.expiry_window_s)
    )


def refuse_admission(
    interop_set: InteropSet,
    executing_chain: MessageChainId,
    execution: Seconds,
    access: Access,
    lookup: LogLookup,
    *,
    timeout_s: Seconds,
    read_until: Seconds,
    same_timestamp: bool = False,
) -> MessageRefusal | None:
    """The rules of a filter before a pool: valid from `execution` until `execution + timeout_s`.

    Args:
        timeout_s: how long the transaction may wait, >= 0; 0 asks for `execution` alone.
        read_until: the least timestamp up to which a chain of the set has been read.
        same_timestamp: admit i = e; for a caller that checks cycles when it builds the block.

    Returns:
        The first rule that is broken, or None.
    """
    order = refuse_from_future if same_timestamp else refuse_same_timestamp
    return (
        _refuse_by_time(interop_set, executing_chain, execution, access)
        or refuse_beyond_read(access.timestamp, read_until)
        or order(access.timestamp, execution)
        or refuse_expired(access.timestamp, execution, interop_set.expiry_window_s)
        or refuse_expiring_before_timeout(access.timestamp, execution, timeout_s, interop_set.expiry_window_s)
        or refuse_missing(access, lookup)
    )


def _refuse_by_time(
    interop_set: InteropSet, executing_chain: MessageChainId, execution: Seconds, access: Access
) -> MessageRefusal | None:
    """known and activation, of both chains."""
    executing = interop_set.chain(executing_chain)
    if executing is None:
        return refuse_unknown_chain(interop_set, executing_chain)
    initiating = interop_set.chain(access.chain_id)
    if initiating is None:
        return refuse_unknown_chain(interop_set, access.chain_id)
    return refuse_execution_too_early(executing, execution) or refuse_initiation_too_early(initiating, access.timestamp)


def _conflict(code: str, message: str) -> MessageRefusal:
    return MessageRefusal(code, RpcCode.CONFLICT, message)
