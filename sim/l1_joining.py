"""An OP Stack chain that exists beside a network over one made-up L1, and its way into that network.

chain = StockChain(world.l1, RollupId(990), GENESIS_TIME_S)
chain.sequence(until_s)                    its own sequencer makes blocks, as op-node does
source = ImportedSource(world.network.source, {990: directory})     a node that has the chain's copy
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import msgspec

from plait.codec.rlp import Reader
from plait.crypto.actions import recover_action, sign_action
from plait.derivation.anchor import Anchor
from plait.derivation.attributes import block_attributes
from plait.derivation.l1_info import decode_l1_attributes
from plait.derivation.origins import Origin, next_origin
from plait.derivation.rollup_config import BlockId, OpStackConfig, encode_config
from plait.derivation.system_config import SystemConfig, apply_update
from plait.errors import ConfigurationError, InvariantBroken
from plait.ledger.l1 import undo_blocks
from plait.ledger.parameters import TOKEN
from plait.ledger.rollup_records import RollupEntry, rollup_key
from plait.native import Attributes, NativeError, Rollup, Store, Transaction, decode_transactions, keccak256
from plait.protocol.application import Application
from plait.protocol.effects import SubBlockDecided
from plait.protocol.unwinding import transactions_of
from plait.rollups.embedded.genesis import GenesisSpecification, genesis_json
from plait.rollups.embedded.source import EmbeddedSource
from plait.rollups.opstack.importing import GENESIS_FILE, imported_rollup, write_import
from plait.types import (
    Address,
    Amount,
    BlockNumber,
    ChainId,
    Gas,
    Hash32,
    L1Origin,
    RollupId,
    RollupParameters,
    Seconds,
    Slot,
    Wei,
)
from plait.types.action import AnchorRollup, BindRollup, Body, SignedAction
from plait.types.l1 import RollupSafe
from sim.l1 import MadeL1, Wish
from sim.l1_world import L1World
from sim.wallet import Wallet
from sim.world import GENESIS_TIME_S

CHAIN = RollupId(990)
BATCHER = Address(b"\xba" * 20)
GAS_LIMIT = Gas(30_000_000)
BALANCE_WEI = Wei(10**24)


class Made(NamedTuple):
    """What a block was made with."""

    origin: Origin
    system: SystemConfig


class StockChain:
    """A chain with its own sequencer: blocks from its genesis on, each with the origin that op-node would give it."""

    def __init__(
        self,
        l1: MadeL1,
        chain_id: RollupId,
        genesis_time_s: Seconds,
        *,
        block_time_s: int = 1,
        funded: Sequence[Address] = (),
    ) -> None:
        self.l1 = l1
        self.chain_id = chain_id
        self.genesis = genesis_json(
            GenesisSpecification(
                chain_id=ChainId(chain_id),
                timestamp=genesis_time_s,
                gas_limit=GAS_LIMIT,
                balances=dict.fromkeys(funded, BALANCE_WEI),
                interop=False,
            )
        )
        self.rollup = Rollup.from_genesis(self.genesis, Store.in_memory(), undo_blocks=120)
        start = l1.head
        self.config = OpStackConfig(
            chain_id=chain_id,
            l1_chain_id=900,
            genesis_l1=BlockId(start.number, start.hash),
            genesis_l2=BlockId(BlockNumber(0), Hash32(self.rollup.genesis_hash)),
            genesis_time_s=genesis_time_s,
            genesis_system=SystemConfig(
                batcher=BATCHER,
                gas_limit=GAS_LIMIT,
                base_fee_scalar=1_368,
                blob_base_fee_scalar=810_949,
                eip1559_denominator=250,
                eip1559_elasticity=6,
            ),
            block_time_s=block_time_s,
            batch_inbox=Address(b"\x1c" * 20),
            deposit_contract=Address(b"\x2c" * 20),
            system_config_contract=Address(b"\x3c" * 20),
        )
        self.made = [Made(Origin(start, 0), self.config.genesis_system)]

    def time_of(self, number: int) -> Seconds:
        """Timestamp of a block."""
        return Seconds(self.config.genesis_time_s + number * self.config.block_time_s)

    def sequence(self, until_s: int, raws: Sequence[bytes] = ()) -> None:
        """Makes the blocks up to a time, the transactions in the first of them."""
        while self.time_of(len(self.made)) <= until_s:
            timestamp_s = self.time_of(len(self.made))
            before = self.made[-1]
            following = next((one for one in self.l1.blocks if one.number == before.origin.block.number + 1), None)
            self.add(next_origin(before.origin, following, timestamp_s), raws)
            raws = ()

    def add(self, origin: Origin, raws: Sequence[bytes] = ()) -> Hash32:
        """One more block with this origin and these transactions; its hash."""
        number, before = len(self.made), self.made[-1]
        said = origin.block.of(self.chain_id)
        system = before.system
        for update in said.updates if origin.sequence_number == 0 else ():
            system = apply_update(system, update)
        session = self.rollup.session()
        session.open(
            block_attributes(
                self.time_of(number),
                origin.block.info,
                origin.sequence_number,
                system,
                deposits=said.deposits if origin.sequence_number == 0 else (),
                fork=self.config.fork,
            )
        )
        decoded = [one for one in decode_transactions(raws, self.chain_id) if isinstance(one, Transaction)]
        session.run(decoded, on_invalid="stop")
        sealed = session.seal()
        self.rollup.commit(session)
        self.made.append(Made(origin, system))
        return Hash32(sealed.hash)

    def follow(self, native: Rollup, last: int) -> None:
        """Makes a network's blocks up to a number itself, as a verifier would, and compares their hashes.

        Raises:
            AssertionError: one is another.
        """
        while len(self.made) <= last:
            number = len(self.made)
            raw, header = native.raw_block(number), native.raw_header(number)
            assert raw is not None, number
            assert header is not None, number
            info = decode_l1_attributes(_first_transaction(raw))
            before = self.made[-1].origin
            block = self.l1.block(info.number)
            assert block.hash == info.hash, f"block {number} has an origin that is no L1 block"
            assert block.timestamp <= self.time_of(number)
            same = info.number == before.block.number
            assert info.number - before.block.number in (0, 1), f"block {number} leaves an L1 block out"
            assert info.sequence_number == (before.sequence_number + 1 if same else 0)
            found = self.add(Origin(block, info.sequence_number), transactions_of(raw))
            assert found == keccak256(header), f"block {number} is another one than derivation makes"

    def anchor(self) -> Anchor:
        """Its newest block."""
        number = BlockNumber(len(self.made) - 1)
        made = self.made[-1]
        return Anchor(
            config=self.config,
            block=BlockId(number, Hash32(self.rollup.head.hash)),
            timestamp=self.time_of(number),
            origin=BlockId(made.origin.block.number, made.origin.block.hash),
            sequence_number=made.origin.sequence_number,
            system=made.system,
        )

    def copy_to(self, directory: Path) -> Anchor:
        """Writes what `plait rollup import` writes."""
        anchor = self.anchor()
        write_import(directory, self.genesis, self.rollup, anchor)
        return anchor


class ImportedSource(msgspec.Struct, frozen=True):
    """A network's source on a node that has copies of chains that existed, by id."""

    embedded: EmbeddedSource
    copies: Mapping[RollupId, Path]

    def attributes(
        self, rollup: RollupParameters, number: BlockNumber, timestamp_s: Seconds, fork: str | None = None
    ) -> Attributes:
        """Of an embedded rollup."""
        return self.embedded.attributes(rollup, number, timestamp_s, fork)

    def l1_origin(self, timestamp_s: Seconds) -> L1Origin:
        """Of a network without an L1."""
        return self.embedded.l1_origin(timestamp_s)

    def genesis_json(self, entry: RollupEntry) -> bytes:
        """Of a registered rollup, or of one that is here."""
        if entry.joining is None:
            return self.embedded.genesis_json(entry)
        return (self.copies[entry.rollup_id] / GENESIS_FILE).read_bytes()

    def existing(self, entry: RollupEntry, store: Store) -> Rollup:
        """A chain at its anchor. Raises InvariantBroken (`rollup_import_missing`)."""
        try:
            rollup, anchor = imported_rollup(self.copies[entry.rollup_id], store)
        except (KeyError, ConfigurationError, NativeError) as error:
            raise InvariantBroken("this node has no copy of the chain", code="rollup_import_missing") from error
        if entry.joining is None or anchor != entry.joining.anchor:
            raise InvariantBroken("this node has another copy of the chain", code="rollup_import_missing")
        return rollup


