"""Records of governance and registry: one encoding each, and bytes that are changed are refused or another record."""

from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from plait.codec.rlp import Reader
from plait.errors import CodecError
from plait.ledger.proposal_records import (
    PROPOSALS,
    VOTES,
    Pause,
    ProposalRecord,
    ProposalStatus,
    Tally,
    UpgradePlan,
    VoteRecord,
    decode_pause,
    decode_upgrade,
    encode_pause,
    encode_upgrade,
)
from plait.ledger.rollup_records import (
    DEPARTED,
    FORKS,
    ROLLUPS,
    DepartedRollup,
    LeaveReason,
    RollupEntry,
    RollupGenesis,
    RollupStatus,
    RollupTerms,
    ScheduledUpdate,
)
from plait.types import OrderingPolicy, RollupParameters
from plait.types.action import ACTION_TABLE, FundedAccount, Propose, VoteOption
from tests.property.codec.actions import body_of

uint64, amounts = st.integers(0, 2**64 - 1), st.integers(0, 2**128 - 1)
addresses, hashes = st.binary(min_size=20, max_size=20), st.binary(min_size=32, max_size=32)
proposal_bodies = st.sampled_from(
    [kind for kind, entry in sorted(ACTION_TABLE.items()) if issubclass(entry.body, Propose)]
).flatmap(lambda kind: body_of(ACTION_TABLE[kind]))
proposals = st.builds(
    ProposalRecord,
    proposal_id=uint64,
    proposer=addresses,
    body=proposal_bodies,
    deposit=amounts,
    submitted_slot=uint64,
    voting_end_slot=uint64,
    status=st.sampled_from(ProposalStatus),
    act_slot=uint64,
    reason=st.sampled_from(["", "rollup_unknown"]),
    votes=uint64,
    tally=st.builds(Tally, yes=amounts, no=amounts, abstain=amounts, veto=amounts, bonded=amounts),
)
votes = st.builds(VoteRecord, option=st.sampled_from(VoteOption), slot=uint64)
pauses = st.tuples(uint64, uint64).map(lambda pair: Pause(since_slot=min(pair), until_slot=max(pair)))
upgrades = st.builds(
    UpgradePlan,
    name=st.text(st.characters(codec="ascii"), max_size=64),
    height=uint64,
    change_hash=hashes,
    proposal_id=uint64,
    change_before=hashes,
)


@st.composite
def rollups(draw: st.DrawFn) -> RollupEntry:
    rollup_id = draw(uint64)

    def parameters() -> RollupParameters:
        names = set(RollupParameters.__struct_fields__) - {"rollup_id", "genesis_hash", "ordering"}
        values: dict[str, Any] = {name: draw(uint64) for name in sorted(names)}
        values |= {"genesis_hash": draw(hashes), "ordering": draw(st.sampled_from(OrderingPolicy))}
        return RollupParameters(rollup_id=rollup_id, **values)

    funded = st.builds(FundedAccount, account=addresses, balance=amounts)
    genesis = st.builds(
        RollupGenesis,
        fork=st.sampled_from(FORKS),
        base_fee=uint64,
        fee_recipient=addresses,
        balances=st.lists(funded, max_size=3).map(tuple),
    )
    terms = st.builds(
        RollupTerms, fee_per_slot=amounts, fee_per_transaction=amounts, revenue_share_ppm=st.integers(0, 10**6)
    )
    update = ScheduledUpdate(slot=draw(uint64), parameters=parameters(), revenue_recipient=draw(addresses))
    return RollupEntry(
        rollup_id=rollup_id,
        owner=draw(addresses),
        status=draw(st.sampled_from(RollupStatus)),
        parameters=parameters(),
        genesis=draw(st.none() | genesis),
        terms=draw(st.none() | terms),
        revenue_recipient=draw(addresses),
        escrow=draw(amounts),
        arrears=draw(amounts),
        charged_slot=draw(uint64),
        transactions=draw(uint64),
        update=draw(st.sampled_from([None, update])),
        leave_slot=draw(uint64),
        leave_reason=draw(st.sampled_from(LeaveReason)),
    )


departed = st.builds(
    DepartedRollup,
    rollup_id=uint64,
    owner=addresses,
    genesis_hash=hashes,
    left_slot=uint64,
    head_number=uint64,
    head_hash=hashes,
    reason=st.sampled_from(LeaveReason),
)
Case = tuple[Any, Callable[[Any], bytes], Callable[[Reader], Any]]
cases: st.SearchStrategy[Case] = st.one_of(
    proposals.map(lambda record: (record, PROPOSALS.encode, PROPOSALS.decode)),
    votes.map(lambda record: (record, VOTES.encode, VOTES.decode)),
    pauses.map(lambda record: (record, encode_pause, decode_pause)),
    upgrades.map(lambda record: (record, encode_upgrade, decode_upgrade)),
    rollups().map(lambda record: (record, ROLLUPS.encode, ROLLUPS.decode)),
    departed.map(lambda record: (record, DEPARTED.encode, DEPARTED.decode)),
)


def read(decode: Callable[[Reader], Any], data: bytes) -> Any:
    outer = Reader(data)
    record = decode(outer.read_list("record"))
    outer.end()
    return record


@given(cases)
def test_a_record_survives_the_round_trip(case: Case) -> None:
    record, encode, decode = case
    assert read(decode, encode(record)) == record


@given(cases, st.data())
def test_changed_bytes_are_refused_or_another_record(case: Case, data: st.DataObject) -> None:
    record, encode, decode = case
    changed = bytearray(encode(record))
    changed[data.draw(st.integers(0, len(changed) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        found = read(decode, bytes(changed))
    except CodecError:
        return
    assert found != record
    assert encode(found) == bytes(changed)
