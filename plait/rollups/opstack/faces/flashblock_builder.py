"""From decided sub-blocks to the flashblocks of one rollup.

Specification
    - Index 0 of a block is its beginning: `base` and the deposits. Each later index is the transactions of one decided
      sub-block; a sub-block without any for this rollup has none. Indices rise by one.
    - Every flashblock is exact: a session of the native core that stands at the parent block executes what was decided
      and is sealed after each step, so that state root, receipts root, bloom and block hash are those of a block that
      ended there. The last flashblock of a block has the block's own hash. Builders that race with a slot publish a
      zero state root instead, because their tries are slow; sealing costs the native core a fraction of a millisecond.
    - The payload id names one opening of one block: after an unwinding the same height has another.
    - Blocks that were sealed within one sub-block while catching up hold deposits alone: index 0 from the sealed block.
Deterministic: all nodes publish the same bytes. Level 5; runs in a thread, one call at a time.
"""

import hashlib
from collections.abc import Sequence
from typing import Any, Final

import msgspec
from rlp import decode as rlp_decode  # type: ignore[import-untyped]  # the package has no types

from plait.native import (
    PENDING,
    Attributes,
    Outcomes,
    Rollup,
    SealedBlock,
    Session,
    Transaction,
    decode_transactions,
)
from plait.protocol.effects import RollupEffect
from plait.rollups.opstack.faces.flashblock import (
    Flashblock,
    FlashblockBase,
    FlashblockDiff,
    FlashblockLog,
    FlashblockMetadata,
    FlashblockReceipt,
)
from plait.types import Height

_BLOOM_FIELD: Final = 6
_JOVIAN_EXTRA_DATA_BYTES: Final = 17
_DEPOSIT_TYPE: Final = 0x7E
_VAULTS: Final = tuple(bytes.fromhex("42" + "00" * 18 + digits) for digits in ("11", "19", "1a", "1b"))
"""Fee vaults: sequencer, base fee, L1 fee, operator fee. Every transaction may change their balances."""


class _Header(msgspec.Struct, rename="camel"):
    """Fields of a block's JSON, sealed or open."""

    number: str
    parent_hash: str
    mix_hash: str
    miner: str
    extra_data: str
    gas_limit: str
    timestamp: str
    base_fee_per_gas: str
    parent_beacon_block_root: str
    transactions: list[str]


_header: Final = msgspec.json.Decoder(_Header)


