"""Faults and what they cost: evidence of the engine, evidence that anyone submits, slash, jail and tombstone.

| fault               | who proves it                      | costs                           | then       |
|---------------------|------------------------------------|---------------------------------|------------|
| duplicate vote      | CometBFT's evidence                | slash_duplicate_vote_ppm        | tombstoned |
| light client attack | CometBFT's evidence                | slash_light_client_attack_ppm   | tombstoned |
| two proposals       | anyone, `SubmitEvidence` of kind 1 | slash_proposal_equivocation_ppm | tombstoned |
| downtime            | commits (`downtime`)               | slash_downtime_ppm              | jailed     |

A slash takes its part of all tokens bonded to the validator now, so of every delegator alike, and of what was unbonded
from it while it still counted when the fault happened. It is burned; whoever submitted the evidence gets a share.
Evidence that is too old (by CometBFT's rule), of an unknown validator, or known already changes nothing.

Level 3, pure.
"""

from collections.abc import Callable
from enum import IntEnum
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from plait.errors import ActionRefused
from plait.ledger import equivocation
from plait.ledger.context import SubBlockContext
from plait.ledger.draft import Draft
from plait.ledger.happenings import EvidenceIgnored, ValidatorPunished
from plait.ledger.membership import is_last, set_power
from plait.ledger.stake_records import EvidenceSeen, evidence_key, uint64_key
from plait.limits import EVIDENCE_ROWS_EXPIRED_PER_SUB_BLOCK_MAX
from plait.types import Address, Misbehavior, MisbehaviorKind
from plait.types.action import PPM, SignedAction, SubmitEvidence
from plait.types.consensus import comet_chain_id, consensus_address


class EvidenceKind(IntEnum):
    """What an evidence action shows; numbers never change their meaning."""

    PROPOSAL_EQUIVOCATION = 1


_SUBMITTED: Final = 0x80
"""Added to a submitted kind in the table of evidence, whose lower numbers are the engine's kinds."""
_FAULT_OF: Final = {
    MisbehaviorKind.DUPLICATE_VOTE: "duplicate_vote",
    MisbehaviorKind.LIGHT_CLIENT_ATTACK: "light_client_attack",
}


class Fault(Struct, frozen=True, kw_only=True):
    """What a validator did, and when."""

    name: str
    """duplicate_vote, light_client_attack, proposal_equivocation or downtime."""
    height: int
    time_ms: int = 0
    """0: not known."""


def judge_engine_evidence(draft: Draft, ctx: SubBlockContext, misbehavior: Misbehavior) -> None:
    """Acts on evidence that the engine verified, or reports why not."""
    found = misbehavior
    try:
        operator = draft.keys.get(found.address)
        if operator is None:
            raise ActionRefused("nobody has this consensus address", code="evidence_validator_unknown")
        fault = Fault(name=_FAULT_OF[MisbehaviorKind(found.kind)], height=found.height, time_ms=found.time_ms)
        _remember(draft, ctx, operator, int(found.kind), fault)
    except ActionRefused as refusal:
        draft.emit(EvidenceIgnored(code=refusal.code, address=found.address, height=found.height))
        return
    punish(draft, ctx, operator, fault)


def submit_evidence(draft: Draft, ctx: SubBlockContext, action: SignedAction) -> None:
    """Acts on evidence that an account submits.

    Raises:
        ActionRefused: `evidence_kind_unknown`, `evidence_validator_unknown`, `evidence_malformed`,
            `evidence_chain_wrong`, `evidence_proves_nothing`, `evidence_signature_invalid`, `evidence_too_old`,
            `evidence_repeated`, `validator_unknown`, `validator_tombstoned`.
    """
    body = action.body
    assert isinstance(body, SubmitEvidence)
    judge = _JUDGES.get(body.evidence_kind)
    if judge is None:
        raise ActionRefused(f"evidence of kind {body.evidence_kind} is not known here", code="evidence_kind_unknown")
    operator = body.validator
    validator = draft.validator(operator)
    if validator.tombstoned:
        raise ActionRefused("the validator is tombstoned already", code="validator_tombstoned")
    fault = judge(body.payload, validator.public_key, comet_chain_id(ctx.network_id))
    if fault.height > ctx.height:
        raise ActionRefused("the evidence is of a height that is not decided yet", code="evidence_proves_nothing")
    _remember(draft, ctx, operator, body.evidence_kind | _SUBMITTED, fault)
    punish(draft, ctx, operator, fault, reporter=action.sender)


def _judge_equivocation(payload: bytes, public_key: bytes, chain_id: str) -> Fault:
    return Fault(name="proposal_equivocation", height=equivocation.judge(payload, public_key, chain_id))


