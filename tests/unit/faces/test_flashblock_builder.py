"""Flashblocks of one rollup from effects alone: exact at every step, begun anew after an unwinding."""

from __future__ import annotations

import json

from plait.derivation.attributes import L1BlockInfo, block_attributes
from plait.derivation.system_config import SystemConfig
from plait.native import Rollup, SealedBlock, Store, Transaction, decode_transactions
from plait.node.config import NetworkConfig, RollupConfig, embedded_genesis
from plait.protocol.effects import RollupEffect
from plait.rollups.embedded.accounts import DEVELOPMENT_ACCOUNTS
from plait.rollups.opstack.faces.flashblock_builder import FlashblockBuilder
from plait.types import Address, BlockNumber, Gas, Hash32, Height, RollupId, Seconds, Wei
from sim.wallet import Wallet

ROLLUP = RollupId(901)
WALLET = Wallet(DEVELOPMENT_ACCOUNTS[0].private_key)


class Chain:
    """A rollup that decides what it is told, and the effects of it."""

    def __init__(self) -> None:
        network = NetworkConfig(genesis_time_s=1_700_000_000, rollups=(RollupConfig(chain_id=901),))
        self.native = Rollup.from_genesis(embedded_genesis(network)[ROLLUP], Store.in_memory())
        self.nonce = 0

    def attributes(self, origin: int) -> object:
        info = L1BlockInfo(
            number=BlockNumber(origin),
            hash=Hash32(bytes([origin]) * 32),
            timestamp=Seconds(1_700_000_000),
            base_fee=Wei(1),
            blob_base_fee=Wei(1),
            prev_randao=Hash32(b"\2" * 32),
            parent_beacon_block_root=Hash32(b"\3" * 32),
        )
        system = SystemConfig(
            batcher=Address(b"\4" * 20), gas_limit=Gas(60_000_000), base_fee_scalar=1_368, blob_base_fee_scalar=810_949,
            eip1559_denominator=250, eip1559_elasticity=6, operator_fee_scalar=0, operator_fee_constant=0,
            min_base_fee=Wei(0), da_footprint_gas_scalar=0,
        )  # fmt: skip
        timestamp = Seconds(self.native.head.timestamp + 1)
        return block_attributes(timestamp, info, 0, system, fork="jovian")

    def decide(self, count: int, *, origin: int | None = None, unwind_to: int | None = None) -> RollupEffect:
        """A sub-block: seals and opens where an origin is given, then `count` transfers."""
        native = self.native
        session = native.session() if unwind_to is None else native.session_at(unwind_to)
        sealed: tuple[SealedBlock, ...] = ()
        if origin is not None:
            if session.open_block is not None:
                sealed = (session.seal(),)
            native.commit(session)
            session.open(self.attributes(origin))  # type: ignore[arg-type]
        if unwind_to is not None:
            self.nonce = session.accounts([WALLET.address])[0][0]
        raws = [
            WALLET.sign_1559(901, self.nonce + n, to=bytes([7]) * 20, value=1, max_fee_per_gas=10**12)
            for n in range(count)
        ]
        self.nonce += count
        transactions = [item for item in decode_transactions(raws, 901) if isinstance(item, Transaction)]
        if transactions:
            session.run(transactions)
        native.commit(session)
        opened = native.open_block
        assert opened is not None
        return RollupEffect(
            rollup_id=ROLLUP, transactions=tuple(transactions), statuses=b"\1" * count, bundled_transactions=0,
            relays_transactions=0, outcomes=None, positions=(), sealed=sealed, opened=(opened,),
        )  # fmt: skip


def test_each_step_is_the_block_as_if_it_ended_there() -> None:
    chain, made = Chain(), []
    builder = FlashblockBuilder(chain.native)
    for height, (count, origin) in enumerate([(2, 1), (3, None), (1, None)], start=1):
        made += builder.on_effect(Height(height), chain.decide(count, origin=origin))
        ended_here = chain.native.session().seal()
        assert made[-1].diff.block_hash == "0x" + ended_here.hash.hex()
        assert made[-1].diff.state_root == "0x" + ended_here.state_root.hex()
    assert [flashblock.index for flashblock in made] == [0, 1, 2, 3]
    assert [len(flashblock.diff.transactions) for flashblock in made] == [1, 2, 3, 1]
    sealing = chain.decide(0, origin=2)
    following = builder.on_effect(Height(9), sealing)
    assert made[-1].diff.block_hash == "0x" + sealing.sealed[0].hash.hex(), "the last one is the sealed block"
    assert builder.differences == 0
    assert [flashblock.index for flashblock in following] == [0]
    assert following[0].payload_id != made[0].payload_id


def test_a_builder_that_starts_in_the_middle_tells_the_whole_block() -> None:
    chain = Chain()
    chain.decide(2, origin=1)
    chain.decide(3)
    builder = FlashblockBuilder(chain.native)
    made = builder.on_effect(Height(3), chain.decide(1))
    assert [len(flashblock.diff.transactions) for flashblock in made] == [1, 5, 1]
    assert made[-1].diff.block_hash == "0x" + chain.native.session().seal().hash.hex()


def test_after_an_unwinding_the_height_comes_again_under_another_id() -> None:
    chain = Chain()
    builder = FlashblockBuilder(chain.native)
    chain.decide(1, origin=1)
    builder.on_effect(Height(1), chain.decide(0, origin=2))
    lost = builder.on_effect(Height(2), chain.decide(2))
    builder.reset()  # what the stream does for an effect with `unwound`
    effect = chain.decide(1, origin=3, unwind_to=0)
    made = builder.on_effect(Height(3), effect)
    assert [flashblock.index for flashblock in made] == [0, 1]
    assert made[0].metadata.block_number == 1
    assert made[0].base is not None
    assert made[0].payload_id != lost[0].payload_id
    assert made[-1].diff.block_hash == "0x" + chain.native.session().seal().hash.hex()
    assert builder.differences == 0


def test_what_the_open_blocks_json_says_is_what_index_0_is_based_on() -> None:
    chain = Chain()
    builder = FlashblockBuilder(chain.native)
    (first,) = builder.on_effect(Height(1), chain.decide(0, origin=1))
    block = json.loads(chain.native.block_json(-1, False) or b"{}")
    assert first.base is not None
    assert (first.base.parent_hash, first.base.extra_data) == (block["parentHash"], block["extraData"])
    assert first.metadata.receipts[block["transactions"][0]].deposit_nonce == "0x0"
