"""Governance and registry under any order of actions and time: every unit is accounted for, parameters stay usable, a
rollup always stays, nobody's slots are left out or paid twice, and refused actions leave no trace.

More or longer runs: PLAIT_LEDGER_EXAMPLES and PLAIT_LEDGER_STEPS; hypothesis prints how to replay a failure.
"""

import os
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from plait.ledger import registry
from plait.ledger.economy import decode_economy, economy_root, encode_economy
from plait.ledger.governance import bonded_validators, count, is_paused
from plait.ledger.parameters import PARAMETER_TABLE, TOKEN
from plait.ledger.proposal_records import proposal_key
from plait.ledger.rollup_records import NetworkMode, RollupStatus
from plait.limits import PROPOSALS_OPEN_MAX
from plait.types.action import (
    AMOUNT_MAX,
    AnchorRollup,
    Body,
    Delegate,
    FundRollup,
    LeaveRollup,
    LeaveValidator,
    ParameterChange,
    ProposeParameters,
    ProposePause,
    ProposeResume,
    ProposeRollupOwner,
    ProposeRollupRemoval,
    ProposeText,
    ProposeUpgrade,
    Transfer,
    Undelegate,
    UpdateRollup,
    Vote,
    WithdrawAnchor,
)
from tests.unit.ledger.council import Council, account, anchor_at, binding, l1_of, parameters_of, registration

EXAMPLES = int(os.environ.get("PLAIT_LEDGER_EXAMPLES", "40"))
STEPS = int(os.environ.get("PLAIT_LEDGER_STEPS", "50"))
people = st.integers(1, 14)
rollup_ids = st.sampled_from([7, 8, 9, 100])
amounts = st.sampled_from(
    [0, 1, 2, 99, 100, 101, TOKEN - 1, TOKEN, 7 * TOKEN, 10**6 * TOKEN, AMOUNT_MAX]
) | st.integers(0, AMOUNT_MAX)
GOVERNED = sorted(name for name, row in PARAMETER_TABLE.items() if row.governed)


@st.composite
def changes(draw: st.DrawFn) -> tuple[ParameterChange, ...]:
    names = sorted(draw(st.sets(st.sampled_from(GOVERNED), min_size=1, max_size=3)))
    values = []
    for name in names:
        row = PARAMETER_TABLE[name]
        near = [row.minimum, row.default, row.maximum, row.maximum + 1]
        values.append(ParameterChange(name=name, value=draw(st.sampled_from(near) | st.integers(0, row.maximum))))
    return tuple(values)


@st.composite
def proposals(draw: st.DrawFn) -> Body:
    about: dict[str, Any] = {"title": "t", "details": "", "deposit": draw(st.sampled_from([0, 100, 101, TOKEN]))}
    made: list[Body] = [
        ProposeParameters(**about, changes=draw(changes())),
        ProposeRollupRemoval(**about, rollup_id=draw(rollup_ids)),
        ProposeRollupOwner(**about, rollup_id=draw(rollup_ids), owner=account(draw(people))),
        ProposeUpgrade(**about, name="u", height=draw(st.integers(0, 80)), change_hash=bytes(31) + b"\x01"),
        ProposePause(**about, slots=draw(st.integers(1, 25))),
        ProposeResume(**about),
        ProposeText(**about),
    ]
    return draw(st.sampled_from(made))


