"""What a rollup's block says of its L1 origin: the L1-attributes deposit, read back. Pure.

Every block begins with that deposit, so a block alone tells its origin, its place in the epoch and most of the system
configuration: what `plait.derivation.attributes` writes, this module reads.

    selector ++ base fee scalar (u32) ++ blob base fee scalar (u32) ++ sequence number (u64) ++ L1 time (u64)
             ++ L1 number (u64) ++ base fee (u256) ++ blob base fee (u256) ++ L1 hash (32) ++ batcher (32, left padded)
    Isthmus  ++ operator fee scalar (u32) ++ operator fee constant (u64)
    Jovian   ++ DA footprint gas scalar (u16)

Source: OP Stack specs, L1 attributes of Ecotone, Isthmus and Jovian.
"""

from typing import Final

import msgspec

from plait.codec.rlp import Reader
from plait.derivation.attributes import DEPOSIT_TYPE, L1_ATTRIBUTES_SELECTORS, Fork
from plait.errors import CodecError
from plait.types import Address, BlockNumber, Hash32, Seconds, Wei

DATA_BYTES: Final[dict[Fork, int]] = {"holocene": 164, "isthmus": 176, "jovian": 178}
"""Of the deposit's calldata, by the fork that brought its layout (Holocene's is Ecotone's)."""
_LAYOUTS: Final = {selector: fork for fork, selector in L1_ATTRIBUTES_SELECTORS.items()}


class L1Attributes(msgspec.Struct, frozen=True, kw_only=True):
    """A block's L1 origin, its place in the epoch, and the part of the system configuration that the deposit holds."""

    layout: Fork
    number: BlockNumber
    hash: Hash32
    timestamp: Seconds
    base_fee: Wei
    blob_base_fee: Wei
    sequence_number: int
    batcher: Address
    base_fee_scalar: int
    blob_base_fee_scalar: int
    operator_fee_scalar: int = 0
    operator_fee_constant: int = 0
    da_footprint_gas_scalar: int = 0


def decode_l1_attributes_data(data: bytes) -> L1Attributes:
    """Reads the deposit's calldata.

    Raises:
        CodecError: `l1_attributes_malformed`: another selector or length, or an integer or address out of range.
    """
    fork = _LAYOUTS.get(data[:4])
    if fork is None:
        raise _malformed(f"0x{data[:4].hex()} is the selector of no layout since Ecotone")
    if len(data) != DATA_BYTES[fork]:
        raise _malformed(f"the layout of {fork} has {DATA_BYTES[fork]} bytes, not {len(data)}")
    if any(data[132:144]):
        raise _malformed("the batcher is no address")
    return L1Attributes(
        layout=fork,
        base_fee_scalar=_uint(data, 4, 8),
        blob_base_fee_scalar=_uint(data, 8, 12),
        sequence_number=_uint(data, 12, 20),
        timestamp=Seconds(_uint(data, 20, 28)),
        number=BlockNumber(_uint(data, 28, 36)),
        base_fee=Wei(_uint(data, 36, 68)),
        blob_base_fee=Wei(_uint(data, 68, 100)),
        hash=Hash32(data[100:132]),
        batcher=Address(data[144:164]),
        operator_fee_scalar=_uint(data, 164, 168),  # 0 in a layout that ends before it
        operator_fee_constant=_uint(data, 168, 176),
        da_footprint_gas_scalar=_uint(data, 176, 178),
    )


def decode_l1_attributes(deposit: bytes) -> L1Attributes:
    """Reads the raw first transaction of a block.

    Raises:
        CodecError: `l1_attributes_malformed`: no deposit, or one with another kind of calldata.
    """
    if deposit[:1] != DEPOSIT_TYPE:
        raise _malformed("a block begins with a deposit")
    try:
        reader = Reader(deposit, start=1, what="deposit").read_list("deposit")
        for _ in range(7):  # source hash, from, to, mint, value, gas, is system transaction
            reader.read_bytes()
        data = reader.read_bytes()
        reader.end()
    except CodecError as error:
        raise _malformed(error.message) from error
    return decode_l1_attributes_data(data)


def _uint(data: bytes, start: int, stop: int) -> int:
    return int.from_bytes(data[start:stop], "big")


def _malformed(problem: str) -> CodecError:
    return CodecError(f"L1 attributes: {problem}", code="l1_attributes_malformed")
