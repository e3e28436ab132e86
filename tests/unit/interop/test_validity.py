"""Validity rules: each inequality at its edge, each refusal with its own code and the OP Stack's number."""

from __future__ import annotations

import msgspec
import pytest

from plait.errors import ConfigurationError
from plait.interop.access_list import Access, access_of
from plait.interop.identifiers import LogIndex, MessageChainId, log_hash_of, message_of_log, payload_hash_of
from plait.interop.validity import (
    EXPIRY_WINDOW_S,
    InitiatingLog,
    InteropChain,
    InteropSet,
    LogAbsence,
    LogLookup,
    MessageRefusal,
    RpcCode,
    refuse_admission,
    refuse_beyond_read,
    refuse_execution,
    refuse_execution_too_early,
    refuse_expired,
    refuse_expiring_before_timeout,
    refuse_from_future,
    refuse_initiation_too_early,
    refuse_missing,
    refuse_same_timestamp,
    refuse_unknown_chain,
)
from plait.types import Address, BlockNumber, Hash32, Seconds

A, B, STRANGER = MessageChainId(901), MessageChainId(902), MessageChainId(903)
ACTIVATION = Seconds(1_000)
SET = InteropSet(
    chains=(
        InteropChain(chain_id=A, activation=ACTIVATION, block_time_s=Seconds(1)),
        InteropChain(chain_id=B, activation=ACTIVATION, block_time_s=Seconds(2)),
    )
)
NOW = Seconds(2_000_000)
ORIGIN, TOPICS, DATA = Address(b"\x11" * 20), [Hash32(b"\x22" * 32)], b"data"


def message_at(timestamp: int, chain_id: MessageChainId = A) -> Access:
    """The access of a log at block 7, position 3."""
    return access_of(
        message_of_log(
            ORIGIN, TOPICS, DATA, block_number=BlockNumber(7), log_index=LogIndex(3), timestamp=Seconds(timestamp),
            chain_id=chain_id,
        )
    )  # fmt: skip


def history(timestamp: int, data: bytes = DATA) -> LogLookup:
    """A lookup that knows one log: block 7, position 3 of any chain."""

    def lookup(_chain: MessageChainId, block_number: BlockNumber, log_index: LogIndex) -> InitiatingLog | LogAbsence:
        if block_number > 7:
            return LogAbsence.FUTURE_BLOCK
        if (block_number, log_index) != (7, 3):
            return LogAbsence.NO_SUCH_LOG
        return InitiatingLog(timestamp=Seconds(timestamp), log_hash=log_hash_of(ORIGIN, payload_hash_of(TOPICS, data)))

    return lookup


def code(refusal: MessageRefusal | None) -> tuple[str, int] | None:
    return None if refusal is None else (refusal.code, refusal.rpc_code)


def test_a_message_of_an_open_block_may_be_executed_at_its_own_timestamp() -> None:
    """Equal timestamps are valid (the OP Stack's verifier), though its filter would not admit them."""
    assert refuse_execution(SET, B, NOW, message_at(NOW), history(NOW)) is None
    refused = refuse_admission(SET, B, NOW, message_at(NOW), history(NOW), timeout_s=Seconds(0), read_until=NOW)
    assert code(refused) == ("message_not_before_execution", -320600)
    assert (
        refuse_admission(
            SET, B, NOW, message_at(NOW), history(NOW), timeout_s=Seconds(0), read_until=NOW, same_timestamp=True
        )
        is None
    )


@pytest.mark.parametrize(
    ("age", "expected"),
    [
        (-1, ("message_from_future", -320600)),
        (0, None),
        (1, None),
        (EXPIRY_WINDOW_S, None),
        (EXPIRY_WINDOW_S + 1, ("message_expired", -320600)),
    ],
)
def test_age_of_a_message(age: int, expected: tuple[str, int] | None) -> None:
    """Valid from the timestamp of its log until 604,800 s later, both included."""
    made = NOW - age
    assert code(refuse_execution(SET, B, NOW, message_at(made), history(made))) == expected


@pytest.mark.parametrize(("chain", "first"), [(A, 1_001), (B, 1_002)])
def test_activation_of_either_side(chain: MessageChainId, first: int) -> None:
    """A chain takes part from one block after its activation block on, as initiator and as executor."""
    config = SET.chain(chain)
    assert config is not None
    assert code(refuse_execution_too_early(config, Seconds(first - 1))) == ("execution_too_early", -320600)
    assert refuse_execution_too_early(config, Seconds(first)) is None
    assert code(refuse_initiation_too_early(config, Seconds(first - 1))) == ("initiation_too_early", -320600)
    assert refuse_initiation_too_early(config, Seconds(first)) is None
    late = Seconds(5_000)
    assert refuse_execution(SET, A, late, message_at(first, chain), history(first)) is None
    early = refuse_execution(SET, A, late, message_at(first - 1, chain), history(first - 1))
    assert code(early) == ("initiation_too_early", -320600)


