"""Faults: what they cost whom, what happens to the validator, and which evidence changes nothing."""

import msgspec
import pytest

from plait.ledger.equivocation import Equivocation, encode_equivocation
from plait.ledger.happenings import EvidenceIgnored, LeadMissed, ValidatorPunished
from plait.ledger.parameters import TOKEN
from plait.types import MisbehaviorKind
from plait.types.action import PPM, Delegate, SubmitEvidence, Undelegate, Unjail
from plait.types.quantities import Amount
from tests.property.ledger.stake_world import (
    ACCOUNTS,
    QUICK,
    World,
    first_economy,
    proposal_sign_bytes,
    public_key,
    sign,
    two_proposals,
)
from tests.unit.ledger.test_delegations import create

FIRST, SECOND, THIRD, WHALE, SAVER = ACCOUNTS[:5]
SLASH = QUICK.slash_duplicate_vote_ppm


def ignored(world: World) -> list[str]:
    return [effect.code for effect in world.effects if isinstance(effect, EvidenceIgnored)]


def test_a_double_signer_is_slashed_tombstoned_and_out_at_once() -> None:
    world = World()
    world.sub_block((WHALE, Delegate(validator=FIRST, amount=Amount(10 * TOKEN))))
    world.sub_block(misbehavior=[world.fault(0)])
    validator = world.economy.validators.get(FIRST)
    assert validator is not None
    assert validator.tombstoned
    assert validator.power == 0
    cut = 15 * TOKEN * SLASH // PPM
    assert validator.tokens == 15 * TOKEN - cut
    assert world.economy.supply.burned == cut
    assert world.worth(WHALE, FIRST) == (15 * TOKEN - cut) * 2 // 3, "delegators share the loss"
    assert world.sets[world.height + 2].power_of(world.sets[1].addresses[0]) in {0, 1, 3}
    assert world.sub_block((FIRST, Unjail())) == ["validator_tombstoned"]
    assert world.sub_block((WHALE, Delegate(validator=FIRST, amount=Amount(TOKEN)))) == ["validator_tombstoned"]


