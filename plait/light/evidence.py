"""What two conflicting blocks of one height prove, and against whom.

    equivocation  same validators, same round: whoever signed both blocks lied
    lunatic       the block's header cannot follow from the agreed state (another validator set, app hash, ...):
                  whoever of the last common height's validators signed it lied
    amnesia       same validators, different rounds: somebody forgot a lock; who it was takes the votes of both rounds

Either block may be the false one: the evidence holds both, and whoever has a third source can tell. Source: CometBFT
v0.38 spec/light-client/accountability, types/evidence.go (GetByzantineValidators). Pure.
"""

from enum import StrEnum
from typing import Any

import msgspec

from plait.light.blocks import LightBlock, encode_commit, encode_header, encode_validators, format_time
from plait.types import Height
from plait.types.consensus import BlockIdFlag, ConsensusAddress

_STATE_HASHES = ("validators_hash", "next_validators_hash", "consensus_hash", "app_hash", "last_results_hash")


class AttackKind(StrEnum):
    """How validators must have deviated for both blocks to exist."""

    LUNATIC = "lunatic"
    EQUIVOCATION = "equivocation"
    AMNESIA = "amnesia"


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """Two signed blocks of one height, and the last block below them that both sources agree on."""

    common: LightBlock
    primary: LightBlock
    witness: LightBlock
    witness_name: str

    @property
    def common_height(self) -> Height:
        """Up to which the sources agree."""
        return self.common.height

    @property
    def kind(self) -> AttackKind:
        """How validators must have deviated."""
        one, other = self.primary.header, self.witness.header
        if any(getattr(one, name) != getattr(other, name) for name in _STATE_HASHES):
            return AttackKind.LUNATIC
        if self.primary.commit.round == self.witness.commit.round:
            return AttackKind.EQUIVOCATION
        return AttackKind.AMNESIA

    def suspects(self, accused: LightBlock) -> tuple[ConsensusAddress, ...]:
        """Validators that are proven to have lied if `accused`, one of the two blocks, is the false one.

        Ascending by place in their set; empty for amnesia.
        """
        other = self.witness if accused is self.primary else self.primary
        signers = {one.address for one in accused.commit.signatures if one.flag is BlockIdFlag.COMMIT}
        if self.kind is AttackKind.LUNATIC:
            known = self.common.validators.validators
        elif self.kind is AttackKind.EQUIVOCATION:
            signers &= {one.address for one in other.commit.signatures if one.flag is BlockIdFlag.COMMIT}
            known = accused.validators.validators
        else:
            known = ()
        return tuple(one.address for one in known if one.address in signers)

    def against(self, accused: LightBlock) -> dict[str, Any]:
        """CometBFT's JSON of a LightClientAttackEvidence, as its RPC's `broadcast_evidence` takes it."""
        lunatic = self.kind is AttackKind.LUNATIC
        base = self.common if lunatic else (self.witness if accused is self.primary else self.primary)
        powers = {one.address: one for one in base.validators.validators}
        ordered = sorted(self.suspects(accused), key=lambda address: (-powers[address].power, address))
        shown = {one["address"]: one | {"proposer_priority": "0"} for one in encode_validators(base.validators)}
        validators = [one | {"proposer_priority": "0"} for one in encode_validators(accused.validators)]
        signed = {"header": encode_header(accused.header), "commit": encode_commit(accused.commit)}
        byzantine = [shown[address.hex().upper()] for address in ordered]
        value = {
            "ConflictingBlock": {
                "signed_header": signed,
                "validator_set": {"validators": validators, "proposer": validators[0]},
            },
            "CommonHeight": str(base.height),
            "ByzantineValidators": byzantine,
            "TotalVotingPower": str(base.validators.total_power),
            "Timestamp": format_time(base.header.time_ns),
        }
        return {"type": "tendermint/LightClientAttackEvidence", "value": value}
