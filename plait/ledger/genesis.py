"""The economy before height 1: accounts, first validators with their own stake, first rollups.

The validators of the genesis are in the set from height 1 on, by the rules that hold later too: a whole token each,
the most tokens first. Their stake comes on top of their operators' balances. Level 3, pure.
"""

from msgspec import Struct

from plait.errors import ConfigurationError
from plait.ledger.economy import Clock, Economy, Seats, Supply, empty_economy, holdings
from plait.ledger.parameters import TOKEN, LedgerParameters
from plait.ledger.rollup_records import NetworkMode, RollupEntry, rollup_key
from plait.ledger.rotation import new_rotation
from plait.ledger.stake_records import Account, Delegation, Validator, delegation_key
from plait.limits import ACTION_NAME_BYTES_MAX, SUPPLY_MAX
from plait.types import Address, ValidatorUpdate
from plait.types.action import PPM
from plait.types.consensus import consensus_address


class GenesisValidator(Struct, frozen=True, kw_only=True):
    """A validator of the first set."""

    operator: Address
    public_key: bytes
    """Ed25519, 32 bytes."""
    stake: int
    """Base units that are bonded to it, as its operator's delegation."""
    name: str
    commission_ppm: int = 0
    commission_max_ppm: int = PPM
    commission_step_ppm: int = PPM


class GenesisEconomy(Struct, frozen=True, kw_only=True):
    """What a network starts with."""

    mode: NetworkMode = NetworkMode.MARKETPLACE
    parameters: LedgerParameters = LedgerParameters()
    accounts: tuple[tuple[Address, int], ...] = ()
    """(address, balance in base units)."""
    validators: tuple[GenesisValidator, ...] = ()
    rollups: tuple[RollupEntry, ...] = ()


def genesis_economy(genesis: GenesisEconomy) -> Economy:
    """The first economy.

    Raises:
        ConfigurationError: `ledger_parameter_out_of_range` or `ledger_genesis_invalid`: two of the same account,
            operator or key, an unusable validator, too many tokens.
    """
    genesis.parameters.check()
    _check(genesis)
    seated = sorted(genesis.validators, key=lambda entry: consensus_address(entry.public_key))
    addresses = tuple(consensus_address(entry.public_key) for entry in seated)
    zeros = (0,) * len(seated)
    validators = [(entry.operator, _validator_of(entry)) for entry in genesis.validators]
    economy = empty_economy(genesis.mode, genesis.parameters)
    tables = {
        "accounts": {address: Account(balance, 0) for address, balance in genesis.accounts if balance},
        "validators": dict(validators),
        "keys": {address: entry.operator for address, entry in zip(addresses, seated, strict=True)},
        "delegations": {
            delegation_key(entry.operator, entry.operator): Delegation(entry.stake, 0) for entry in genesis.validators
        },
        "rollups": {rollup_key(entry.rollup_id): entry for entry in genesis.rollups},
    }
    values = {name: getattr(economy, name) for name in Economy.__struct_fields__}
    values |= {name: values[name].with_changes(rows) for name, rows in tables.items()}
    values["clock"] = Clock(next_seat=len(seated) + 1)
    values["rotation"] = new_rotation(
        {address: entry.stake // TOKEN for address, entry in zip(addresses, seated, strict=True)}
    )
    numbers = tuple(range(1, len(seated) + 1))
    values["seats"] = Seats(addresses, numbers, zeros, zeros, zeros, zeros, zeros)
    unfunded = Economy(**values)
    made = holdings(unfunded).total
    if made > SUPPLY_MAX:
        raise _invalid(f"the genesis makes {made} base units; at most {SUPPLY_MAX} can be")
    return Economy(**(values | {"supply": Supply(genesis=made)}))


def first_validators(economy: Economy) -> tuple[ValidatorUpdate, ...]:
    """The set of height 1 for the engine, ascending by consensus address; empty for a network without validators."""
    keys = {consensus_address(validator.public_key): validator for _, validator in economy.validators.items()}
    return tuple(ValidatorUpdate(keys[address].public_key, keys[address].power) for address in economy.seats.addresses)


def _validator_of(entry: GenesisValidator) -> Validator:
    return Validator(
        public_key=entry.public_key,
        name=entry.name,
        tokens=entry.stake,
        shares=entry.stake,
        commission_ppm=entry.commission_ppm,
        commission_max_ppm=entry.commission_max_ppm,
        commission_step_ppm=entry.commission_step_ppm,
        commission_base_ppm=entry.commission_ppm,
        power=entry.stake // TOKEN,
    )


def _check(genesis: GenesisEconomy) -> None:
    parameters = genesis.parameters
    for what, values in (
        ("account", [address for address, _ in genesis.accounts]),
        ("operator", [entry.operator for entry in genesis.validators]),
        ("consensus key", [entry.public_key for entry in genesis.validators]),
        ("rollup", [entry.rollup_id for entry in genesis.rollups]),
    ):
        if len(set(values)) != len(values):
            raise _invalid(f"the genesis names one {what} twice")
    for address, balance in genesis.accounts:
        if len(address) != 20 or not 0 <= balance <= SUPPLY_MAX:
            raise _invalid(f"an account of the genesis has address 0x{address.hex()} and balance {balance}")
    single = genesis.mode is NetworkMode.SINGLE_OPERATOR
    if len(genesis.validators) > (1 if single else parameters.validators_max):
        raise _invalid(f"the genesis has {len(genesis.validators)} validators, more than the network may have")
    for entry in genesis.validators:
        rates_fit = 0 <= entry.commission_ppm <= entry.commission_max_ppm <= parameters.commission_ppm_max
        sizes_fit = len(entry.operator) == 20 and len(entry.public_key) == 32
        name_fits = 1 <= len(entry.name.encode()) <= ACTION_NAME_BYTES_MAX
        if not (rates_fit and sizes_fit and name_fits and 0 <= entry.commission_step_ppm <= PPM):
            raise _invalid(f"the validator {entry.name!r} of the genesis has an unusable key, name or commission")
        if entry.stake < parameters.self_stake_min:
            raise _invalid(f"the validator {entry.name!r} has less stake than {parameters.self_stake_min} base units")


def _invalid(sentence: str) -> ConfigurationError:
    return ConfigurationError(sentence, code="ledger_genesis_invalid")
