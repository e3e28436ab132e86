"""A rollup's system configuration at one L1 origin: what L1 says about its fees, limits and batcher. Pure.

Source: OP Stack specs, system configuration. It begins with the rollup configuration's genesis and changes with the
ConfigUpdate logs of the blocks that become L1 origins. Embedded rollups have one made of their registry's parameters.
"""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from plait.codec.rlp import Reader, encode_bytes, encode_list, encode_uint
from plait.native import keccak256
from plait.types import Address, Gas, Hash32, RollupParameters

NO_BATCHER: Final = Address(bytes(20))
"""An embedded rollup posts no batches."""

UINT16_MAX: Final = 2**16 - 1
UINT32_MAX: Final = 2**32 - 1
UINT64_MAX: Final = 2**64 - 1


class SystemConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What L1 says of a rollup. Denominator and elasticity both 0 mean the chain's own."""

    batcher: Address
    gas_limit: Gas
    base_fee_scalar: int
    blob_base_fee_scalar: int
    eip1559_denominator: int
    eip1559_elasticity: int
    operator_fee_scalar: int = 0
    operator_fee_constant: int = 0
    min_base_fee: int = 0
    da_footprint_gas_scalar: int = 0


_INTEGERS: Final = (
    ("gas_limit", UINT64_MAX),
    ("base_fee_scalar", UINT32_MAX),
    ("blob_base_fee_scalar", UINT32_MAX),
    ("eip1559_denominator", UINT32_MAX),
    ("eip1559_elasticity", UINT32_MAX),
    ("operator_fee_scalar", UINT32_MAX),
    ("operator_fee_constant", UINT64_MAX),
    ("min_base_fee", UINT64_MAX),
    ("da_footprint_gas_scalar", UINT16_MAX),
)


def system_of(parameters: RollupParameters, batcher: Address = NO_BATCHER) -> SystemConfig:
    """The system configuration that a registry's parameters amount to."""
    return SystemConfig(
        batcher=batcher,
        gas_limit=parameters.gas_limit,
        base_fee_scalar=parameters.base_fee_scalar,
        blob_base_fee_scalar=parameters.blob_base_fee_scalar,
        eip1559_denominator=parameters.eip1559_denominator,
        eip1559_elasticity=parameters.eip1559_elasticity,
        operator_fee_scalar=parameters.operator_fee_scalar,
        operator_fee_constant=parameters.operator_fee_constant,
        min_base_fee=parameters.min_base_fee,
        da_footprint_gas_scalar=parameters.da_footprint_gas_scalar,
    )


def encode_system(system: SystemConfig) -> bytes:
    """Canonical bytes: [batcher, integers in the order of the fields]."""
    return encode_list((encode_bytes(system.batcher), *(encode_uint(getattr(system, name)) for name, _ in _INTEGERS)))


def decode_system(reader: Reader) -> SystemConfig:
    """Reads the fields of `encode_system` to their end.

    Raises:
        CodecError: not canonical or out of range.
    """
    batcher = Address(reader.read_bytes(size=20))
    values = {name: reader.read_uint(maximum) for name, maximum in _INTEGERS}
    reader.end()
    return SystemConfig(batcher=batcher, gas_limit=Gas(values.pop("gas_limit")), **values)


# ---------------------------------------------------------------- updates
CONFIG_UPDATE: Final = Hash32(keccak256(b"ConfigUpdate(uint256,uint8,bytes)"))
"""Topic 0 of the event of a SystemConfig contract."""

UPDATE_BATCHER: Final = 0
UPDATE_FEE_SCALARS: Final = 1
UPDATE_GAS_LIMIT: Final = 2
UPDATE_UNSAFE_BLOCK_SIGNER: Final = 3
"""Who signs unsafe blocks on the peer-to-peer network: not a matter of derivation, so ignored."""
UPDATE_EIP1559: Final = 4
UPDATE_OPERATOR_FEE: Final = 5
UPDATE_MIN_BASE_FEE: Final = 6
UPDATE_DA_FOOTPRINT: Final = 7

