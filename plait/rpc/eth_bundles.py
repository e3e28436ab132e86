"""Bundles of one rollup as searchers' libraries send them, in terms of Plait's own. Level 7.

The common shape counts in blocks, hashes and timestamps; Plait's in slots and indices. Block `n` of a rollup covers the
slots n*k to (n+1)*k - 1 (`plait.protocol.grid`), so a bound of either kind is a bound of slots. A timestamp of 0 is no
bound. Numbers may be hex quantities, decimal strings or JSON numbers: clients differ. A field that would change what a
bundle means, and that Plait cannot honour, is refused and never ignored.

Source: Flashbots' documentation (eth_sendBundle, eth_callBundle, eth_cancelBundle), op-rbuilder's eth_sendBundle.
"""

from typing import Final, TypeVar

import msgspec

from plait.errors import BundleRefused
from plait.limits import (
    BUNDLE_DEADLINE_SLOTS_DEFAULT,
    BUNDLE_DEADLINE_SLOTS_MAX,
    BUNDLE_UUID_CHARACTERS_MAX,
)
from plait.native import keccak256_many
from plait.rpc.parameters import COUNT, COUNT_SCHEMA, BlockRef, Kind, Schema, block_ref, data_of_hex, fixed
from plait.types import BlockNumber, Bundle, Leg, NetworkParameters, RollupParameters, Slot

_Number = int | str | None


