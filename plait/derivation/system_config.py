"""A rollup's system configuration at one L1 origin: what L1 says about its fees, limits and batcher. Pure.

Source: OP Stack specs, system configuration. It begins with the rollup configuration's genesis and changes with the
ConfigUpdate logs of the blocks that become L1 origins. Embedded rollups have one made of their registry's parameters.
"""

from typing import Final

import msgspec

from plait.codec.rlp import Reader, encode_bytes, encode_list, encode_uint
from plait.types import Address, Gas, RollupParameters

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