_CONTENT_BYTES: Final = {
    UPDATE_BATCHER: 32,
    UPDATE_FEE_SCALARS: 64,
    UPDATE_GAS_LIMIT: 32,
    UPDATE_EIP1559: 32,
    UPDATE_OPERATOR_FEE: 32,
    UPDATE_MIN_BASE_FEE: 32,
    UPDATE_DA_FOOTPRINT: 32,
}


def update_of_log(topics: Sequence[bytes], data: bytes) -> bytes | None:
    """What a ConfigUpdate log changes: its type as a word and the content of its `bytes`.

    None when derivation ignores the log: another event, version or number of topics, an unknown type, the unsafe
    block signer, or data that is not the ABI encoding of exactly the words of its type.

    Args:
        topics: of the log, each 32 bytes.
        data: of the log.
    """
    if len(topics) != 3 or topics[0] != CONFIG_UPDATE or any(topics[1]):
        return None
    size = _CONTENT_BYTES.get(int.from_bytes(topics[2], "big"))
    if size is None or len(data) != 64 + size:
        return None
    if int.from_bytes(data[:32], "big") != 32 or int.from_bytes(data[32:64], "big") != size:
        return None
    return topics[2] + data[64:]


def apply_update(system: SystemConfig, update: bytes) -> SystemConfig:
    """The configuration after one update, as op-node applies it: a malformed or unknown one changes nothing.

    Args:
        system: before it.
        update: as `update_of_log` gives it: the type as a word, then one word or (fee scalars) two.

    Source: OP Stack specs, system configuration; forks Ecotone (scalars), Holocene, Isthmus, Jovian.
    """
    kind = int.from_bytes(update[:32], "big")
    content = update[32:]
    if len(update) < 32 or len(content) != _CONTENT_BYTES.get(kind):
        return system
    changes = _changes(kind, content)
    return system if changes is None else msgspec.structs.replace(system, **changes)


def _changes(kind: int, content: bytes) -> dict[str, Any] | None:
    """Fields that an update of a known type and right length sets; None when its value is not one of its kind."""
    if kind == UPDATE_BATCHER:
        return None if any(content[:12]) else {"batcher": Address(content[12:])}
    if kind == UPDATE_FEE_SCALARS:
        return _scalars(content[32:])  # the first word is Bedrock's overhead, without effect since Ecotone
    if kind == UPDATE_EIP1559:
        denominator, elasticity = int.from_bytes(content[24:28], "big"), int.from_bytes(content[28:], "big")
        # both 0 mean the chain's own; only one of them would divide by zero
        if (denominator == 0) != (elasticity == 0):
            return None
        return {"eip1559_denominator": denominator, "eip1559_elasticity": elasticity}
    if kind == UPDATE_OPERATOR_FEE:
        return {
            "operator_fee_scalar": int.from_bytes(content[20:24], "big"),
            "operator_fee_constant": int.from_bytes(content[24:], "big"),
        }
    name, maximum = _ONE_INTEGER[kind]
    value = int.from_bytes(content, "big")
    return None if value > maximum else {name: value}


_ONE_INTEGER: Final = {
    UPDATE_GAS_LIMIT: ("gas_limit", UINT64_MAX),
    UPDATE_MIN_BASE_FEE: ("min_base_fee", UINT64_MAX),
    UPDATE_DA_FOOTPRINT: ("da_footprint_gas_scalar", UINT16_MAX),
}


def _scalars(word: bytes) -> dict[str, Any] | None:
    """The two fee scalars of a scalar word: version 1 (Ecotone) holds both, version 0 (Bedrock) the base fee's."""
    padding_end = {0: 28, 1: 24}.get(word[0])
    if padding_end is None or any(word[1:padding_end]):
        return None
    blob = int.from_bytes(word[24:28], "big") if word[0] == 1 else 0
    return {"base_fee_scalar": int.from_bytes(word[28:], "big"), "blob_base_fee_scalar": blob}