class JoiningWorld(L1World):
    """A network with rollup 901, and chain 990 beside it, which its owner brings in.

    Every L1 block deposits a wei for each of its own recipients on both, so that a balance tells which blocks counted.
    """

    def __init__(self, *, validators: int = 4, seed: int = 1, block_time_s: int = 1, interval_s: int = 2) -> None:
        self.owner = sha256(b"plait/sim/owner").digest()
        address = Wallet(self.owner).address
        super().__init__(
            rollups=1, validators=validators, seed=seed, interval_s=interval_s, tokens={address: 10_000 * TOKEN}
        )
        self.copies: list[dict[RollupId, Path]] = [{} for _ in self.nodes]
        self.nodes = [self.fresh(copies, store) for copies, store in zip(self.copies, self.stores, strict=True)]
        users = [wallet.address for wallet in self.wallets]
        self.chain = StockChain(self.l1, CHAIN, GENESIS_TIME_S, block_time_s=block_time_s, funded=users)
        self.owner_address = address
        self.second = 0
        self.safe: list[RollupSafe] = []
        """What the validators say of chains that they hold."""
        self.sequences = True
        """Whether the chain's own sequencer makes blocks."""

    def fresh(self, copies: Mapping[RollupId, Path], store: Store | None = None) -> Application:
        """An application at genesis on a node with these copies."""
        rollups = {
            rollup_id: Rollup.from_genesis(
                data, store or Store.in_memory(), undo_blocks=undo_blocks(self.network.ledger.l1)
            )
            for rollup_id, data in self.network.genesis.items()
        }
        source = ImportedSource(self.network.source, copies)
        return Application(self.network.ledger, rollups, source, recheck_own=True, store=store)

    @property
    def entry(self) -> RollupEntry | None:
        """The chain in the registry."""
        return self.nodes[0].ledger.economy.rollups.get(rollup_key(CHAIN))

    def action(self, body: Body) -> SignedAction:
        """An action of the chain's owner."""
        account = self.nodes[0].ledger.economy.accounts.get(self.owner_address)
        nonce = 0 if account is None else account.nonce
        raw = sign_action(self.parameters.network_id, nonce, Amount(10 * TOKEN), body, self.owner)
        return recover_action(raw, self.parameters.network_id)

    def bind(self, config: OpStackConfig | None = None) -> SignedAction:
        """The binding of the chain."""
        return self.action(
            BindRollup(
                rollup_id=CHAIN,
                config=encode_config(self.chain.config if config is None else config),
                ordering=0,
                revenue_recipient=self.owner_address,
                escrow=Amount(200 * TOKEN),
                fee_per_slot_max=Amount(TOKEN),
                fee_per_transaction_max=Amount(TOKEN),
            )
        )

    def anchor(self, join_slot: int, anchor: Anchor | None = None) -> SignedAction:
        """The chain's newest block as its anchor."""
        chosen = self.chain.anchor() if anchor is None else anchor
        return self.action(AnchorRollup(rollup_id=CHAIN, anchor=chosen.encode(), join_slot=Slot(join_slot)))

    def pass_second(
        self,
        actions: Sequence[SignedAction] = (),
        transactions: Mapping[RollupId, Sequence[Sequence[bytes]]] | None = None,
    ) -> SubBlockDecided:
        """A second: the L1 grows where it is time, everybody reports, a height is decided, the chain goes on."""
        self.second += 1
        if self.second % self.l1.interval_s == 0:
            number = self.l1.head.number + 1
            wishes = [Wish(rollup_id=one, to=recipient(number), amount=1) for one in (self.ids[0], CHAIN)]
            self.l1.grow(wishes)
        self.report(safe=self.safe)
        effect = self.step(actions=actions, transactions=transactions)
        if self.sequences:
            self.chain.sequence(GENESIS_TIME_S + self.second)
        return effect

    def pass_seconds(self, seconds: int) -> None:
        """That many of them."""
        for _ in range(seconds):
            self.pass_second()

    def received(self, rollup: Rollup) -> list[int]:
        """L1 blocks whose deposit a chain has executed."""
        numbers = [one.number for one in self.l1.blocks[1:]]
        accounts = rollup.session().accounts([recipient(number) for number in numbers])
        return [number for number, (_, balance, *_) in zip(numbers, accounts, strict=True) if balance]


def recipient(l1_number: int) -> Address:
    """Who gets a wei from an L1 block."""
    return Address(sha256(b"recipient %d" % l1_number).digest()[:20])


def _first_transaction(raw_block: bytes) -> bytes:
    reader = Reader(raw_block, what="block").read_list("block")
    reader.read_list("header")
    return reader.read_list("transactions").read_item()
