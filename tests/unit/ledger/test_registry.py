"""The registry: rollups join, change, pay and leave at block boundaries, in the three modes; refusals with codes."""

import pytest

from plait.errors import InvariantBroken
from plait.ledger import registry
from plait.ledger.economy import decode_economy, economy_root, encode_economy
from plait.ledger.rollup_records import LeaveReason, NetworkMode, RollupStatus, RollupTerms
from plait.types.action import Body, FundedAccount, FundRollup, LeaveRollup, ProposeRollupRemoval, UpdateRollup, Vote
from tests.unit.ledger.council import PARAMETERS, Council, account, parameters_of, registration

OWNER = 5


def update(rollup_id: int, at_slot: int, **changes: object) -> UpdateRollup:
    base = parameters_of(rollup_id)
    names = set(UpdateRollup.__struct_fields__) - {"rollup_id", "at_slot", "ordering", "revenue_recipient"}
    values: dict[str, object] = {name: getattr(base, name) for name in names}
    values |= {"rollup_id": rollup_id, "at_slot": at_slot, "ordering": 1, "revenue_recipient": account(8)}
    return UpdateRollup(**(values | changes))  # type: ignore[arg-type]


def joined(council: Council, rollup_id: int = 7, **changes: object) -> None:
    assert council.act(OWNER, registration(rollup_id, council.slot + 4, **changes)) is None
    council.pass_slots(4)


def ids(found: tuple[object, ...]) -> list[int]:
    return [entry.rollup_id for entry in found]  # type: ignore[attr-defined]


def test_a_rollup_joins_in_its_start_slot_and_not_before() -> None:
    council = Council()
    assert council.act(OWNER, registration(7, 4)) is None
    council.step()
    assert ids(registry.pending(council.economy)) == [7]
    assert [ids(registry.due(council.economy, slot).joins) for slot in (3, 4, 9)] == [[], [7], [7]]
    council.pass_slots(4)
    entry = council.rollup(7)
    assert entry is not None
    assert entry.status is RollupStatus.ACTIVE
    council.step()
    assert registry.due(council.economy, 4) == registry.RegistryDue()


def test_what_a_node_needs_for_the_genesis_is_in_the_ledger_and_survives_its_bytes() -> None:
    council = Council()
    funded = (FundedAccount(account=account(1), balance=3), FundedAccount(account=account(2), balance=2**128 - 1))
    assert council.act(OWNER, registration(7, 4, balances=funded, fork=1)) is None
    council.step()
    again = decode_economy(encode_economy(council.economy))
    assert economy_root(again) == economy_root(council.economy)
    (entry,) = registry.pending(again)
    assert entry.genesis is not None
    assert (entry.genesis.fork, entry.genesis.balances) == ("isthmus", funded)
    assert entry.parameters.start_slot == 4


def test_an_update_holds_from_the_first_block_at_or_after_its_slot() -> None:
    council = Council()
    joined(council)
    assert council.act(OWNER, update(7, 7, gas_limit=20_000_000)) is None
    council.step()
    assert [len(registry.due(council.economy, slot).updates) for slot in (6, 7, 8)] == [0, 0, 1]
    council.pass_slots(3)
    entry = council.rollup(7)
    assert entry is not None
    assert entry.parameters.gas_limit == 30_000_000
    (parameters,) = registry.due(council.economy, 8).updates
    council.step(1)
    entry = council.rollup(7)
    assert entry is not None
    assert entry.parameters == parameters
    assert entry.parameters.gas_limit == 20_000_000


def test_a_rollup_leaves_at_a_block_boundary_with_every_slot_covered_and_its_escrow_goes_back() -> None:
    council = Council()
    joined(council)
    before = council.balance(OWNER)
    assert council.act(OWNER, LeaveRollup(rollup_id=7, at_slot=9)) is None
    entry = council.rollup(7)
    assert entry is not None
    assert entry.leave_slot == 10
    assert registry.last_block(entry) == 2, "blocks 0, 1 and 2 cover slots 4 to 9"
    council.pass_slots(6)
    assert council.rollup(7) is None
    fees = 6 * PARAMETERS.rollup_fee_per_slot
    assert council.balance(OWNER) == before - PARAMETERS.action_fee + 1_000 - fees
    council.step()
    (gone,) = [record for _, record in council.economy.departed.items()]
    assert (gone.left_slot, gone.head_number, gone.reason) == (10, 2, LeaveReason.OWNER)
    assert council.act(OWNER, registration(7, 20)) == "rollup_departed"


