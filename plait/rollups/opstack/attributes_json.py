"""Payload attributes as the Engine API takes them, with every field of the OP Stack.

Specification (OP Stack specs, exec-engine, holocene and jovian; op-geth's beacon/engine)
    - `transactions` are all of the block's, deposits first; with `noTxPool` nothing is added to them.
    - `eip1559Params` (Holocene) is u32 denominator ++ u32 elasticity; both 0 mean the chain's own.
    - `minBaseFee` (Jovian) is a plain JSON number, unlike every other number here.
    - extraData says both: version 0 ++ params (Holocene), version 1 ++ params ++ u64 minimum base fee (Jovian).
A sealed block holds all of its attributes, so nothing else is needed to have an engine build it again. Level 5, pure.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from plait.derivation.execution_payload import PayloadEnvelope
from plait.errors import CodecError
from plait.native import Attributes
from plait.rollups.opstack.forks import METHODS, EngineFork
from plait.rollups.opstack.wire import data, quantity
from plait.types import Address, Gas, Hash32, Seconds, Wei

_HOLOCENE_EXTRA_BYTES: Final = 9
_JOVIAN_EXTRA_BYTES: Final = 17


class FeeParameters(msgspec.Struct, frozen=True):
    """What a header's extraData says about base fees."""

    denominator: int
    elasticity: int
    min_base_fee: Wei = Wei(0)


class PayloadAttributes(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that decides a block.

    Fields:
        eip1559: None before Holocene; its minimum base fee is sent from Jovian on.
        no_tx_pool: False lets the engine add transactions of its own pool.
    """

    timestamp: Seconds
    prev_randao: Hash32
    fee_recipient: Address
    parent_beacon_block_root: Hash32
    transactions: tuple[bytes, ...]
    gas_limit: Gas
    eip1559: FeeParameters | None
    no_tx_pool: bool = True


def read_extra_data(extra: bytes) -> FeeParameters | None:
    """Fee parameters of a header; None before Holocene (no extraData).

    Raises:
        CodecError: `payload_malformed`, it has no form of the OP Stack.
    """
    if not extra:
        return None
    wide = len(extra) == _JOVIAN_EXTRA_BYTES
    if len(extra) not in {_HOLOCENE_EXTRA_BYTES, _JOVIAN_EXTRA_BYTES} or extra[0] != int(wide):
        raise CodecError(f"extraData 0x{extra[:32].hex()} has no form of the OP Stack.", code="payload_malformed")
    return FeeParameters(
        int.from_bytes(extra[1:5], "big"), int.from_bytes(extra[5:9], "big"), Wei(int.from_bytes(extra[9:], "big"))
    )


def attributes_of(envelope: PayloadEnvelope) -> PayloadAttributes:
    """The attributes that gave a sealed block.

    Raises:
        CodecError: `payload_malformed`, its extraData has no form of the OP Stack, or it is of a fork before Ecotone.
    """
    payload, root = envelope.payload, envelope.parent_beacon_block_root
    if root is None:
        raise CodecError(
            "This payload is of a fork before Ecotone, which Plait does not drive.", code="payload_malformed"
        )
    return PayloadAttributes(
        timestamp=payload.timestamp,
        prev_randao=payload.prev_randao,
        fee_recipient=payload.fee_recipient,
        parent_beacon_block_root=root,
        transactions=payload.transactions,
        gas_limit=payload.gas_limit,
        eip1559=read_extra_data(payload.extra_data),
    )


def native_attributes(envelope: PayloadEnvelope, deposits: Sequence[bytes]) -> Attributes:
    """The same for the native core, whose open block takes the transactions after the deposits later.

    Raises:
        CodecError: as `attributes_of`.
    """
    found = attributes_of(envelope)
    fees = found.eip1559 or FeeParameters(0, 0)
    return Attributes(
        timestamp=found.timestamp,
        prev_randao=found.prev_randao,
        fee_recipient=found.fee_recipient,
        parent_beacon_block_root=found.parent_beacon_block_root,
        gas_limit=found.gas_limit,
        deposits=list(deposits),
        eip1559_denominator=fees.denominator,
        eip1559_elasticity=fees.elasticity,
        min_base_fee=fees.min_base_fee,
    )


def attributes_json(attributes: PayloadAttributes, fork: EngineFork) -> bytes:
    """JSON of attributes for engine_forkchoiceUpdatedV3 at a fork.

    Raises:
        CodecError: `payload_malformed`, the fork needs fee parameters and there are none.
    """
    methods = METHODS[fork]
    fields: dict[str, object] = {
        "timestamp": quantity(attributes.timestamp),
        "prevRandao": data(attributes.prev_randao),
        "suggestedFeeRecipient": data(attributes.fee_recipient),
        "withdrawals": [],
        "parentBeaconBlockRoot": data(attributes.parent_beacon_block_root),
        "transactions": ["0x" + raw.hex() for raw in attributes.transactions],
        "noTxPool": attributes.no_tx_pool,
        "gasLimit": quantity(attributes.gas_limit),
    }
    if methods.fee_parameters:
        fees = attributes.eip1559
        if fees is None:
            raise CodecError(f"Attributes of {fork} need EIP-1559 parameters.", code="payload_malformed")
        fields["eip1559Params"] = data(fees.denominator.to_bytes(4, "big") + fees.elasticity.to_bytes(4, "big"))
        if methods.min_base_fee:
            fields["minBaseFee"] = fees.min_base_fee
    return msgspec.json.encode(fields)