class Network(RuleBasedStateMachine):
    council: Council

    @initialize(
        stakes=st.lists(st.integers(1, 100), max_size=4), mode=st.sampled_from(list(NetworkMode)), rich=st.booleans()
    )
    def begin(self, stakes: list[int], mode: NetworkMode, rich: bool) -> None:
        if mode is NetworkMode.SINGLE_OPERATOR:
            del stakes[1:]
        balance = 10**6 * TOKEN if rich else 250
        self.council = Council(tuple(stakes), mode=mode, balance=balance, accounts=14, l1=l1_of(7, 8, 9))
        self.paid_until: dict[int, int] = {}

    def act(self, sender: int, body: Body) -> None:
        self.council.act(sender, body)

    @rule(sender=people, body=proposals())
    def propose(self, sender: int, body: Body) -> None:
        self.act(sender, body)

    @rule(sender=people, number=st.integers(1, 12), option=st.integers(1, 4))
    def vote(self, sender: int, number: int, option: int) -> None:
        self.act(sender, Vote(proposal_id=number, option=option))

    @rule(option=st.integers(1, 4), data=st.data())
    def operators_agree(self, option: int, data: st.DataObject) -> None:
        number = data.draw(st.integers(1, max(1, self.council.draft.next_proposal_id - 1)))
        for operator in (1, 2, 3, 4):
            self.act(operator, Vote(proposal_id=number, option=option))

    @rule(sender=people, rollup=rollup_ids, ahead=st.integers(0, 9), escrow=amounts, block_time=st.integers(1, 3))
    def register(self, sender: int, rollup: int, ahead: int, escrow: int, block_time: int) -> None:
        slot = (self.council.slot + ahead) // block_time * block_time
        self.act(sender, registration(rollup, slot, escrow=escrow, block_time_slots=block_time))

    @rule(sender=people, rollup=rollup_ids, ahead=st.integers(0, 9))
    def leave(self, sender: int, rollup: int, ahead: int) -> None:
        entry = self.council.rollup(rollup)
        owner = sender if entry is None else int.from_bytes(entry.owner, "big")
        self.act(owner, LeaveRollup(rollup_id=rollup, at_slot=self.council.slot + ahead))

    @rule(rollup=rollup_ids, ahead=st.integers(0, 9), gas=st.integers(10**6, 2 * 10**8))
    def update(self, rollup: int, ahead: int, gas: int) -> None:
        entry = self.council.rollup(rollup)
        base = parameters_of(rollup)
        names = set(UpdateRollup.__struct_fields__) - {"at_slot", "ordering", "revenue_recipient", "gas_limit"}
        values: dict[str, Any] = {name: getattr(base, name) for name in names}
        values |= {"at_slot": self.council.slot + ahead, "ordering": 1, "revenue_recipient": account(3)}
        owner = 1 if entry is None else int.from_bytes(entry.owner, "big")
        self.act(owner, UpdateRollup(**values, gas_limit=gas))

    @rule(sender=people, rollup=rollup_ids, escrow=amounts)
    def bind(self, sender: int, rollup: int, escrow: int) -> None:
        self.act(sender, binding(rollup, escrow=escrow))

    @rule(rollup=rollup_ids, ahead=st.integers(0, 9), back=st.integers(0, 4), origin=st.integers(11, 13))
    def anchor(self, rollup: int, ahead: int, back: int, origin: int) -> None:
        entry = self.council.rollup(rollup)
        owner = 1 if entry is None else int.from_bytes(entry.owner, "big")
        slot = self.council.slot
        anchor = anchor_at(rollup, max(0, slot - back), origin)
        self.act(owner, AnchorRollup(rollup_id=rollup, anchor=anchor.encode(), join_slot=slot + ahead))

    @rule(rollup=rollup_ids)
    def withdraw(self, rollup: int) -> None:
        entry = self.council.rollup(rollup)
        owner = 1 if entry is None else int.from_bytes(entry.owner, "big")
        self.act(owner, WithdrawAnchor(rollup_id=rollup))

    @rule(rollups=st.sets(rollup_ids))
    def too_few_hold(self, rollups: set[int]) -> None:
        self.council.cannot_join = frozenset(rollups)

    @rule(sender=people, rollup=rollup_ids, amount=amounts)
    def fund(self, sender: int, rollup: int, amount: int) -> None:
        self.act(sender, FundRollup(rollup_id=rollup, amount=amount))

    @rule(sender=people, to=people, amount=amounts)
    def transfer(self, sender: int, to: int, amount: int) -> None:
        self.act(sender, Transfer(to=account(to), amount=amount))

    @rule(sender=people, to=st.integers(1, 5), amount=amounts, undo=st.booleans())
    def delegate(self, sender: int, to: int, amount: int, undo: bool) -> None:
        self.act(sender, (Undelegate if undo else Delegate)(validator=account(to), amount=amount))

    @rule(operator=st.integers(1, 4))
    def validator_leaves(self, operator: int) -> None:
        self.act(operator, LeaveValidator())

    @rule(slots=st.sampled_from([0, 0, 1, 1, 2, 5, 10, 1_000]), used=st.integers(0, 10**6))
    def time(self, slots: int, used: int) -> None:
        active = [entry for _, entry in self.council.draft.rollups.items() if entry.status is RollupStatus.ACTIVE]
        usage = {entry.rollup_id: used for entry in active}
        council = self.council
        council.step(slots, usage)
        for rollup_id, until in list(self.paid_until.items()):
            entry = council.rollup(rollup_id)
            if entry is None:
                del self.paid_until[rollup_id]
            else:
                assert entry.charged_slot >= until, "slots are paid once"
        self.paid_until |= {entry.rollup_id: entry.charged_slot for _, entry in council.draft.rollups.items()}

    @precondition(lambda self: self.council.height % 7 == 0)
    @rule()
    def bytes_hold_everything(self) -> None:
        economy = self.council.economy
        again = decode_economy(encode_economy(economy))
        assert again == economy
        assert economy_root(again) == economy_root(economy)

    @invariant()
    def a_rollup_stays_and_those_that_go_leave_no_slot_open(self) -> None:
        entries = [entry for _, entry in self.council.draft.rollups.items()]
        assert any(entry.status is RollupStatus.ACTIVE and not entry.leaves for entry in entries)
        for entry in entries:
            parameters = entry.parameters
            if entry.leaves:
                assert entry.leave_slot > self.council.slot
                assert parameters.last_slot(registry.last_block(entry)) == entry.leave_slot - 1
            if entry.update is not None:
                assert entry.update.slot > self.council.slot
                assert entry.update.slot % parameters.block_time_slots == 0
            if entry.joining is None:
                assert (entry.status is RollupStatus.PENDING) == (parameters.start_slot > self.council.slot)
                continue
            joining = entry.joining
            assert (joining.anchor is None) == (entry.status is RollupStatus.BOUND) == (joining.join_slot == 0)
            assert (entry.status is RollupStatus.PENDING) == (joining.join_slot > self.council.slot)
            assert entry.status is not RollupStatus.BOUND or joining.lapse_slot > self.council.slot
            if joining.anchor is not None:
                assert joining.anchor.origin.number >= joining.bound_number
                assert parameters.anchor_number == joining.anchor.block.number

    @invariant()
    def governance_is_in_its_bounds(self) -> None:
        draft = self.council.draft
        draft.parameters.check()
        bonded = bonded_validators(draft)
        total = sum(validator.tokens for validator in bonded.values())
        open_ids = set()
        for record in [row[1] for row in draft.proposals.items()]:
            if record.status.is_open:
                open_ids.add(record.proposal_id)
                tally = count(draft, record)
                assert tally.cast <= tally.bonded == total, "rounding never makes a vote"
            else:
                assert record.deposit == 0
        assert len(open_ids) <= PROPOSALS_OPEN_MAX
        voted = {row[0][:8] for row in draft.votes.items()}
        assert voted <= {proposal_key(number) for number in open_ids}

    @invariant()
    def a_pause_is_bounded(self) -> None:
        council = self.council
        pause = council.draft.pause
        if pause is not None:
            assert pause.until_slot - pause.since_slot <= PARAMETER_TABLE["pause_slots_max"].maximum
            assert not is_paused(council.economy, pause.until_slot)


TestNetwork = Network.TestCase
TestNetwork.settings = settings(
    max_examples=EXAMPLES,
    stateful_step_count=STEPS,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    print_blob=True,
)
