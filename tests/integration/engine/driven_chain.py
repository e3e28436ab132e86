"""A rollup of the native core that grows by hand: transfers of development accounts, deposits, and unwinding."""

from __future__ import annotations

from collections.abc import Sequence

from eth_account import Account

from plait.derivation.attributes import (
    Deposit,
    Fork,
    L1BlockInfo,
    block_attributes,
    user_deposit_source_hash,
)
from plait.derivation.system_config import NO_BATCHER, SystemConfig
from plait.native import Rollup, Store, Transaction, decode_transactions, keccak256
from plait.rollups.embedded.accounts import DEVELOPMENT_ACCOUNTS
from plait.rollups.embedded.genesis import GenesisSpecification, genesis_json
from plait.types import Address, BlockNumber, ChainId, Gas, Hash32, Seconds, Wei

CHAIN_ID = 901
GENESIS_TIME_S = 1_700_000_000
BLOCK_TIME_S = 1
SYSTEM = SystemConfig(
    batcher=NO_BATCHER,
    gas_limit=Gas(30_000_000),
    base_fee_scalar=1_368,
    blob_base_fee_scalar=810_949,
    eip1559_denominator=250,
    eip1559_elasticity=6,
)


def origin(number: int) -> L1BlockInfo:
    return L1BlockInfo(
        number=BlockNumber(number),
        hash=Hash32(keccak256(b"origin %d" % number)),
        timestamp=Seconds(GENESIS_TIME_S + number),
        base_fee=Wei(7),
        blob_base_fee=Wei(1),
        prev_randao=Hash32(keccak256(b"randao %d" % number)),
        parent_beacon_block_root=Hash32(keccak256(b"beacon %d" % number)),
    )


def deposit(l1: L1BlockInfo, index: int) -> bytes:
    recipient = Address(keccak256(b"recipient %d" % index)[:20])
    return Deposit(
        source_hash=user_deposit_source_hash(l1.hash, index),
        sender=recipient,
        to=recipient,
        mint=Wei(10**18),
        value=Wei(10**17),
        gas_limit=Gas(50_000),
    ).encode()


class Chain:
    """Blocks of one rollup, one L1 origin per block."""

    def __init__(self, chain_id: int = CHAIN_ID, fork: Fork = "jovian", rollup: Rollup | None = None) -> None:
        self.fork = fork
        self.chain_id = chain_id
        self.genesis = genesis_json(
            GenesisSpecification(chain_id=ChainId(chain_id), timestamp=Seconds(GENESIS_TIME_S), fork=fork)
        )
        self.rollup = rollup or Rollup.from_genesis(self.genesis, Store.in_memory())
        self._wallets = [Account.from_key(account.private_key) for account in DEVELOPMENT_ACCOUNTS]

    def transfers(self, count: int, *, value: int = 1) -> list[bytes]:
        """Raw transfers of the development accounts in turn, with their next nonces."""
        found = self.rollup.accounts([bytes.fromhex(wallet.address[2:]) for wallet in self._wallets], -1)
        nonces = [nonce for nonce, _, _ in found]
        raws = []
        for index in range(count):
            at = index % len(self._wallets)
            fields = {
                "type": 2,
                "chainId": self.chain_id,
                "nonce": nonces[at],
                "to": keccak256(b"to %d" % index)[:20],
                "value": value,
                "gas": 21_000,
                "maxFeePerGas": 10**11,
                "maxPriorityFeePerGas": 1,
            }
            raws.append(bytes(self._wallets[at].sign_transaction(fields).raw_transaction))
            nonces[at] += 1
        return raws

    def seal(self, transactions: int | Sequence[bytes] = 2, deposits: int = 0) -> None:
        """One block more."""
        number = self.rollup.head.number + 1
        l1 = origin(number)
        session = self.rollup.session()
        session.open(
            block_attributes(
                Seconds(GENESIS_TIME_S + number * BLOCK_TIME_S),
                l1,
                0,
                SYSTEM,
                deposits=[deposit(l1, index) for index in range(deposits)],
                fork=self.fork,
            )
        )
        raws = self.transfers(transactions) if isinstance(transactions, int) else list(transactions)
        decoded = [item for item in decode_transactions(raws, self.chain_id) if isinstance(item, Transaction)]
        assert len(decoded) == len(raws)
        outcomes = session.run(decoded)
        assert outcomes.included == len(raws), outcomes.failure(0)
        session.seal()
        self.rollup.commit(session)

    def grow(self, count: int, transactions: int = 2) -> None:
        for _ in range(count):
            self.seal(transactions)