def test_fees_are_charged_at_the_end_of_an_epoch_and_a_share_of_the_transaction_fees_goes_back() -> None:
    council = Council()
    joined(council)
    back = council.balance(8)
    while council.height % PARAMETERS.epoch_heights:
        council.step()
    entry = council.rollup(7)
    assert entry is not None
    slots = council.slot - entry.charged_slot
    council.step(usage={7: 11})
    entry = council.rollup(7)
    assert entry is not None
    assert (entry.escrow, entry.transactions) == (1_000 - 3 * slots - 22, 0)
    assert council.balance(8) - back == 11


def test_an_empty_escrow_gives_notice_and_funding_in_time_keeps_the_rollup() -> None:
    council = Council()
    joined(council, escrow=100)
    while council.height % PARAMETERS.epoch_heights:
        council.step()
    council.step(usage={7: 60})
    entry = council.rollup(7)
    assert entry is not None
    assert entry.leave_reason is LeaveReason.ESCROW_EMPTY
    assert (entry.escrow, entry.arrears) == (0, 20)
    assert council.act(13, FundRollup(rollup_id=7, amount=50)) is None
    entry = council.rollup(7)
    assert entry is not None
    assert (entry.escrow, entry.arrears, entry.leaves) == (30, 0, True)
    assert council.act(13, FundRollup(rollup_id=7, amount=70)) is None
    entry = council.rollup(7)
    assert entry is not None
    assert not entry.leaves
    council.pass_slots(20)
    assert council.rollup(7) is not None


def test_an_empty_escrow_that_stays_empty_ends_in_a_departure() -> None:
    council = Council()
    joined(council, escrow=100)
    council.step(usage={7: 60})
    council.pass_slots(20)
    assert council.rollup(7) is None


def test_a_late_departure_is_no_way_to_go_on_without_paying() -> None:
    council = Council()
    joined(council, escrow=100)
    assert council.act(OWNER, LeaveRollup(rollup_id=7, at_slot=council.slot + 100_000)) is None
    while council.height % PARAMETERS.epoch_heights:
        council.step()
    council.step(usage={7: 60})
    entry = council.rollup(7)
    assert entry is not None
    assert entry.arrears == 20
    assert (entry.leave_slot, entry.leave_reason) == (council.slot + 4, LeaveReason.OWNER)
    assert council.act(13, FundRollup(rollup_id=7, amount=1_000)) is None
    council.pass_slots(4)
    council.step()
    assert council.rollup(7) is None, "its owner wanted it to leave, and it does"


def test_the_last_rollup_stays_even_when_it_cannot_pay() -> None:
    council = Council(rollups=(registry.genesis_entry(parameters_of(100), account(OWNER), escrow=1),))
    council.pass_slots(30)
    entry = council.rollup(100)
    assert entry is not None
    assert entry.arrears > 0
    assert not entry.leaves
    assert council.act(OWNER, LeaveRollup(rollup_id=100, at_slot=100)) == "rollup_last"


def test_a_registration_can_be_taken_back_before_it_joins() -> None:
    council = Council()
    before = council.balance(OWNER)
    assert council.act(OWNER, registration(7, 40)) is None
    assert council.act(OWNER, LeaveRollup(rollup_id=7, at_slot=0)) is None
    assert council.rollup(7) is None
    assert council.balance(OWNER) == before - 2 * PARAMETERS.action_fee


