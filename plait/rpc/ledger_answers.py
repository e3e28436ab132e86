"""The economy as JSON: accounts, validators, delegations, proposals, rollups, parameters.

Numbers are JSON numbers; amounts of PLAIT are hex quantities of base units (10**-18 token), fractions parts per
million. Level 7.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from plait.codec.action import body_to_json
from plait.ledger import registry
from plait.ledger.draft import Draft
from plait.ledger.economy import Economy, holdings
from plait.ledger.governance import count
from plait.ledger.parameters import PARAMETER_TABLE
from plait.ledger.proposal_records import ProposalRecord, ProposalStatus, proposal_key
from plait.ledger.rewards import earned_by
from plait.ledger.rollup_records import DepartedRollup, Joining, LeaveReason, RollupEntry, RollupTerms
from plait.ledger.stake_records import Delegation, Validator, uint64_key
from plait.rpc.encoding import checksummed, hex_of
from plait.types import Address
from plait.types.action import VoteOption
from plait.types.consensus import consensus_address

_DELEGATED_AMOUNT: Final = "amount"


def validator_status(validator: Validator) -> str:
    """One word: tombstoned, jailed, leaving, active (in the set) or waiting (not among the greatest)."""
    if validator.tombstoned:
        return "tombstoned"
    if validator.jailed:
        return "jailed"
    if validator.leaving:
        return "leaving"
    return "active" if validator.power else "waiting"


def validator_answer(economy: Economy, operator: bytes, validator: Validator) -> dict[str, Any]:
    """A validator with its stake, its commission and what it did."""
    address = consensus_address(validator.public_key)
    seats = economy.seats
    seat = seats.addresses.index(address) if address in seats.addresses else None
    return {
        "operator": checksummed(operator),
        "name": validator.name,
        "status": validator_status(validator),
        "publicKey": hex_of(validator.public_key),
        "consensusAddress": hex_of(address),
        "power": validator.power,
        "tokens": hex(validator.tokens),
        "shares": hex(validator.shares),
        "commissionPpm": validator.commission_ppm,
        "commissionMaxPpm": validator.commission_max_ppm,
        "commissionStepPpm": validator.commission_step_ppm,
        "commission": hex(validator.commission),
        "rewards": hex(validator.rewards),
        "jailedUntilMs": validator.jailed_until_ms,
        "heightsSigned": validator.heights_signed,
        "heightsMissed": validator.heights_missed,
        "blocksLed": validator.blocks_led,
        "leadsMissed": validator.leads_missed,
        "missedInWindow": None if seat is None else seats.missed[seat],
        "signedInEpoch": None if seat is None else seats.signed[seat],
    }


def validators_answer(economy: Economy) -> list[dict[str, Any]]:
    """All validators: by power, then by stake, greatest first, then by operator."""
    ranked = sorted(economy.validators.items(), key=lambda row: (-row[1].power, -row[1].tokens, row[0]))
    return [validator_answer(economy, operator, validator) for operator, validator in ranked]


def delegations_answer(economy: Economy, delegator: Address) -> dict[str, Any]:
    """What an account has bonded, what that has earned, and what is unbonding."""
    draft = Draft(economy)
    bonded = []
    for key, delegation in economy.delegations.items(delegator):
        operator = Address(key[20:])
        validator = economy.validators.get(operator)
        if validator is not None:
            bonded.append(_delegation(draft, delegator, operator, validator, delegation))
    unbonding = []
    for key, amount in economy.unbondings.items():
        if key[28:] == delegator:
            unbonding.append(_unbonding(economy, key, amount))
    return {"delegations": bonded, "unbonding": unbonding}


def _delegation(
    draft: Draft, delegator: Address, operator: Address, validator: Validator, delegation: Delegation
) -> dict[str, Any]:
    worth = validator.tokens * delegation.shares // validator.shares if validator.shares else 0
    return {
        "validator": checksummed(operator),
        "name": validator.name,
        "status": validator_status(validator),
        "shares": hex(delegation.shares),
        _DELEGATED_AMOUNT: hex(worth),
        "rewards": hex(earned_by(draft, delegator, operator)),
    }


def _unbonding(economy: Economy, key: bytes, amount: int) -> dict[str, Any]:
    release = economy.releases.get(uint64_key(int.from_bytes(key[:8], "big")))
    parameters = economy.parameters
    return {
        "validator": checksummed(key[8:28]),
        _DELEGATED_AMOUNT: hex(amount),
        "maturesAfterMs": None if release is None else release.time_ms + parameters.unbonding_ms,
        "maturesAfterHeight": None if release is None else release.height + parameters.evidence_age_heights,
    }


# ---------------------------------------------------------------- governance
def proposal_answer(economy: Economy, record: ProposalRecord, *, votes: bool) -> dict[str, Any]:
    """A proposal; while its vote is open with the tally as things are, and with every vote when asked for."""
    draft = Draft(economy)
    voting = record.status is ProposalStatus.VOTING
    tally = count(draft, record) if voting and votes else record.tally
    body = body_to_json(record.body)
    answer = {
        "proposalId": record.proposal_id,
        "kind": type(record.body).__name__,
        "title": record.body.title,
        "details": record.body.details,
        "content": {name: value for name, value in body.items() if name not in ("title", "details", "deposit")},
        "proposer": checksummed(record.proposer),
        "deposit": hex(record.deposit),
        "status": record.status.name.lower(),
        "reason": record.reason or None,
        "submittedSlot": record.submitted_slot,
        "votingEndSlot": record.voting_end_slot,
        "actSlot": record.act_slot or None,
        "tally": {name: hex(getattr(tally, name)) for name in tally.__struct_fields__},
    }
    if votes:
        answer["votes"] = [
            {"voter": checksummed(key[8:]), "option": VoteOption(vote.option).name.lower(), "slot": vote.slot}
            for key, vote in economy.votes.items(proposal_key(record.proposal_id))
        ]
    return answer


# ---------------------------------------------------------------- registry
def rollup_answer(economy: Economy, entry: RollupEntry) -> dict[str, Any]:
    """A rollup of the registry."""
    parameters = {_camel(name): _plain(getattr(entry.parameters, name)) for name in entry.parameters.__struct_fields__}
    terms = registry.published_terms(economy) if entry.terms is None else entry.terms
    genesis = entry.genesis
    return {
        "rollupId": entry.rollup_id,
        "owner": checksummed(entry.owner),
        "status": "leaving" if entry.leaves else entry.status.name.lower(),
        "parameters": parameters,
        "genesis": None
        if genesis is None
        else {
            "fork": genesis.fork,
            "baseFee": hex(genesis.base_fee),
            "feeRecipient": checksummed(genesis.fee_recipient),
            "balances": [
                {"account": checksummed(funded.account), "balance": hex(funded.balance)} for funded in genesis.balances
            ],
        },
        "terms": terms_answer(terms) | {"published": entry.terms is None},
        "revenueRecipient": checksummed(entry.revenue_recipient),
        "escrow": hex(entry.escrow),
        "arrears": hex(entry.arrears),
        "chargedSlot": entry.charged_slot,
        "transactionsUncharged": entry.transactions,
        "updateSlot": None if entry.update is None else entry.update.slot,
        "leaveSlot": entry.leave_slot if entry.leaves else None,
        "leaveReason": _reason(entry.leave_reason),
        "joining": None if entry.joining is None else _joining_answer(entry.joining),
    }


def _joining_answer(joining: Joining) -> dict[str, Any]:
    """How a chain that existed comes in."""
    anchor = joining.anchor
    return {
        "boundNumber": joining.bound_number,
        "lapseSlot": joining.lapse_slot,
        "joinSlot": joining.join_slot or None,
        "anchor": None
        if anchor is None
        else {
            "number": anchor.block.number,
            "hash": hex_of(anchor.block.hash),
            "timestamp": anchor.timestamp,
            "l1Origin": {"number": anchor.origin.number, "hash": hex_of(anchor.origin.hash)},
            "sequenceNumber": anchor.sequence_number,
        },
    }


def departed_answer(record: DepartedRollup) -> dict[str, Any]:
    """A rollup that left."""
    return {
        "rollupId": record.rollup_id,
        "owner": checksummed(record.owner),
        "genesisHash": hex_of(record.genesis_hash),
        "leftSlot": record.left_slot,
        "head": {"number": record.head_number, "hash": hex_of(record.head_hash)},
        "reason": _reason(record.reason),
    }


def terms_answer(terms: RollupTerms) -> dict[str, Any]:
    """Fees of a rollup."""
    return {
        "feePerSlot": hex(terms.fee_per_slot),
        "feePerTransaction": hex(terms.fee_per_transaction),
        "revenueSharePpm": terms.revenue_share_ppm,
    }


# ---------------------------------------------------------------- parameters and supply
def parameters_answer(economy: Economy) -> dict[str, Any]:
    """Every governed value with its bounds; the supply and where it is; epoch, pause and planned upgrade."""
    values: Mapping[str, int] = msgspec.structs.asdict(economy.parameters)
    held = holdings(economy)
    pause, upgrade, supply, clock = economy.pause, economy.upgrade, economy.supply, economy.clock
    return {
        "mode": str(economy.mode),
        "parameters": {
            name: {"value": str(values[name]), "minimum": str(row.minimum), "maximum": str(row.maximum)}
            | {"governed": row.governed}
            for name, row in PARAMETER_TABLE.items()
        },
        "supply": {
            "genesis": hex(supply.genesis),
            "issued": hex(supply.issued),
            **{name: hex(getattr(held, name)) for name in held.__struct_fields__},
        },
        "epoch": clock.epoch,
        "epochEndHeight": clock.epoch_first_height + economy.parameters.epoch_heights - 1,
        "pause": None if pause is None else {"sinceSlot": pause.since_slot, "untilSlot": pause.until_slot},
        "upgrade": None
        if upgrade is None
        else {"name": upgrade.name, "height": upgrade.height, "changeHash": hex_of(upgrade.change_hash)},
    }


def _reason(reason: LeaveReason) -> str | None:
    return None if reason is LeaveReason.STAYS else reason.name.lower()


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(part.capitalize() for part in others)


def _plain(value: object) -> object:
    if isinstance(value, bytes):
        return hex_of(value)
    return value if isinstance(value, int) else str(value)