def test_stake_that_left_before_the_fault_is_spared_and_stake_that_still_counted_is_not() -> None:
    world = World()
    world.epoch()
    world.sub_block((FIRST, Undelegate(validator=FIRST, amount=Amount(TOKEN))))
    world.epoch()
    world.heights(2)
    early = dict(world.economy.unbondings.items())
    assert list(early.values()) == [TOKEN]
    world.sub_block((FIRST, Undelegate(validator=FIRST, amount=Amount(TOKEN))))
    fault = world.fault(0)
    world.sub_block(misbehavior=[fault])
    left = sorted(world.economy.unbondings.items())
    assert [amount for _, amount in left] == [TOKEN, TOKEN - TOKEN * SLASH // PPM]


def test_evidence_of_a_height_at_which_unbonded_stake_counted_takes_its_part_later() -> None:
    world = World()
    world.epoch()
    world.sub_block((FIRST, Undelegate(validator=FIRST, amount=Amount(TOKEN))))
    fault = world.fault(0)
    world.epoch()
    world.heights(2)
    assert len(list(world.economy.releases.items())) == 1
    world.sub_block(misbehavior=[fault])
    assert [amount for _, amount in world.economy.unbondings.items()] == [TOKEN - TOKEN * SLASH // PPM]


def test_repeated_old_and_unknown_evidence_changes_nothing() -> None:
    world = World()
    fault = world.fault(1)
    world.sub_block(misbehavior=[fault, fault])
    assert ignored(world) == ["evidence_repeated"]
    burned = world.economy.supply.burned
    world.sub_block(misbehavior=[world.fault(1), world.fault(5)])
    assert ignored(world) == ["evidence_repeated", "evidence_validator_unknown"] or ignored(world) == [
        "validator_tombstoned",
        "evidence_validator_unknown",
    ]
    old = world.fault(0)
    world.heights(QUICK.evidence_age_heights + 2)
    world.sub_block(misbehavior=[old])
    assert ignored(world) == ["evidence_too_old"]
    assert world.economy.supply.burned == burned
    world.heights(20)
    assert not list(world.economy.evidence.items()), "used evidence is forgotten when it would be too old"


def test_evidence_is_too_old_only_when_both_heights_and_time_have_passed() -> None:
    world = World()
    world.sub_block()
    fault = world.fault(0)
    world.heights(QUICK.evidence_age_heights + 3, elapsed_ms=1)
    world.sub_block(misbehavior=[fault])
    assert ignored(world) == []
    assert world.economy.supply.burned > 0


def test_the_last_validator_keeps_its_power_whatever_it_did() -> None:
    world = World(first_economy(QUICK, (5,)))
    world.sub_block(misbehavior=[world.fault(0, kind=MisbehaviorKind.LIGHT_CLIENT_ATTACK)])
    validator = world.economy.validators.get(FIRST)
    assert validator is not None
    assert (validator.tombstoned, validator.power) == (True, 5)
    world.epoch()
    world.heights(5, absent=(0,))


def test_a_validator_that_misses_too_much_is_jailed_and_comes_back() -> None:
    world = World()
    allowed = QUICK.downtime_window_heights * QUICK.downtime_missed_max_ppm // PPM
    world.sub_block()
    world.heights(allowed, absent=(2,))
    validator = world.economy.validators.get(THIRD)
    assert validator is not None
    assert not validator.jailed
    world.sub_block(absent=(2,))
    punished = [effect for effect in world.effects if isinstance(effect, ValidatorPunished)]
    assert [(effect.operator, effect.fault) for effect in punished] == [(THIRD, "downtime")]
    validator = world.economy.validators.get(THIRD)
    assert validator is not None
    assert (validator.jailed, validator.power, validator.tombstoned) == (True, 0, False)
    assert validator.tokens == TOKEN - TOKEN * QUICK.slash_downtime_ppm // PPM
    assert validator.heights_missed > 0
    assert world.sub_block((THIRD, Unjail())) == ["validator_jail_not_over"]
    world.heights(4)
    assert world.sub_block((THIRD, Unjail())) == [None]
    world.sub_block((WHALE, Delegate(validator=THIRD, amount=Amount(TOKEN))))
    world.epoch()
    validator = world.economy.validators.get(THIRD)
    assert validator is not None
    assert validator.power == 0, "its operator's own stake is below the least"


def test_misses_leave_the_window() -> None:
    world = World()
    world.sub_block()
    for _ in range(6):
        world.sub_block(absent=(2,))
        world.heights(4)
    validator = world.economy.validators.get(THIRD)
    assert validator is not None
    assert not validator.jailed
    assert sum(world.economy.seats.missed) <= 3
    world.heights(QUICK.downtime_window_heights)
    assert sum(world.economy.seats.missed) == 0
    assert not list(world.economy.absences.items())


def test_a_leader_whose_proposal_was_not_decided_is_counted() -> None:
    world = World()
    leader = world.sets[1].leader
    others = [at for at, address in enumerate(world.sets[1].addresses) if address != leader]
    world.sub_block(led_by=others[0])
    missed = [effect for effect in world.effects if isinstance(effect, LeadMissed)]
    assert [effect.leader for effect in missed] == [leader]
    position = world.economy.seats.addresses.index(leader)
    assert world.economy.seats.leads_missed[position] == 1
    world.epoch()
    operator = world.economy.keys.get(leader)
    assert operator is not None
    validator = world.economy.validators.get(operator)
    assert validator is not None
    assert validator.leads_missed == 1


def test_two_signed_proposals_of_one_round_cost_the_proposer_and_pay_the_reporter() -> None:
    world = World()
    world.sub_block()
    body = SubmitEvidence(evidence_kind=1, validator=FIRST, payload=two_proposals(0, world.height))
    before = world.balance(SAVER)
    assert world.sub_block((SAVER, body), (WHALE, body)) == [None, "validator_tombstoned"]
    slashed = 5 * TOKEN * QUICK.slash_proposal_equivocation_ppm // PPM
    share = slashed * QUICK.reporter_share_ppm // PPM
    assert world.balance(SAVER) == before + share - QUICK.action_fee
    assert world.economy.supply.burned == slashed - share


@pytest.mark.parametrize(
    ("kind", "payload", "code"),
    [
        (2, two_proposals(0, 1), "evidence_kind_unknown"),
        (1, b"\xc0", "evidence_malformed"),
        (1, b"garbage", "evidence_malformed"),
        (1, two_proposals(0, 1)[:-1], "evidence_malformed"),
        (1, two_proposals(1, 1), "evidence_signature_invalid"),
        (1, two_proposals(0, 3), "evidence_proves_nothing"),
    ],
)
def test_forged_evidence_is_refused_by_name(kind: int, payload: bytes, code: str) -> None:
    world = World()
    world.sub_block()
    body = SubmitEvidence(evidence_kind=kind, validator=FIRST, payload=payload)
    assert world.sub_block((SAVER, body)) == [code]


@pytest.mark.parametrize(
    ("first", "second", "code"),
    [
        (proposal_sign_bytes(1, 0, b"a"), proposal_sign_bytes(1, 0, b"a"), "evidence_proves_nothing"),
        (proposal_sign_bytes(1, 0, b"a"), proposal_sign_bytes(1, 1, b"b"), "evidence_proves_nothing"),
        (proposal_sign_bytes(1, 0, b"a"), proposal_sign_bytes(2, 0, b"b"), "evidence_proves_nothing"),
        (proposal_sign_bytes(1, 0, b"a", "plait-8"), proposal_sign_bytes(1, 0, b"b"), "evidence_chain_wrong"),
        (proposal_sign_bytes(1, 0, b"a"), b"\x02\x08\x20", "evidence_malformed"),
        (proposal_sign_bytes(1, 0, b"a"), proposal_sign_bytes(1, 0, b"b")[:-1], "evidence_malformed"),
        (
            proposal_sign_bytes(1, 0, b"a"),
            proposal_sign_bytes(1, 0, b"b").replace(b"\x08\x20", b"\x08\x01", 1),
            "evidence_malformed",
        ),
    ],
)
def test_messages_that_prove_nothing_are_refused_though_they_are_signed(first: bytes, second: bytes, code: str) -> None:
    proof = Equivocation(first=first, first_signature=sign(0, first), second=second, second_signature=sign(0, second))
    world = World()
    world.heights(3)
    body = SubmitEvidence(evidence_kind=1, validator=FIRST, payload=encode_equivocation(proof))
    assert world.sub_block((SAVER, body)) == [code]


def test_submitted_evidence_that_is_too_old_is_refused() -> None:
    world = World()
    world.heights(QUICK.evidence_age_heights + 5)
    body = SubmitEvidence(evidence_kind=1, validator=FIRST, payload=two_proposals(0, 1))
    assert world.sub_block((SAVER, body)) == ["evidence_too_old"]


def test_evidence_against_a_key_before_it_was_a_validators_is_refused() -> None:
    world = World()
    world.heights(3)
    assert world.sub_block((WHALE, create())) == [None]
    world.sub_block(misbehavior=[world.fault(5, heights_ago=3)])
    assert ignored(world) == ["evidence_validator_unknown"]


def test_a_slash_of_everything_leaves_a_validator_that_nobody_can_join() -> None:
    parameters = msgspec.structs.replace(QUICK, slash_duplicate_vote_ppm=PPM, slash_downtime_ppm=100_000)
    world = World(first_economy(parameters))
    world.sub_block((FIRST, Undelegate(validator=FIRST, amount=Amount(TOKEN))))
    world.sub_block(misbehavior=[world.fault(0)])
    validator = world.economy.validators.get(FIRST)
    assert validator is not None
    assert (validator.tokens, validator.shares) == (0, 4 * TOKEN)
    assert not list(world.economy.unbondings.items())
    assert public_key(0) == validator.public_key