_JUDGES: Final[dict[int, Callable[[bytes, bytes, str], Fault]]] = {
    EvidenceKind.PROPOSAL_EQUIVOCATION: _judge_equivocation,
}


def _is_too_old(draft: Draft, ctx: SubBlockContext, height: int, time_ms: int) -> bool:
    """CometBFT's rule: both ages must be over. Time 0 stands for an unknown one."""
    parameters = draft.parameters
    old_by_height = ctx.height - height > parameters.evidence_age_heights
    return old_by_height and ctx.time_ms - time_ms > parameters.evidence_age_ms


def _remember(draft: Draft, ctx: SubBlockContext, operator: Address, kind: int, fault: Fault) -> None:
    """Notes evidence as used. Raises ActionRefused when it cannot be used (again)."""
    if _is_too_old(draft, ctx, fault.height, fault.time_ms):
        raise ActionRefused("the evidence is too old", code="evidence_too_old")
    validator = draft.validator(operator)
    key = evidence_key(fault.height, kind, consensus_address(validator.public_key))
    if draft.evidence.get(key) is not None:
        raise ActionRefused("the evidence was used already", code="evidence_repeated")
    if validator.tombstoned:
        raise ActionRefused("the validator is tombstoned already", code="validator_tombstoned")
    if fault.height < validator.created_height:
        raise ActionRefused("the evidence is older than the validator", code="evidence_validator_unknown")
    draft.evidence.put(key, EvidenceSeen(fault.time_ms, ctx.height))


def punish(
    draft: Draft, ctx: SubBlockContext, operator: Address, fault: Fault, *, reporter: Address | None = None
) -> None:
    """Slashes for a fault, takes the validator out of the set, and pays the reporter."""
    parameters, downtime = draft.parameters, fault.name == "downtime"
    slashed = slash(draft, operator, getattr(parameters, f"slash_{fault.name}_ppm"), fault.height)
    share = 0 if reporter is None else slashed * parameters.reporter_share_ppm // PPM
    if reporter is not None:
        draft.credit(reporter, share)
    draft.burn(slashed - share)
    validator = draft.validator(operator)
    until_ms = ctx.time_ms + parameters.downtime_jail_ms if downtime else 0
    after = replace(validator, jailed=True, jailed_until_ms=until_ms, tombstoned=validator.tombstoned or not downtime)
    draft.validators.put(operator, after)
    if not is_last(draft, after):
        set_power(draft, ctx.height, operator, 0)
    draft.emit(
        ValidatorPunished(
            operator=operator,
            fault=fault.name,
            height=fault.height,
            slashed=slashed,
            reporter_share=share,
            tombstoned=after.tombstoned,
        )
    )


def slash(draft: Draft, operator: Address, fraction_ppm: int, fault_height: int) -> int:
    """Takes a part of a validator's tokens, and of unbondings that still counted at `fault_height`; returns the sum.

    The caller accounts for what is returned.
    """
    validator = draft.validator(operator)
    taken = validator.tokens * fraction_ppm // PPM
    draft.validators.put(operator, replace(validator, tokens=validator.tokens - taken))
    for epoch in _epochs_that_counted(draft, fault_height):
        for key, amount in list(draft.unbondings.items(uint64_key(epoch) + operator)):
            cut = amount * fraction_ppm // PPM
            if not cut:
                continue
            if cut == amount:
                draft.unbondings.remove(key)
            else:
                draft.unbondings.put(key, amount - cut)
            taken += cut
    return taken


def _epochs_that_counted(draft: Draft, fault_height: int) -> list[int]:
    """Epochs whose unbondings had voting power at a height: it ended later, or has not ended yet."""
    newest = draft.clock.epoch
    epochs = [int.from_bytes(key, "big") for key, release in draft.releases.items() if release.height > fault_height]
    if newest and draft.releases.get(uint64_key(newest - 1)) is None:
        epochs.append(newest - 1)
    return [*epochs, newest]


def forget_old_evidence(draft: Draft, ctx: SubBlockContext) -> None:
    """Removes remembered evidence that would be refused as too old."""
    if draft.evidence.first() is None:
        return
    old: list[bytes] = []
    for key, seen in draft.evidence.items():
        height = int.from_bytes(key[:8], "big")
        if not _is_too_old(draft, ctx, height, seen.time_ms) or len(old) == EVIDENCE_ROWS_EXPIRED_PER_SUB_BLOCK_MAX:
            break
        old.append(key)
    for key in old:
        draft.evidence.remove(key)


HANDLERS = {SubmitEvidence: submit_evidence}
