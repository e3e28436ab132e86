"""The economy of a simulated network: validators with keys and stake, accounts of users and operators, short epochs;
and the questions that are asked of it at every height.

The questions add up tokens from the ledger's tables and compare its rotation with the agreement's own.
"""

from collections.abc import Sequence
from functools import cache
from hashlib import sha256

from Crypto.PublicKey import ECC
from Crypto.Signature import eddsa

from plait.ledger.economy import Economy
from plait.ledger.genesis import GenesisEconomy, GenesisValidator, genesis_economy
from plait.ledger.parameters import TOKEN, LedgerParameters
from plait.ledger.rotation import ProposerSet
from plait.types import Address
from plait.types.action import PPM
from sim.agreement.validators import ValidatorSet
from sim.wallet import Wallet

USER_TOKENS = 100_000
OPERATOR_TOKENS = 1_000
STAKE_TOKENS = 10
"""Of a validator, per unit of a scenario's power."""


@cache
def consensus_key(index: int) -> ECC.EccKey:
    """A node's consensus key; the same index, the same key."""
    return ECC.construct(curve="Ed25519", seed=_seed(index))  # type: ignore[arg-type]  # bytes, say its docs


def _seed(index: int) -> bytes:
    return sha256(b"simulated consensus key %d" % index).digest()


@cache
def public_key(index: int) -> bytes:
    """Its 32 public bytes."""
    return bytes(consensus_key(index).public_key().export_key(format="raw"))


@cache
def sign(index: int, message: bytes) -> bytes:
    """Ed25519 signature of a node's consensus key."""
    return bytes(eddsa.new(consensus_key(index), "rfc8032").sign(message))


@cache
def operator(index: int) -> Wallet:
    """Whoever runs a node."""
    return Wallet.of_index(index, "operator")


def parameters_of(*, liars: bool) -> LedgerParameters:
    """Everything happens within a few heights. Where some lie, nobody is jailed for being away, so that the liars'
    share of the power never grows, and evidence lives longer than a run."""
    return LedgerParameters(
        epoch_heights=3,
        unbonding_ms=130_000 if liars else 2_000,
        evidence_age_ms=120_000 if liars else 1_000,
        evidence_age_heights=30,
        issuance_ppm_per_year=200_000,
        downtime_window_heights=10,
        downtime_missed_max_ppm=PPM if liars else 500_000,
        downtime_jail_ms=1_000,
        action_fee=TOKEN // 1_000,
        proposal_deposit=TOKEN,
        voting_period_slots=4,
        timelock_slots=1,
        pause_slots_max=2,
    )


def economy_of(powers: Sequence[int], operators: int, users: Sequence[Wallet], *, liars: bool) -> Economy:
    """Validators with stake by power, first nodes first; more operators than validators may join later."""
    accounts: list[tuple[Address, int]] = [(user.address, USER_TOKENS * TOKEN) for user in users]
    accounts += [(operator(index).address, OPERATOR_TOKENS * TOKEN) for index in range(operators)]
    validators = tuple(
        GenesisValidator(
            operator=operator(index).address,
            public_key=public_key(index),
            stake=power * STAKE_TOKENS * TOKEN,
            name=f"validator {index}",
            commission_ppm=50_000 * index,
        )
        for index, power in enumerate(powers)
    )
    return genesis_economy(
        GenesisEconomy(parameters=parameters_of(liars=liars), accounts=tuple(accounts), validators=validators)
    )


def tokens_made(economy: Economy) -> int:
    """What genesis and issuance made, base units."""
    return economy.supply.genesis + economy.supply.issued


def tokens_held(economy: Economy) -> int:
    """Everything that somebody or something holds, and what was burned, base units."""
    validators = [validator for _, validator in economy.validators.items()]
    return (
        economy.supply.pot
        + economy.supply.burned
        + sum(account.balance for _, account in economy.accounts.items())
        + sum(validator.tokens + validator.rewards + validator.commission for validator in validators)
        + sum(amount for _, amount in economy.unbondings.items())
        + sum(proposal.deposit for _, proposal in economy.proposals.items())
        + sum(rollup.escrow for _, rollup in economy.rollups.items())
    )


def negative_places(economy: Economy) -> list[str]:
    """Places that hold less than nothing; there must be none."""
    found = [name for name in ("pot", "burned", "issued") if getattr(economy.supply, name) < 0]
    found += [f"account 0x{bytes(key).hex()}" for key, account in economy.accounts.items() if account.balance < 0]
    for key, validator in economy.validators.items():
        if min(validator.tokens, validator.rewards, validator.commission, validator.shares) < 0:
            found.append(f"validator 0x{bytes(key).hex()}")
    return found


def same_set(ledger: ProposerSet, engine: ValidatorSet) -> bool:
    """Whether the ledger's own idea of a height's validators and leader is the engine's."""
    listed = sorted((member.address, member.power, member.priority) for member in engine.members)
    own = list(zip(ledger.addresses, ledger.powers, ledger.priorities, strict=True))
    return own == listed and ledger.leader == engine.leader