def test_a_vote_takes_a_rollup_out_after_the_notice() -> None:
    council = Council()
    joined(council)
    body = ProposeRollupRemoval(title="t", details="", deposit=100, rollup_id=7)
    assert council.act(12, body) is None
    for voter in (1, 2):
        assert council.act(voter, Vote(proposal_id=1, option=1)) is None
    council.pass_slots(PARAMETERS.voting_period_slots + PARAMETERS.timelock_slots)
    entry = council.rollup(7)
    assert entry is not None
    assert entry.leave_reason is LeaveReason.GOVERNANCE
    assert entry.leave_slot >= council.slot + PARAMETERS.rollup_leave_notice_slots
    council.pass_slots(PARAMETERS.rollup_leave_notice_slots + 1)
    assert council.rollup(7) is None


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (registration(100, 4), "rollup_already_registered"),
        (registration(7, 2), "rollup_slot_too_early"),
        (registration(7, 10**7), "rollup_slot_too_far"),
        (registration(7, 4, escrow=99), "rollup_escrow_too_small"),
        (registration(7, 4, escrow=2**127), "account_balance_insufficient"),
        (registration(7, 4, fee_per_slot_max=2), "rollup_fees_above_limit"),
        (registration(7, 4, fee_per_transaction_max=1), "rollup_fees_above_limit"),
        (registration(7, 5), "rollup_parameters_invalid"),
        (registration(7, 61, block_time_slots=61), "rollup_parameters_invalid"),
        (registration(7, 4, gas_limit=120_000_001), "rollup_gas_limit_too_high"),
        (
            registration(7, 4, balances=(FundedAccount(account=account(1), balance=1),) * 2),
            "rollup_balances_unsorted",
        ),
        (update(7, 10), "rollup_unknown"),
        (update(100, 10), "rollup_owner_wrong"),
        (LeaveRollup(rollup_id=100, at_slot=10), "rollup_owner_wrong"),
        (FundRollup(rollup_id=7, amount=1), "rollup_unknown"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_reason(body: Body, code: str) -> None:
    assert Council().act(OWNER, body) == code


def test_departures_and_updates_keep_their_distance() -> None:
    council = Council()
    joined(council)
    assert council.act(OWNER, LeaveRollup(rollup_id=7, at_slot=council.slot + 3)) == "rollup_slot_too_early"
    assert council.act(OWNER, update(7, council.slot)) == "rollup_slot_too_early"
    assert council.act(OWNER, LeaveRollup(rollup_id=7, at_slot=council.slot + 4)) is None
    assert council.act(OWNER, LeaveRollup(rollup_id=7, at_slot=council.slot + 9)) == "rollup_leaving"


def test_a_rollup_joins_other_owners_messages_in_no_case() -> None:
    council = Council()
    joined(council, 7, interop_set=3)
    assert council.act(6, registration(8, council.slot + 4, interop_set=3)) == "rollup_interop_refused"
    assert council.act(OWNER, registration(8, council.slot + 4, interop_set=3)) is None


def test_a_protocol_specific_network_has_the_rollups_and_terms_of_its_genesis() -> None:
    terms = RollupTerms(fee_per_slot=1, fee_per_transaction=0, revenue_share_ppm=0)
    entries = tuple(
        registry.genesis_entry(parameters_of(number), account(OWNER), terms=terms, escrow=10**6)
        for number in (100, 101)
    )
    council = Council(mode=NetworkMode.PROTOCOL_SPECIFIC, rollups=entries)
    assert council.act(OWNER, registration(7, 4)) == "rollup_mode_closed"
    assert council.act(OWNER, LeaveRollup(rollup_id=101, at_slot=50)) == "rollup_mode_closed"
    assert council.act(OWNER, update(101, 50)) is None
    council.step(10)
    while council.height % PARAMETERS.epoch_heights != 1:
        council.step()
    entry = council.rollup(101)
    assert entry is not None
    assert entry.escrow == 10**6 - 10


def test_a_single_operator_brings_its_rollups_itself() -> None:
    council = Council((40,), mode=NetworkMode.SINGLE_OPERATOR)
    assert council.act(OWNER, registration(7, 4)) == "rollup_mode_closed"
    assert council.act(1, registration(7, 4)) is None
    alone = Council((), mode=NetworkMode.SINGLE_OPERATOR)
    assert alone.act(OWNER, registration(7, 4)) is None, "a network without validators has no operator to ask"


def test_a_departure_that_is_not_due_and_usage_of_strangers_stop_the_node() -> None:
    council = Council()
    with pytest.raises(InvariantBroken):
        registry.depart(council.draft, council.ctx, 100, (1, bytes(32)))
    with pytest.raises(InvariantBroken):
        council.step(usage={55: 1})