def test_chains_outside_the_set() -> None:
    """Both the initiating and the executing chain must belong to the set; a chain belongs to its own."""
    assert code(refuse_execution(SET, STRANGER, NOW, message_at(NOW), history(NOW))) == ("chain_unknown", -320501)
    refused = refuse_execution(SET, A, NOW, message_at(NOW, STRANGER), history(NOW))
    assert code(refused) == ("chain_unknown", -320501)
    assert refuse_unknown_chain(SET, A) is None
    assert refuse_execution(SET, A, NOW, message_at(NOW - 5, A), history(NOW - 5)) is None


def test_existence_compares_position_timestamp_and_content() -> None:
    """The log must be there, have the timestamp, and give the checksum: one bit off is refused."""
    access = message_at(NOW)
    assert refuse_missing(access, history(NOW)) is None
    assert code(refuse_missing(access, history(NOW - 1))) == ("message_timestamp_wrong", -320600)
    assert code(refuse_missing(access, history(NOW, b"Data"))) == ("message_checksum_wrong", -320600)
    elsewhere = msgspec.structs.replace(access, log_index=LogIndex(4))
    assert code(refuse_missing(elsewhere, history(NOW))) == ("message_missing", -320600)
    later = msgspec.structs.replace(access, block_number=BlockNumber(8))
    assert code(refuse_missing(later, history(NOW))) == ("message_not_yet", -321401)
    for absence, expected in ((LogAbsence.PRUNED, -320500), (LogAbsence.UNINITIALISED, -320400)):
        refused = refuse_missing(access, lambda *_: absence)  # noqa: B023
        assert refused is not None
        assert refused.rpc_code == expected


@pytest.mark.parametrize(
    ("age", "timeout", "valid"),
    [
        (0, 0, True),
        (EXPIRY_WINDOW_S, 0, True),
        (EXPIRY_WINDOW_S, 1, False),
        (EXPIRY_WINDOW_S - 1, 1, True),
        (0, EXPIRY_WINDOW_S, True),
        (0, EXPIRY_WINDOW_S + 1, False),
        (-1, 1, False),
    ],
)
def test_timeout_of_admission(age: int, timeout: int, valid: bool) -> None:
    """What is admitted must still be valid when the timeout ends: i + window >= e + timeout."""
    refused = refuse_expiring_before_timeout(Seconds(NOW - age), NOW, Seconds(timeout))
    assert code(refused) == (None if valid else ("message_expires_before_timeout", -320600))


def test_rules_alone() -> None:
    """Each single rule at its edge."""
    assert refuse_from_future(NOW, NOW) is None
    assert refuse_from_future(Seconds(NOW + 1), NOW) is not None
    assert refuse_same_timestamp(NOW, NOW) is not None
    assert refuse_same_timestamp(Seconds(NOW - 1), NOW) is None
    assert refuse_expired(Seconds(NOW - 604_800), NOW) is None
    assert refuse_expired(Seconds(NOW - 604_801), NOW) is not None
    assert refuse_beyond_read(NOW, NOW) is None
    assert code(refuse_beyond_read(NOW, Seconds(NOW - 1))) == ("message_beyond_read", -321100)


def test_admission_wants_every_chain_read_up_to_the_message() -> None:
    """A filter that has not read some chain up to the message answers out of scope, before it judges anything else."""
    made = NOW - 10
    refused = refuse_admission(
        SET, B, NOW, message_at(made), history(made), timeout_s=Seconds(0), read_until=Seconds(made - 1)
    )
    assert code(refused) == ("message_beyond_read", -321100)
    assert (
        refuse_admission(SET, B, NOW, message_at(made), history(made), timeout_s=Seconds(86_400), read_until=NOW)
        is None
    )


def test_error_codes_are_the_published_ones() -> None:
    """The numbers of op-core/interop/interop.go."""
    assert {code.name: code.value for code in RpcCode} == {
        "INVALID_PARAMETERS": -32602, "UNINITIALISED": -320400, "SKIPPED": -320500, "UNKNOWN_CHAIN": -320501,
        "CONFLICT": -320600, "INEFFECTIVE": -320601, "FAILSAFE": -320602, "OUT_OF_ORDER": -320900,
        "AWAIT_REPLACEMENT": -320901, "OUT_OF_SCOPE": -321100, "PREVIOUS_TO_FIRST": -321200, "FUTURE": -321401,
        "NOT_EXACT": -321500, "CORRUPTION": -321501,
    }  # fmt: skip


@pytest.mark.parametrize("ids", [(), (902, 901), (901, 901), tuple(range(1, 129))])
def test_an_interop_set_is_ascending_and_bounded(ids: tuple[int, ...]) -> None:
    """No chains, chains out of order, twice the same, or more than 127 are refused."""
    chains = tuple(
        InteropChain(chain_id=MessageChainId(i), activation=ACTIVATION, block_time_s=Seconds(1)) for i in ids
    )
    with pytest.raises(ConfigurationError) as refused:
        InteropSet(chains=chains)
    assert refused.value.code == "interop_set_invalid"
