"""A rollup that a native core executes on this L1, with a portal, a registry that knows it and the desk of forced
inclusion: blocks and their deposits are real, sub-blocks that seal them are encoded as the network does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import rlp
from contracts_l1 import L1
from sub_blocks import ROLLUPS, Chain, account, ledger
from validators import Registry, raw
from web3.types import TxReceipt

from plait.derivation.attributes import L1BlockInfo, block_attributes
from plait.derivation.deposits import TRANSACTION_DEPOSITED, L1Log, deposit_of_log
from plait.derivation.system_config import SystemConfig
from plait.l1.contract_proofs import DepositProof, as_abi, deposit_proof
from plait.native import Rollup, Store
from plait.rollups.embedded.genesis import GenesisSpecification, genesis_json
from plait.types import Address, BlockNumber, ChainId, Gas, Hash32, Seconds, Wei

ROLLUP_ID = ROLLUPS[0]
WINDOW_S, CHALLENGE_S, BOND = 600, 3_600, 10**17
SYSTEM = SystemConfig(
    batcher=Address(b"\x01" * 20),
    gas_limit=Gas(30_000_000),
    base_fee_scalar=0,
    blob_base_fee_scalar=0,
    eip1559_denominator=250,
    eip1559_elasticity=6,
)


def deposits_of(receipt: TxReceipt) -> list[tuple[bytes, int]]:
    """Raw deposits that derivation makes of a receipt, and the indexes of their logs."""
    found = []
    for log in receipt["logs"]:
        if bytes(log["topics"][0]) != TRANSACTION_DEPOSITED:
            continue
        topics = tuple(bytes(topic) for topic in log["topics"])
        made = L1Log(raw(log["address"]), topics, bytes(log["data"]), log["logIndex"])
        found.append((deposit_of_log(made, Hash32(bytes(receipt["blockHash"]))).encode(), log["logIndex"]))
    return found


class Sealed(NamedTuple):
    """A block of the rollup."""

    number: int
    hash: bytes
    header: bytes
    transactions: list[bytes]


class Forced:
    """Everything that a test of forced inclusion needs."""

    def __init__(self, l1: L1) -> None:
        self.l1 = l1
        self.registry = Registry(l1)
        self.portal = l1.deploy("DepositPortal")
        where = (l1.accounts[6], self.portal.address, l1.accounts[7])
        l1.send(self.registry.by_timelock("setRollup", ROLLUP_ID, where))
        self.desk = l1.deploy("ForcedInclusion", self.registry.contract.address, WINDOW_S, CHALLENGE_S, BOND)
        self.functions = self.desk.functions
        began = Seconds(l1.now())
        genesis = genesis_json(GenesisSpecification(chain_id=ChainId(ROLLUP_ID), timestamp=began))
        self.rollup = Rollup.from_genesis(genesis, Store.in_memory())
        self.began = began
        self.chain = Chain(ledger({account(1): 1}))

    def force(
        self, *, sender: int = 1, value: int = 0, mint: int = 0, gas: int = 60_000, data: bytes = b"", what: str = ""
    ) -> tuple[int, TxReceipt]:
        """A request to pay `value` to account 3 on the rollup; its id and receipt."""
        call = self.functions.force(ROLLUP_ID, self.l1.accounts[3], value, gas, False, data)
        receipt = self.l1.send(call, sender=sender, value=mint, what=what)
        return int(self.functions.requestCount().call()), receipt

    def seal(self, receipt: TxReceipt | None, deposits: Sequence[bytes]) -> Sealed:
        """The rollup's next block, executed and sealed, on the L1 block of a receipt."""
        block: Any = self.l1.web3.eth.get_block("latest" if receipt is None else receipt["blockNumber"])
        info = L1BlockInfo(
            number=BlockNumber(block["number"]),
            hash=Hash32(bytes(block["hash"])),
            timestamp=Seconds(block["timestamp"]),
            base_fee=Wei(block["baseFeePerGas"]),
            blob_base_fee=Wei(1),
            prev_randao=Hash32(bytes(block["mixHash"])),
            parent_beacon_block_root=Hash32(bytes(32)),
        )
        number = self.rollup.head.number + 1
        session = self.rollup.session()
        session.open(block_attributes(Seconds(self.began + 2 * number), info, 0, SYSTEM, deposits=deposits))
        session.seal()
        self.rollup.commit(session)
        parts = rlp.decode(self.rollup.raw_block(number))
        return Sealed(number, self.rollup.head.hash, rlp.encode(parts[0]), [bytes(one) for one in parts[1]])

    def commit(self, blocks: Sequence[Sealed], *, time_ms: int, ancestors: int = 0) -> int:
        """A sub-block that seals the blocks, `ancestors` more, and a checkpoint of the last; returns its own height."""
        self.chain.add(time_ms=time_ms, sealed=[(ROLLUP_ID, [(one.number, one.hash) for one in blocks])])
        height = self.chain.height
        for _ in range(ancestors):
            self.chain.add(time_ms=time_ms)
        last = self.chain.height
        self.l1.send(self.registry.checkpoint(last, self.chain.made[-1].app_hash))
        return height

    def proof(self, height: int, block: Sealed, index: int, log_index: int) -> DepositProof:
        """Proof of the transaction at `index` of a block that the sub-block of `height` sealed."""
        return deposit_proof(
            self.chain.proof(self.chain.height, height),
            block_header=block.header,
            transactions=block.transactions,
            index=index,
            log_index=log_index,
        )

    def included(self, receipt: TxReceipt, *, time_ms: int | None = None, ancestors: int = 0) -> DepositProof:
        """Includes a receipt's one deposit in a sealed block of a committed checkpoint, and proves it."""
        ((deposit, log_index),) = deposits_of(receipt)
        block = self.seal(receipt, [deposit])
        height = self.commit(
            [block], time_ms=self.l1.now() * 1_000 if time_ms is None else time_ms, ancestors=ancestors
        )
        return self.proof(height, block, 1, log_index)

    def prove(self, number: int, proof: DepositProof) -> Any:
        """The call that shows a request's inclusion."""
        return self.functions.prove(number, as_abi(proof))

    def state(self, number: int) -> int:
        """0 none, 1 open, 2 claimed, 3 included, 4 overdue."""
        return int(self.functions.requestAt(number).call()[2])


OPEN, CLAIMED, INCLUDED, OVERDUE = 1, 2, 3, 4