class _Send(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    txs: list[str]
    block_number: _Number = None
    min_block_number: _Number = None
    max_block_number: _Number = None
    min_timestamp: _Number = None
    max_timestamp: _Number = None
    min_flashblock_number: _Number = None
    max_flashblock_number: _Number = None
    reverting_tx_hashes: list[str] | None = None
    dropping_tx_hashes: list[str] | None = None
    replacement_uuid: str | None = None
    builders: list[str] | None = None


class _Call(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    txs: list[str]
    block_number: _Number = None
    state_block_number: msgspec.Raw = msgspec.Raw(b'"latest"')
    timestamp: _Number = None


class _Cancel(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    replacement_uuid: str


class EthBundle(msgspec.Struct, frozen=True, kw_only=True):
    """Transactions of one rollup, with bounds of blocks and of timestamps; None where there is none."""

    transactions: tuple[bytes, ...]
    first_block: int | None = None
    last_block: int | None = None
    first_timestamp: int | None = None
    last_timestamp: int | None = None
    reverting: tuple[bytes, ...] = ()
    """Hashes of transactions that may revert."""
    uuid: str | None = None

    def bundle(self, slot: Slot, network: NetworkParameters, rollup: RollupParameters) -> Bundle:
        """As Plait's own.

        Args:
            slot: of the clock.
            network, rollup: whose grid it is.

        Raises:
            BundleRefused: `bundle_allowed_revert_unknown`, `bundle_window_empty`.
        """
        hashes = keccak256_many(self.transactions)
        unknown = [hash_ for hash_ in self.reverting if hash_ not in hashes]
        if unknown:
            raise BundleRefused(
                f"revertingTxHashes names 0x{unknown[0].hex()}, which is no transaction of the bundle",
                code="bundle_allowed_revert_unknown",
            )
        first, last = self._window(slot, network, rollup)
        allowed = tuple(index for index, hash_ in enumerate(hashes) if hash_ in self.reverting)
        leg = Leg(rollup_id=rollup.rollup_id, transactions=self.transactions, allowed_reverts=allowed)
        return Bundle(legs=(leg,), not_before_slot=first, deadline_slot=last)

    def _window(self, slot: Slot, network: NetworkParameters, rollup: RollupParameters) -> tuple[Slot, Slot]:
        """First and last slot. Without a bound of blocks it ends by itself; a far timestamp alone is cut, not
        refused."""
        slots = rollup.block_time_slots
        block_ms = slots * network.slot_ms
        first: int = 0
        last: int | None = None
        if self.first_block is not None:
            first = rollup.first_slot(BlockNumber(self.first_block))
        if self.last_block is not None:
            last = rollup.last_slot(BlockNumber(self.last_block))
        if self.first_timestamp is not None:
            since_ms = 1_000 * (self.first_timestamp - network.genesis_time_s)
            first = max(first, -(-since_ms // block_ms) * slots)
        if self.last_timestamp is not None:
            since_ms = 1_000 * (self.last_timestamp - network.genesis_time_s)
            by_time = (since_ms // block_ms + 1) * slots - 1
            last = min(by_time, slot + BUNDLE_DEADLINE_SLOTS_MAX) if last is None else min(by_time, last)
        if last is None:
            last = max(slot, first) + BUNDLE_DEADLINE_SLOTS_DEFAULT
        if last < first:
            raise BundleRefused(
                f"no block lies within all bounds: they ask for slots {first} to {last}",
                code="bundle_window_empty",
                not_before_slot=first,
                deadline_slot=last,
            )
        return Slot(first), Slot(last)


class EthCall(msgspec.Struct, frozen=True, kw_only=True):
    """What eth_callBundle asks for."""

    bundle: EthBundle
    state: BlockRef
    timestamp: int | None


_send: Final = msgspec.json.Decoder(_Send)
_call: Final = msgspec.json.Decoder(_Call)
_cancel: Final = msgspec.json.Decoder(_Cancel)
_Decoded = TypeVar("_Decoded")


def _decode(decoder: msgspec.json.Decoder[_Decoded], data: bytes) -> _Decoded:
    try:
        return decoder.decode(data)
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from None


def _number(value: _Number, name: str) -> int | None:
    if value is None:
        return None
    try:
        number = int(COUNT.decode(value))
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    if number >> 53:
        raise ValueError(f"{name}: a number below 2**53 is expected")
    return number


def _uuid(value: str) -> str:
    if not 1 <= len(value) <= BUNDLE_UUID_CHARACTERS_MAX:
        raise ValueError(f"replacementUuid: 1 to {BUNDLE_UUID_CHARACTERS_MAX} characters are expected")
    return value


def send_request(data: bytes) -> EthBundle:
    """The object of eth_sendBundle. Raises ValueError with the problem, BundleRefused `bundle_field_unsupported`."""
    found = _decode(_send, data)
    for name, value in (
        ("droppingTxHashes", found.dropping_tx_hashes),
        ("minFlashblockNumber", found.min_flashblock_number),
        ("maxFlashblockNumber", found.max_flashblock_number),
    ):
        if value is not None and value != []:
            raise BundleRefused(
                f"{name} cannot be honoured here: a bundle takes place as a whole, in any sub-block of its window",
                code="bundle_field_unsupported",
                field=name,
            )
    exact = _number(found.block_number, "blockNumber") or None
    if exact is not None and (found.min_block_number is not None or found.max_block_number is not None):
        raise ValueError("blockNumber excludes minBlockNumber and maxBlockNumber")
    return EthBundle(
        transactions=tuple(map(data_of_hex, found.txs)),
        first_block=_number(found.min_block_number, "minBlockNumber") if exact is None else exact,
        last_block=_number(found.max_block_number, "maxBlockNumber") if exact is None else exact,
        first_timestamp=_number(found.min_timestamp, "minTimestamp") or None,
        last_timestamp=_number(found.max_timestamp, "maxTimestamp") or None,
        reverting=tuple(fixed(text, 32) for text in found.reverting_tx_hashes or ()),
        uuid=None if found.replacement_uuid is None else _uuid(found.replacement_uuid),
    )


def call_request(data: bytes) -> EthCall:
    """The object of eth_callBundle. Raises ValueError with the problem."""
    found = _decode(_call, data)
    state = msgspec.json.decode(found.state_block_number)
    block = _number(found.block_number, "blockNumber") or None
    return EthCall(
        bundle=EthBundle(transactions=tuple(map(data_of_hex, found.txs)), first_block=block, last_block=block),
        state=block_ref(hex(state) if isinstance(state, int) else state),
        timestamp=_number(found.timestamp, "timestamp") or None,
    )


def cancel_request(data: bytes) -> str:
    """The id in the object of eth_cancelBundle. Raises ValueError with the problem."""
    return _uuid(_decode(_cancel, data).replacement_uuid)


_STRING: Final[Schema] = {"type": "string"}
_STRINGS: Final[Schema] = {"type": "array", "items": _STRING}
ETH_BUNDLE: Final = Kind(
    send_request,
    {
        "title": "bundle of one rollup",
        "type": "object",
        "required": ["txs"],
        "properties": {
            "txs": _STRINGS,
            "blockNumber": COUNT_SCHEMA,
            "minBlockNumber": COUNT_SCHEMA,
            "maxBlockNumber": COUNT_SCHEMA,
            "minTimestamp": COUNT_SCHEMA,
            "maxTimestamp": COUNT_SCHEMA,
            "revertingTxHashes": _STRINGS,
            "replacementUuid": _STRING,
            "builders": _STRINGS,
        },
    },
    raw=True,
)
ETH_CALL_BUNDLE: Final = Kind(
    call_request,
    {
        "title": "bundle of one rollup to simulate",
        "type": "object",
        "required": ["txs"],
        "properties": {
            "txs": _STRINGS,
            "blockNumber": COUNT_SCHEMA,
            "stateBlockNumber": COUNT_SCHEMA,
            "timestamp": COUNT_SCHEMA,
        },
    },
    raw=True,
)
ETH_CANCEL_BUNDLE: Final = Kind(
    cancel_request,
    {
        "title": "bundle to cancel",
        "type": "object",
        "required": ["replacementUuid"],
        "properties": {"replacementUuid": _STRING},
    },
    raw=True,
)
