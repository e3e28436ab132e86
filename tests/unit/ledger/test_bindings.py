"""A chain that exists is bound, pays, lapses, is anchored, given back and joins; the ledger's bytes hold all of it."""

import pytest

from plait.ledger import joining
from plait.ledger.economy import decode_economy, economy_root, encode_economy
from plait.ledger.rollup_records import NetworkMode, RollupStatus
from plait.limits import ROLLUP_BINDING_SLOTS_MAX
from plait.types.action import AnchorRollup, LeaveRollup, UpdateRollup, WithdrawAnchor
from tests.unit.ledger.council import PARAMETERS, Council, anchor_at, binding, l1_of
from tests.unit.ledger.test_registry import update

OWNER = 5


def bound(slot: int = 40, **changes: object) -> Council:
    council = Council(l1=l1_of(7))
    council.step(slot)
    assert council.act(OWNER, binding(7, **changes)) is None
    return council


def anchor(council: Council, ahead: int = 6, back: int = 2) -> AnchorRollup:
    found = anchor_at(7, council.slot - back)
    return AnchorRollup(rollup_id=7, anchor=found.encode(), join_slot=council.slot + ahead)


def status(council: Council) -> RollupStatus | None:
    entry = council.rollup(7)
    return None if entry is None else entry.status


def test_a_binding_is_kept_in_the_ledgers_bytes_at_every_step() -> None:
    council = bound()
    for step in ("bound", "anchored", "joined"):
        if step == "anchored":
            assert council.act(OWNER, anchor(council)) is None
        if step == "joined":
            council.pass_slots(6)
            assert status(council) is RollupStatus.ACTIVE
        council.step()
        again = decode_economy(encode_economy(council.economy))
        assert again == council.economy
        assert economy_root(again) == economy_root(council.economy)


def test_a_bound_chain_pays_from_its_binding_on_and_one_that_cannot_pay_is_let_go() -> None:
    council = bound(escrow=100)
    before = council.balance(OWNER)
    council.pass_slots(60)
    assert status(council) is None
    assert council.balance(OWNER) == before, "nothing is left of the escrow"
    assert council.act(OWNER, binding(7)) is None, "it may be bound again"


def test_a_chain_that_gets_no_anchor_is_let_go_with_what_is_left_of_its_escrow() -> None:
    council = bound(escrow=10 * ROLLUP_BINDING_SLOTS_MAX)
    before = council.balance(OWNER)
    council.step(ROLLUP_BINDING_SLOTS_MAX - 1)
    assert status(council) is RollupStatus.BOUND
    council.step(1)
    assert status(council) is None
    fees = ROLLUP_BINDING_SLOTS_MAX * PARAMETERS.rollup_fee_per_slot
    assert council.balance(OWNER) == before + 10 * ROLLUP_BINDING_SLOTS_MAX - fees


def test_an_anchor_that_cannot_be_used_is_given_back_and_another_one_joins() -> None:
    council = bound()
    assert council.act(OWNER, anchor(council)) is None
    assert council.act(OWNER, anchor(council)) == "rollup_not_bound"
    assert council.act(OWNER, update(7, council.slot + 20)) == "rollup_not_joined"
    council.cannot_join = frozenset((7,))
    council.pass_slots(6)
    assert status(council) is RollupStatus.BOUND
    entry = council.rollup(7)
    assert entry is not None
    assert (entry.parameters.start_slot, entry.parameters.anchor_number) == (0, 0)
    council.cannot_join = frozenset()
    assert council.act(OWNER, WithdrawAnchor(rollup_id=7)) == "rollup_not_anchored"
    assert council.act(OWNER, anchor(council)) is None
    council.pass_slots(6)
    assert status(council) is RollupStatus.ACTIVE
    assert council.act(OWNER, UpdateRollup(**{**fields(update(7, council.slot + 20)), "gas_limit": 20_000_000})) is None


def fields(body: UpdateRollup) -> dict[str, object]:
    return {name: getattr(body, name) for name in body.__struct_fields__}


def test_leaving_before_the_join_leaves_no_record_and_after_it_takes_the_notice() -> None:
    council = bound()
    assert council.act(OWNER, LeaveRollup(rollup_id=7, at_slot=0)) is None
    assert status(council) is None
    assert not list(council.draft.departed.items())
    assert council.act(OWNER, binding(7)) is None
    assert council.act(OWNER, anchor(council)) is None
    assert council.act(OWNER, LeaveRollup(rollup_id=7, at_slot=0)) is None
    assert status(council) is None
    assert council.act(OWNER, binding(7)) is None
    assert council.act(OWNER, anchor(council)) is None
    council.pass_slots(6)
    assert council.act(OWNER, LeaveRollup(rollup_id=7, at_slot=council.slot + 5)) is None
    council.pass_slots(7)
    assert status(council) is None
    assert council.act(OWNER, binding(7)) == "rollup_departed"


@pytest.mark.parametrize(
    ("mode", "sender", "code"),
    [
        (NetworkMode.PROTOCOL_SPECIFIC, OWNER, "rollup_mode_closed"),
        (NetworkMode.SINGLE_OPERATOR, OWNER, "rollup_mode_closed"),
        (NetworkMode.SINGLE_OPERATOR, 1, None),
    ],
)
def test_who_may_bind_is_the_networks_mode(mode: NetworkMode, sender: int, code: str | None) -> None:
    council = Council((10,), mode=mode, l1=l1_of(7))
    assert council.act(sender, binding(7)) == code


def test_a_network_without_an_l1_binds_nobody() -> None:
    assert Council().act(OWNER, binding(7)) == "l1_not_used"


def test_what_is_no_anchor_or_configuration_is_refused() -> None:
    council = bound()
    assert council.act(OWNER, AnchorRollup(rollup_id=7, anchor=b"\x01", join_slot=60)) == "rollup_anchor_invalid"
    assert council.act(OWNER, binding(8, config=b"\xc0")) == "rollup_config_invalid"
    assert council.act(6, anchor(council)) == "rollup_owner_wrong"
    assert joining.coming(council.draft.freeze())[0].rollup_id == 7