class FlashblockBuilder:
    """Flashblocks of one rollup; give it every effect in order.

    Args:
        native: the rollup.
    """

    def __init__(self, native: Rollup) -> None:
        self._native = native
        self._session: Session | None = None
        self._payload_id = ""
        self._index = 0
        self._number = -1
        self._blob_gas = False
        self._gas_used = 0
        self._last_hash = b""
        self.differences = 0
        """Blocks whose own hash was not that of their last flashblock; anything but 0 is a bug."""

    def reset(self) -> None:
        """Forgets the block in progress; goes on with the next one that opens."""
        self._session = None
        self._number = -1

    def on_effect(self, height: Height, effect: RollupEffect) -> list[Flashblock]:
        """What one decided sub-block adds to the stream.

        Args:
            height: of the sub-block.
            effect: the rollup's part of it.
        """
        made: list[Flashblock] = []
        for sealed in effect.sealed:
            if sealed.number == self._number:
                self.differences += self._last_hash != sealed.hash
            else:
                made += self._of_sealed(height, sealed)
            self.reset()
        for opened in effect.opened:
            if opened.number != self._number:
                earlier = opened.transaction_count - len(effect.transactions)
                made += self._open(height, opened.number, opened.deposit_count, earlier)
        if effect.transactions and self._session is not None:
            made.append(self._extend(self._session, effect.transactions))
        return made

    # ------------------------------------------------------------ steps
    def _open(self, height: Height, number: int, deposit_count: int, earlier: int) -> list[Flashblock]:
        """Index 0, and index 1 for what earlier sub-blocks put into the block (`earlier` transactions with the
        deposits): a stream that begins in the middle of a block begins with all of it."""
        header = self._read(number)
        if header is None:
            return []
        deposits = [self._raw(hash_) for hash_ in header.transactions[:deposit_count]]
        session = self._native.session_at(number - 1)
        outcomes = session.open(_attributes(header, deposits))
        self._begin(height, header)
        self._session, self._number = session, number
        receipts = self._receipts([(_DEPOSIT_TYPE, raw) for raw in deposits], outcomes)
        hashes = header.transactions[:deposit_count]
        touched = [address for raw in deposits for address in _deposit_accounts(raw)]
        nonces = self._deposit_nonces(deposits, number - 1)
        shown = [
            msgspec.structs.replace(receipt, deposit_nonce=nonce, deposit_receipt_version="0x1")
            for receipt, nonce in zip(receipts, nonces, strict=True)
        ]
        made = [self._message(session, deposits, dict(zip(hashes, shown, strict=True)), touched, _base(header))]
        if earlier > deposit_count:
            raws = [self._raw(hash_) for hash_ in header.transactions[deposit_count:earlier]]
            decoded = decode_transactions(raws, self._native.chain_id)
            made.append(self._extend(session, [item for item in decoded if isinstance(item, Transaction)]))
        return made

    def _extend(self, session: Session, transactions: Sequence[Transaction]) -> Flashblock:
        outcomes = session.run(transactions)
        receipts = self._receipts([(item.type, item.raw) for item in transactions], outcomes)
        by_hash = {_hex(item.hash): receipt for item, receipt in zip(transactions, receipts, strict=True)}
        touched = [item.sender for item in transactions] + [item.to for item in transactions if item.to is not None]
        return self._message(session, [item.raw for item in transactions], by_hash, touched, None)

    def _of_sealed(self, height: Height, sealed: SealedBlock) -> list[Flashblock]:
        """A block that was opened and sealed within one sub-block: deposits alone, published whole."""
        header = self._read(sealed.number)
        if header is None or not all(self._raw(hash_)[0] == _DEPOSIT_TYPE for hash_ in header.transactions):
            return []
        made = self._open(height, sealed.number, sealed.transaction_count, sealed.transaction_count)
        self.differences += self._last_hash != sealed.hash
        return made

    def _begin(self, height: Height, header: _Header) -> None:
        identity = f"{self._native.chain_id}/{height}/{header.number}/{header.parent_hash}".encode()
        self._payload_id = "0x" + hashlib.sha256(b"plait/flashblocks/1" + identity).digest()[:8].hex()
        self._index = 0
        self._gas_used = 0
        self._blob_gas = len(header.extra_data) == 2 + 2 * _JOVIAN_EXTRA_DATA_BYTES

    def _message(
        self,
        session: Session,
        raws: Sequence[bytes],
        receipts: dict[str, FlashblockReceipt],
        touched: Sequence[bytes],
        base: FlashblockBase | None,
    ) -> Flashblock:
        sealed = session.fork().seal()
        addresses = sorted({*touched, *_VAULTS})
        balances = [balance for _nonce, balance, _code in session.accounts(addresses)]
        made = Flashblock(
            payload_id=self._payload_id,
            index=self._index,
            base=base,
            diff=FlashblockDiff(
                state_root=_hex(sealed.state_root),
                receipts_root=_hex(sealed.receipts_root),
                logs_bloom=_hex(rlp_decode(sealed.header_rlp)[_BLOOM_FIELD]),
                gas_used=hex(sealed.gas_used),
                block_hash=_hex(sealed.hash),
                transactions=[_hex(raw) for raw in raws],
                withdrawals=[],
                withdrawals_root=_hex(sealed.withdrawals_root),
                blob_gas_used=hex(sealed.da_footprint) if self._blob_gas else None,
            ),
            metadata=FlashblockMetadata(
                block_number=sealed.number,
                new_account_balances={
                    _hex(address): hex(balance) for address, balance in zip(addresses, balances, strict=True)
                },
                receipts=dict(sorted(receipts.items())),
            ),
        )
        self._index += 1
        self._last_hash = sealed.hash
        return made

    # ------------------------------------------------------------ parts
    def _read(self, number: int) -> _Header | None:
        """The header's fields of the open block, or of a block that has been sealed in the meantime."""
        for at in (PENDING, number):
            found = self._native.block_json(at, False)
            if found is not None and int((header := _header.decode(found)).number, 16) == number:
                return header
        return None

    def _raw(self, hash_: str) -> bytes:
        raw = self._native.raw_transaction(bytes.fromhex(hash_[2:]))
        assert raw is not None, "a transaction of a block that was just decided"
        return raw

    def _receipts(self, items: Sequence[tuple[int, bytes]], outcomes: Outcomes) -> list[FlashblockReceipt]:
        made: list[FlashblockReceipt] = []
        for place, (kind, _raw) in enumerate(items):
            self._gas_used += outcomes.transaction_gas_used(place)
            logs = [
                FlashblockLog(_hex(address), [_hex(topic) for topic in topics], _hex(data))
                for address, topics, data in outcomes.logs(place)
            ]
            made.append(
                FlashblockReceipt(
                    type=hex(kind),
                    status=hex(outcomes.statuses[place]),
                    cumulative_gas_used=hex(self._gas_used),
                    logs=logs,
                )
            )
        return made

    def _deposit_nonces(self, deposits: Sequence[bytes], parent: int) -> list[str | None]:
        """The sender's nonce before each deposit; None for a sender with code, which may have raised it itself."""
        senders = [_deposit_accounts(raw)[0] for raw in deposits]
        found = self._native.accounts(senders, parent)
        before: dict[bytes, int] = {}
        nonces: list[str | None] = []
        for sender, (nonce, _balance, has_code) in zip(senders, found, strict=True):
            nonces.append(None if has_code else hex(nonce + before.get(sender, 0)))
            before[sender] = before.get(sender, 0) + 1
        return nonces


def _deposit_accounts(raw: bytes) -> list[bytes]:
    """Sender and, unless it creates a contract, recipient of a 0x7E transaction."""
    fields: list[Any] = rlp_decode(raw[1:])
    return [bytes(fields[1]), bytes(fields[2])] if fields[2] else [bytes(fields[1])]


def _attributes(header: _Header, deposits: Sequence[bytes]) -> Attributes:
    extra = bytes.fromhex(header.extra_data[2:])
    return Attributes(
        timestamp=int(header.timestamp, 16),
        prev_randao=bytes.fromhex(header.mix_hash[2:]),
        fee_recipient=bytes.fromhex(header.miner[2:]),
        parent_beacon_block_root=bytes.fromhex(header.parent_beacon_block_root[2:]),
        gas_limit=int(header.gas_limit, 16),
        deposits=deposits,
        eip1559_denominator=int.from_bytes(extra[1:5], "big"),
        eip1559_elasticity=int.from_bytes(extra[5:9], "big"),
        min_base_fee=int.from_bytes(extra[9:17], "big"),
    )


def _base(header: _Header) -> FlashblockBase:
    return FlashblockBase(
        parent_beacon_block_root=header.parent_beacon_block_root,
        parent_hash=header.parent_hash,
        fee_recipient=header.miner,
        prev_randao=header.mix_hash,
        block_number=header.number,
        gas_limit=header.gas_limit,
        timestamp=header.timestamp,
        extra_data=header.extra_data,
        base_fee_per_gas=header.base_fee_per_gas,
    )


def _hex(data: bytes) -> str:
    return "0x" + data.hex()
