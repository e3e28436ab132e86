"""The configuration of an OP Stack rollup: op-node's rollup.json, typed, checked and written again. Pure.

    OpStackConfig      everything that decides how the rollup derives from L1
    decode_rollup_json  refuses what is missing, out of range, or a fork schedule that is not "all from genesis"
    encode_rollup_json  what op-node v1.16 starts with: it refuses unknown fields and some that are missing

Source: OP Stack specs (derivation, Fjord: constant maximum sequencer drift, Granite: channel timeout) and op-node's
rollup configuration. The same value has a canonical RLP form, which the ledger keeps.
"""

from typing import Any, Final

import msgspec

from plait.codec.damage import DAMAGED, said
from plait.codec.rlp import Reader, encode_bytes, encode_list, encode_uint
from plait.derivation.attributes import FORKS, Fork
from plait.derivation.system_config import SystemConfig, decode_system, encode_system
from plait.errors import CodecError, ConfigurationError
from plait.limits import ROLLUP_CONFIG_BYTES_MAX
from plait.types import Address, BlockNumber, Gas, Hash32, Seconds

MAX_SEQUENCER_DRIFT_FJORD_S: Final = Seconds(1_800)
"""How far a rollup's time may lie ahead of its L1 origin with transactions in its blocks, since Fjord."""
CHANNEL_TIMEOUT_GRANITE: Final = 50
"""L1 blocks from a channel's first frame to its last, since Granite."""

UINT32_MAX: Final = 2**32 - 1
UINT64_MAX: Final = 2**64 - 1
_OLDER: Final = ("regolith", "canyon", "delta", "ecotone", "fjord", "granite")
_FORKS: Final[tuple[Fork, ...]] = ("holocene", "isthmus", "jovian")
_LATER: Final = ("karst", "interop", "lagoon")


class BlockId(msgspec.Struct, frozen=True):
    """A block by number and hash."""

    number: BlockNumber
    hash: Hash32


class OpStackConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How one rollup hangs on its L1. Times in seconds, windows in L1 blocks."""

    chain_id: int
    l1_chain_id: int
    genesis_l1: BlockId
    genesis_l2: BlockId
    genesis_time_s: Seconds
    genesis_system: SystemConfig
    block_time_s: int
    max_sequencer_drift_s: int = int(MAX_SEQUENCER_DRIFT_FJORD_S)
    """As configured; the rule since Fjord is `MAX_SEQUENCER_DRIFT_FJORD_S`."""
    seq_window_blocks: int = 3_600
    channel_timeout_blocks: int = 300
    """As configured; the rule since Granite is `CHANNEL_TIMEOUT_GRANITE`."""
    batch_inbox: Address
    deposit_contract: Address
    system_config_contract: Address
    fork: Fork = "jovian"
    eip1559_denominator: int = 250
    eip1559_elasticity: int = 6

    def check(self) -> None:
        """Raises ConfigurationError `rollup_config_invalid` with the first value that cannot be used."""
        ranges = (
            ("l2_chain_id", self.chain_id, 1, UINT64_MAX),
            ("l1_chain_id", self.l1_chain_id, 1, UINT64_MAX),
            ("genesis.l1.number", self.genesis_l1.number, 0, UINT64_MAX),
            ("genesis.l2.number", self.genesis_l2.number, 0, UINT64_MAX),
            ("genesis.l2_time", self.genesis_time_s, 1, UINT32_MAX),
            ("block_time", self.block_time_s, 1, 60),
            ("max_sequencer_drift", self.max_sequencer_drift_s, 1, UINT32_MAX),
            ("seq_window_size", self.seq_window_blocks, 2, UINT32_MAX),
            ("channel_timeout", self.channel_timeout_blocks, 1, UINT32_MAX),
            ("chain_op_config.eip1559Denominator", self.eip1559_denominator, 1, UINT32_MAX),
            ("chain_op_config.eip1559Elasticity", self.eip1559_elasticity, 1, UINT32_MAX),
        )
        for name, value, low, high in ranges:
            if not low <= value <= high:
                raise _invalid(f"{name} is {value}; it must lie in {low} to {high}", field=name, value=value)


def encode_config(config: OpStackConfig) -> bytes:
    """Canonical RLP: the fields in their order."""
    return encode_list(
        (
            encode_uint(config.chain_id),
            encode_uint(config.l1_chain_id),
            encode_block_id(config.genesis_l1),
            encode_block_id(config.genesis_l2),
            encode_uint(config.genesis_time_s),
            encode_system(config.genesis_system),
            encode_uint(config.block_time_s),
            encode_uint(config.max_sequencer_drift_s),
            encode_uint(config.seq_window_blocks),
            encode_uint(config.channel_timeout_blocks),
            encode_bytes(config.batch_inbox),
            encode_bytes(config.deposit_contract),
            encode_bytes(config.system_config_contract),
            encode_uint(FORKS.index(config.fork)),
            encode_uint(config.eip1559_denominator),
            encode_uint(config.eip1559_elasticity),
        )
    )


def decode_config(reader: Reader) -> OpStackConfig:
    """Reads the fields of `encode_config` to their end.

    Raises:
        CodecError: not canonical or out of range.
    """
    config = OpStackConfig(
        chain_id=reader.read_uint(),
        l1_chain_id=reader.read_uint(),
        genesis_l1=decode_block_id(reader.read_list("L1 genesis")),
        genesis_l2=decode_block_id(reader.read_list("rollup genesis")),
        genesis_time_s=Seconds(reader.read_uint()),
        genesis_system=decode_system(reader.read_list("system configuration")),
        block_time_s=reader.read_uint(),
        max_sequencer_drift_s=reader.read_uint(),
        seq_window_blocks=reader.read_uint(),
        channel_timeout_blocks=reader.read_uint(),
        batch_inbox=Address(reader.read_bytes(size=20)),
        deposit_contract=Address(reader.read_bytes(size=20)),
        system_config_contract=Address(reader.read_bytes(size=20)),
        fork=FORKS[reader.read_uint(len(FORKS) - 1)],
        eip1559_denominator=reader.read_uint(UINT32_MAX),
        eip1559_elasticity=reader.read_uint(UINT32_MAX),
    )
    reader.end()
    try:
        config.check()
    except ConfigurationError as error:
        raise CodecError(error.message, **error.fields) from error
    return config


def encode_block_id(block: BlockId) -> bytes:
    """[number, hash]."""
    return encode_list((encode_uint(block.number), encode_bytes(block.hash)))


def decode_block_id(reader: Reader) -> BlockId:
    """Reads [number, hash]. Raises CodecError."""
    block = BlockId(BlockNumber(reader.read_uint()), Hash32(reader.read_bytes(size=32)))
    reader.end()
    return block


# ---------------------------------------------------------------- rollup.json
def decode_rollup_json(data: bytes) -> OpStackConfig:
    """Reads op-node's rollup.json. Fields that decide nothing here are passed over.

    Raises:
        ConfigurationError: `rollup_config_invalid`, naming the field and what it should hold.
    """
    if len(data) > ROLLUP_CONFIG_BYTES_MAX:
        raise _invalid(f"it has {len(data)} bytes; at most {ROLLUP_CONFIG_BYTES_MAX} are read")
    try:
        found = msgspec.json.decode(data)
    except DAMAGED as error:
        raise _invalid(f"it is not JSON: {said(error)}") from error
    if not isinstance(found, dict):
        raise _invalid("it is not a JSON object")
    return config_of(found)


def config_of(found: dict[str, Any]) -> OpStackConfig:
    """The same of parsed JSON. Raises ConfigurationError `rollup_config_invalid`."""
    genesis = _object(found, "genesis")
    terms = _object(found, "chain_op_config")
    config = OpStackConfig(
        chain_id=_integer(found, "l2_chain_id"),
        l1_chain_id=_integer(found, "l1_chain_id"),
        genesis_l1=_block_id(_object(genesis, "l1"), "genesis.l1"),
        genesis_l2=_block_id(_object(genesis, "l2"), "genesis.l2"),
        genesis_time_s=Seconds(_integer(genesis, "l2_time")),
        genesis_system=_system(_object(genesis, "system_config")),
        block_time_s=_integer(found, "block_time"),
        max_sequencer_drift_s=_integer(found, "max_sequencer_drift"),
        seq_window_blocks=_integer(found, "seq_window_size"),
        channel_timeout_blocks=_integer(found, "channel_timeout"),
        batch_inbox=Address(_hex(found, "batch_inbox_address", 20)),
        deposit_contract=Address(_hex(found, "deposit_contract_address", 20)),
        system_config_contract=Address(_hex(found, "l1_system_config_address", 20)),
        fork=_fork(found),
        eip1559_denominator=_integer(terms, "eip1559DenominatorCanyon"),
        eip1559_elasticity=_integer(terms, "eip1559Elasticity"),
    )
    config.check()
    return config


def rollup_json_of(config: OpStackConfig) -> dict[str, Any]:
    """The object that op-node reads."""
    system = config.genesis_system
    scalar = b"\x01" + bytes(23) + system.blob_base_fee_scalar.to_bytes(4, "big")
    scalar += system.base_fee_scalar.to_bytes(4, "big")
    operator = (
        bytes(20) + system.operator_fee_scalar.to_bytes(4, "big") + system.operator_fee_constant.to_bytes(8, "big")
    )
    rule = system.eip1559_denominator.to_bytes(4, "big") + system.eip1559_elasticity.to_bytes(4, "big")
    found: dict[str, Any] = {
        "genesis": {
            "l1": {"hash": _text(config.genesis_l1.hash), "number": config.genesis_l1.number},
            "l2": {"hash": _text(config.genesis_l2.hash), "number": config.genesis_l2.number},
            "l2_time": config.genesis_time_s,
            "system_config": {
                "batcherAddr": _text(system.batcher),
                "overhead": _text(bytes(32)),
                "scalar": _text(scalar),
                "gasLimit": system.gas_limit,
                "eip1559Params": _text(rule),
                "operatorFeeParams": _text(operator),
                "minBaseFee": system.min_base_fee,
                "daFootprintGasScalar": system.da_footprint_gas_scalar,
            },
        },
        "block_time": config.block_time_s,
        "max_sequencer_drift": config.max_sequencer_drift_s,
        "seq_window_size": config.seq_window_blocks,
        "channel_timeout": config.channel_timeout_blocks,
        "l1_chain_id": config.l1_chain_id,
        "l2_chain_id": config.chain_id,
        "batch_inbox_address": _text(config.batch_inbox),
        "deposit_contract_address": _text(config.deposit_contract),
        "l1_system_config_address": _text(config.system_config_contract),
        "chain_op_config": {
            "eip1559Elasticity": config.eip1559_elasticity,
            "eip1559Denominator": config.eip1559_denominator,
            "eip1559DenominatorCanyon": config.eip1559_denominator,
        },
    }
    for name in (*_OLDER, *_FORKS[: _FORKS.index(config.fork) + 1]):
        found[f"{name}_time"] = 0
    return found


def encode_rollup_json(config: OpStackConfig) -> bytes:
    """rollup.json, indented."""
    return msgspec.json.format(msgspec.json.encode(rollup_json_of(config)), indent=2) + b"\n"


def _fork(found: dict[str, Any]) -> Fork:
    genesis_time = _integer(_object(found, "genesis"), "l2_time")
    active: list[str] = []
    for name in (*_OLDER, *_FORKS, *_LATER):
        time_s = found.get(f"{name}_time")
        if time_s is None:
            continue
        if not isinstance(time_s, int) or isinstance(time_s, bool) or time_s > genesis_time:
            raise _invalid(
                f"{name}_time is {time_s!r}; only forks that are active from the rollup's genesis on are supported",
                field=f"{name}_time",
            )
        active.append(name)
    if any(name in active for name in _LATER):
        raise _invalid(f"the fork {active[-1]} is not supported; the newest one is Jovian", field=f"{active[-1]}_time")
    wanted = [*_OLDER, *_FORKS]
    if active != wanted[: len(active)] or len(active) <= len(_OLDER):
        missing = next((name for name in wanted if name not in active), "holocene")
        raise _invalid(f"{missing}_time is missing; every fork up to Holocene at least is needed", field=missing)
    return _FORKS[len(active) - len(_OLDER) - 1]


def _system(found: dict[str, Any]) -> SystemConfig:
    scalar = _hex(found, "scalar", 32)
    if scalar[0] != 1:
        raise _invalid("genesis.system_config.scalar must have version 1 (Ecotone)", field="scalar")
    rule = _hex(found, "eip1559Params", 8) if "eip1559Params" in found else bytes(8)
    operator = _hex(found, "operatorFeeParams", 32) if "operatorFeeParams" in found else bytes(32)
    return SystemConfig(
        batcher=Address(_hex(found, "batcherAddr", 20)),
        gas_limit=Gas(_integer(found, "gasLimit")),
        base_fee_scalar=int.from_bytes(scalar[28:]),
        blob_base_fee_scalar=int.from_bytes(scalar[24:28]),
        eip1559_denominator=int.from_bytes(rule[:4]),
        eip1559_elasticity=int.from_bytes(rule[4:]),
        operator_fee_scalar=int.from_bytes(operator[20:24]),
        operator_fee_constant=int.from_bytes(operator[24:]),
        min_base_fee=_integer(found, "minBaseFee") if "minBaseFee" in found else 0,
        da_footprint_gas_scalar=_integer(found, "daFootprintGasScalar") if "daFootprintGasScalar" in found else 0,
    )


def _block_id(found: dict[str, Any], where: str) -> BlockId:
    if "number" not in found:
        raise _invalid(f"{where}.number is missing", field=f"{where}.number")
    return BlockId(BlockNumber(_integer(found, "number")), Hash32(_hex(found, "hash", 32)))


def _object(found: dict[str, Any], name: str) -> dict[str, Any]:
    value = found.get(name)
    if not isinstance(value, dict):
        raise _invalid(f"{name} is missing or no object", field=name)
    return value


def _integer(found: dict[str, Any], name: str) -> int:
    value = found.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= UINT64_MAX:
        raise _invalid(f"{name} must be an integer of 0 to 2**64 - 1, not {value!r}", field=name)
    return value


def _hex(found: dict[str, Any], name: str, size: int) -> bytes:
    value = found.get(name)
    if isinstance(value, str) and value[:2] in ("0x", "0X"):
        try:
            data = bytes.fromhex(value[2:])
        except ValueError:
            data = b""
        if len(data) == size:
            return data
    raise _invalid(f"{name} must be 0x and {2 * size} hexadecimal digits, not {value!r}", field=name)


def _text(data: bytes) -> str:
    return "0x" + data.hex()


def _invalid(problem: str, **fields: Any) -> ConfigurationError:
    return ConfigurationError(
        f"The rollup configuration cannot be used: {problem}.", code="rollup_config_invalid", **fields
    )
