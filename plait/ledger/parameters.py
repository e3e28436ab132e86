"""Governed parameters of the ledger: every value, its bounds, and whether a vote may change it.

`PARAMETER_TABLE` is the list; `LedgerParameters` has a field for each of its rows, in its order. Amounts are in base
units of PLAIT (10**18 to one token), fractions in parts per million, times in milliseconds, heights or slots as the
name says. What CometBFT is told once at genesis (evidence age) cannot be voted on here. A quorum of everything could
never be met: parts of stake are rounded down.

Level 3, pure.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import msgspec

from plait.codec.rlp import Reader, encode_list, encode_uint
from plait.errors import ConfigurationError
from plait.limits import SUPPLY_MAX, VALIDATORS_MAX
from plait.types.action import PPM

TOKEN: Final = 10**18
"""Base units of one PLAIT, and the stake of one unit of voting power."""
_DAY_MS: Final = 86_400_000
_AMOUNT: Final = SUPPLY_MAX


class Parameter(msgspec.Struct, frozen=True):
    """One row of the table."""

    name: str
    default: int
    minimum: int
    maximum: int
    governed: bool = True
    """Whether a proposal may change it."""


_ROWS: Final = (
    # validators and stake
    Parameter("epoch_heights", 1_000, 2, 1_000_000),
    Parameter("validators_max", 100, 1, VALIDATORS_MAX),
    Parameter("self_stake_min", TOKEN, TOKEN, _AMOUNT),
    Parameter("delegation_min", 1, 1, _AMOUNT),
    Parameter("commission_ppm_max", PPM, 0, PPM),
    Parameter("unbonding_ms", 14 * _DAY_MS, 1_000, 365 * _DAY_MS),
    Parameter("evidence_age_ms", 2 * _DAY_MS, 1, 180 * _DAY_MS, governed=False),
    Parameter("evidence_age_heights", 100_000, 1, 10**9, governed=False),
    Parameter("issuance_ppm_per_year", 50_000, 0, 200_000),
    # faults
    Parameter("slash_duplicate_vote_ppm", 50_000, 0, PPM),
    Parameter("slash_light_client_attack_ppm", 50_000, 0, PPM),
    Parameter("slash_proposal_equivocation_ppm", 50_000, 0, PPM),
    Parameter("slash_downtime_ppm", 100, 0, 100_000),
    Parameter("reporter_share_ppm", 50_000, 0, 500_000),
    Parameter("downtime_window_heights", 10_000, 10, 100_000),
    Parameter("downtime_missed_max_ppm", 500_000, 10_000, PPM),
    Parameter("downtime_jail_ms", 600_000, 0, 30 * _DAY_MS),
    # actions
    Parameter("action_fee", TOKEN // 1_000, 0, 1_000_000 * TOKEN),
    # governance
    Parameter("proposal_deposit", 100 * TOKEN, 0, _AMOUNT),
    Parameter("voting_period_slots", 7 * 86_400, 2, 60 * 86_400),
    Parameter("timelock_slots", 2 * 86_400, 1, 60 * 86_400),
    Parameter("quorum_ppm", 334_000, 10_000, 900_000),
    Parameter("threshold_ppm", 500_000, 500_000, PPM),
    Parameter("veto_ppm", 334_000, 10_000, PPM),
    Parameter("pause_threshold_ppm", 666_667, 500_000, PPM),
    Parameter("pause_slots_max", 3_600, 1, 86_400),
    Parameter("upgrade_notice_heights", 1_000, 2, 10**7),
    # registry
    Parameter("rollup_fee_per_slot", TOKEN // 10_000, 0, 1_000 * TOKEN),
    Parameter("rollup_fee_per_transaction", TOKEN // 10**6, 0, 1_000 * TOKEN),
    Parameter("rollup_revenue_share_ppm", 800_000, 0, PPM),
    Parameter("rollup_escrow_min", 100 * TOKEN, 0, _AMOUNT),
    Parameter("rollup_gas_per_slot_max", 60_000_000, 1_000_000, 10**9),
    Parameter("rollup_join_notice_slots", 10, 2, 86_400),
    Parameter("rollup_leave_notice_slots", 10, 2, 86_400),
)

PARAMETER_TABLE: Final[Mapping[str, Parameter]] = MappingProxyType({row.name: row for row in _ROWS})
"""Every parameter by its name, in the order of the canonical bytes."""


class LedgerParameters(msgspec.Struct, frozen=True, kw_only=True):
    """Values that the ledger's rules use; fields and defaults are those of the table."""

    epoch_heights: int = PARAMETER_TABLE["epoch_heights"].default
    """Heights between two changes of the validator set and two distributions."""
    validators_max: int = PARAMETER_TABLE["validators_max"].default
    self_stake_min: int = PARAMETER_TABLE["self_stake_min"].default
    """An operator's own delegation, below which its validator cannot stand for the set."""
    delegation_min: int = PARAMETER_TABLE["delegation_min"].default
    commission_ppm_max: int = PARAMETER_TABLE["commission_ppm_max"].default
    unbonding_ms: int = PARAMETER_TABLE["unbonding_ms"].default
    """From the end of the epoch in which it began; always longer than the evidence age."""
    evidence_age_ms: int = PARAMETER_TABLE["evidence_age_ms"].default
    evidence_age_heights: int = PARAMETER_TABLE["evidence_age_heights"].default
    issuance_ppm_per_year: int = PARAMETER_TABLE["issuance_ppm_per_year"].default
    """New tokens per year of 365 days, of the supply at an epoch's end."""
    slash_duplicate_vote_ppm: int = PARAMETER_TABLE["slash_duplicate_vote_ppm"].default
    slash_light_client_attack_ppm: int = PARAMETER_TABLE["slash_light_client_attack_ppm"].default
    slash_proposal_equivocation_ppm: int = PARAMETER_TABLE["slash_proposal_equivocation_ppm"].default
    slash_downtime_ppm: int = PARAMETER_TABLE["slash_downtime_ppm"].default
    reporter_share_ppm: int = PARAMETER_TABLE["reporter_share_ppm"].default
    """Of what is slashed, to whoever submitted the evidence as an action."""
    downtime_window_heights: int = PARAMETER_TABLE["downtime_window_heights"].default
    downtime_missed_max_ppm: int = PARAMETER_TABLE["downtime_missed_max_ppm"].default
    """Part of the window that a validator may miss; one more jails it."""
    downtime_jail_ms: int = PARAMETER_TABLE["downtime_jail_ms"].default
    action_fee: int = PARAMETER_TABLE["action_fee"].default
    proposal_deposit: int = PARAMETER_TABLE["proposal_deposit"].default
    voting_period_slots: int = PARAMETER_TABLE["voting_period_slots"].default
    timelock_slots: int = PARAMETER_TABLE["timelock_slots"].default
    quorum_ppm: int = PARAMETER_TABLE["quorum_ppm"].default
    threshold_ppm: int = PARAMETER_TABLE["threshold_ppm"].default
    veto_ppm: int = PARAMETER_TABLE["veto_ppm"].default
    pause_threshold_ppm: int = PARAMETER_TABLE["pause_threshold_ppm"].default
    pause_slots_max: int = PARAMETER_TABLE["pause_slots_max"].default
    upgrade_notice_heights: int = PARAMETER_TABLE["upgrade_notice_heights"].default
    rollup_fee_per_slot: int = PARAMETER_TABLE["rollup_fee_per_slot"].default
    rollup_fee_per_transaction: int = PARAMETER_TABLE["rollup_fee_per_transaction"].default
    rollup_revenue_share_ppm: int = PARAMETER_TABLE["rollup_revenue_share_ppm"].default
    rollup_escrow_min: int = PARAMETER_TABLE["rollup_escrow_min"].default
    rollup_gas_per_slot_max: int = PARAMETER_TABLE["rollup_gas_per_slot_max"].default
    """Gas limit per slot of its block time that a registered rollup may have; everybody executes it."""
    rollup_join_notice_slots: int = PARAMETER_TABLE["rollup_join_notice_slots"].default
    rollup_leave_notice_slots: int = PARAMETER_TABLE["rollup_leave_notice_slots"].default

    def check(self) -> None:
        """Raises ConfigurationError `ledger_parameter_out_of_range` when a value, or two together, cannot be used."""
        for row in _ROWS:
            value = getattr(self, row.name)
            if not row.minimum <= value <= row.maximum:
                raise ConfigurationError(
                    f"{row.name} is {value}; it must be from {row.minimum} to {row.maximum}",
                    code="ledger_parameter_out_of_range",
                    parameter=row.name,
                    value=value,
                )
        if self.unbonding_ms <= self.evidence_age_ms:
            raise ConfigurationError(
                f"unbonding_ms is {self.unbonding_ms}; it must be above evidence_age_ms, {self.evidence_age_ms}, or "
                "stake could leave before a fault of its validator is known",
                code="ledger_parameter_out_of_range",
                parameter="unbonding_ms",
                value=self.unbonding_ms,
            )


def encode_parameters(parameters: LedgerParameters) -> bytes:
    """RLP list of all values in the table's order."""
    return encode_list(map(encode_uint, msgspec.structs.astuple(parameters)))


def decode_parameters(reader: Reader) -> LedgerParameters:
    """Reads all values and checks them.

    Raises:
        CodecError: not canonical integers.
        ConfigurationError: out of range.
    """
    parameters = LedgerParameters(**{row.name: reader.read_uint(2**256 - 1) for row in _ROWS})
    reader.end()
    parameters.check()
    return parameters
