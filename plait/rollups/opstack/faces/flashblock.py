"""One message of a flashblocks stream: the record and its JSON, as op-rbuilder publishes and rollup-boost reads it.

Specification (flashbots/op-rbuilder builder/wspub.rs `golden_wire`, op-alloy-rpc-types-engine; OP Stack specs,
protocol/flashblocks)
    - `base` only at index 0: what the block begins with. `diff`: transactions of this flashblock alone, everything else
      of the block as it would be if it ended here. `metadata`: receipts of these transactions by hash, balances.
    - Numbers are quantities, except `index` and `metadata.block_number`, which are JSON numbers.
    - `base` and `diff.blob_gas_used` are left out where there are none (later flashblocks; blocks before Jovian).
    - A receipt has its type in it (`"type":"0x2"`); readers also take the older form {"Eip1559": {...}}.
Level 5. Pure.
"""

from typing import Any, Final

import msgspec

from plait.errors import CodecError


class FlashblockBase(msgspec.Struct, frozen=True, kw_only=True):
    """What does not change while the block grows."""

    parent_beacon_block_root: str
    parent_hash: str
    fee_recipient: str
    prev_randao: str
    block_number: str
    gas_limit: str
    timestamp: str
    extra_data: str
    base_fee_per_gas: str


class FlashblockDiff(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """This flashblock's transactions, and the block's other fields if it ended here."""

    state_root: str
    receipts_root: str
    logs_bloom: str
    gas_used: str
    block_hash: str
    transactions: list[str]
    withdrawals: list[Any]
    withdrawals_root: str
    blob_gas_used: str | None = None


class FlashblockLog(msgspec.Struct, frozen=True):
    """A log of a receipt."""

    address: str
    topics: list[str]
    data: str


class FlashblockReceipt(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A transaction's consensus receipt without its bloom; the last two fields for deposits only."""

    type: str
    status: str
    cumulative_gas_used: str = msgspec.field(name="cumulativeGasUsed")
    logs: list[FlashblockLog]
    deposit_nonce: str | None = msgspec.field(name="depositNonce", default=None)
    deposit_receipt_version: str | None = msgspec.field(name="depositReceiptVersion", default=None)


class FlashblockMetadata(msgspec.Struct, frozen=True, kw_only=True):
    """What a follower needs so that it has not to execute. Addresses and hashes rise."""

    block_number: int
    new_account_balances: dict[str, str]
    receipts: dict[str, FlashblockReceipt]


class Flashblock(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A message."""

    payload_id: str
    index: int
    base: FlashblockBase | None = None
    diff: FlashblockDiff
    metadata: FlashblockMetadata


# Receipts of the older form: the name of the variant around them.
_TAGS: Final = {"Legacy": "0x0", "Eip2930": "0x1", "Eip1559": "0x2", "Eip7702": "0x4", "Deposit": "0x7e"}
_encode: Final = msgspec.json.Encoder().encode


def encode_flashblock(flashblock: Flashblock) -> bytes:
    """The JSON of a message, fields in the published order."""
    return _encode(flashblock)


def decode_flashblock(data: bytes) -> Flashblock:
    """A message from its JSON, receipts in either form.

    Raises:
        CodecError: `flashblock_malformed`, naming the field.
    """
    try:
        value = msgspec.json.decode(data)
        receipts = value["metadata"]["receipts"]
        for identity, receipt in receipts.items():
            if isinstance(receipt, dict) and len(receipt) == 1 and (tag := next(iter(receipt))) in _TAGS:
                receipts[identity] = {"type": _TAGS[tag]} | receipt[tag]
        return msgspec.convert(value, Flashblock)
    except (msgspec.MsgspecError, UnicodeDecodeError, KeyError, TypeError, AttributeError) as error:
        raise CodecError(f"This is no flashblock: {error}.", code="flashblock_malformed", reason=str(error)) from None
