"""Two rollups with interop in one process: the native core executes, and this remembers every log by its position.

Rollup A has blocks of one second and B of two, so that equal timestamps have different block numbers.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from eth_abi import encode

from plait.derivation.attributes import block_attributes
from plait.derivation.system_config import system_of
from plait.interop.access_list import Access, access_of, encode_accesses
from plait.interop.identifiers import Identifier, LogIndex, Message, MessageChainId, log_hash_of, payload_hash_of
from plait.interop.messages import (
    CROSS_L2_INBOX,
    ETH_BRIDGE,
    ETH_LIQUIDITY,
    MESSENGER,
    TOKEN_BRIDGE,
    Log,
    is_sent_message,
    relay_calldata,
)
from plait.interop.validity import InitiatingLog, InteropChain, InteropSet, LogAbsence
from plait.l1.synthetic import SyntheticL1
from plait.native import PENDING, Outcomes, Rollup, Store, Transaction, decode_transactions, keccak256
from plait.rollups.contracts import artifact
from plait.rollups.embedded.accounts import DEVELOPMENT_ACCOUNTS
from plait.rollups.embedded.genesis import DETERMINISTIC_DEPLOYER, GenesisSpecification, genesis_document, genesis_json
from plait.types import (
    Address,
    BlockNumber,
    ChainId,
    Hash32,
    OrderingPolicy,
    RollupId,
    RollupParameters,
    Seconds,
)
from sim.wallet import Wallet

GENESIS_S = Seconds(1_700_000_000)
A, B = MessageChainId(901), MessageChainId(902)
PREDEPLOYS = (CROSS_L2_INBOX, MESSENGER, ETH_BRIDGE, ETH_LIQUIDITY, TOKEN_BRIDGE)
ALICE, BOB, RELAYER = (Wallet(account.private_key) for account in DEVELOPMENT_ACCOUNTS[:3])
STRANGER = Address(b"\x5a" * 20)
TOKEN_CODE = artifact("DemoSuperchainToken").creation_code
TOKEN = Address(
    keccak256(b"\xff" + bytes.fromhex(DETERMINISTIC_DEPLOYER) + bytes(32) + keccak256(TOKEN_CODE))[12:]
)  # CREATE2: the same on every rollup
SET = InteropSet(
    chains=(
        InteropChain(chain_id=A, activation=GENESIS_S, block_time_s=Seconds(1)),
        InteropChain(chain_id=B, activation=GENESIS_S, block_time_s=Seconds(2)),
    )
)
AccessList = Sequence[tuple[bytes, Sequence[bytes]]]


@dataclass(frozen=True)
class Executed:
    """One transaction's outcome; logs with their position in the block."""

    status: int
    output: bytes
    logs: list[tuple[LogIndex, Log]]
    gas_used: int
    failure: tuple[str, str] | None


class Side:
    """One rollup and its open block."""

    def __init__(self, chain_id: MessageChainId, block_time_s: int) -> None:
        self.chain_id = chain_id
        self.block_time_s = block_time_s
        specification = GenesisSpecification(chain_id=ChainId(chain_id), timestamp=GENESIS_S, interop=True)
        self.accounts = {bytes.fromhex(address) for address in genesis_document(specification)["alloc"]} | {STRANGER}
        self.genesis = genesis_json(specification)
        self.rollup = Rollup.from_genesis(self.genesis, Store.in_memory())
        self.session = self.rollup.session()
        self.history: dict[tuple[BlockNumber, LogIndex], InitiatingLog] = {}
        self.next_log = 0
        self.advance(Seconds(GENESIS_S + 2))

    @property
    def block_number(self) -> BlockNumber:
        block = self.session.open_block
        assert block is not None
        return BlockNumber(block.number)

    @property
    def timestamp(self) -> Seconds:
        block = self.session.open_block
        assert block is not None
        return Seconds(block.timestamp)

    def advance(self, timestamp: Seconds) -> None:
        """Seals blocks and opens the next until the open one has this timestamp."""
        while (block := self.session.open_block) is None or block.timestamp < timestamp:
            last = self.session.head_timestamp if block is None else block.timestamp
            self.leap(Seconds(last + self.block_time_s))
        assert self.timestamp == timestamp

    def leap(self, timestamp: Seconds) -> None:
        """Seals the open block and opens one of this timestamp, whatever lies between."""
        parameters = RollupParameters(
            rollup_id=RollupId(self.chain_id), genesis_hash=Hash32(bytes(32)), block_time_slots=self.block_time_s,
            gas_limit=30_000_000, ordering=OrderingPolicy.PRIORITY_FEE, da_footprint_gas_scalar=0,
            eip1559_denominator=250, eip1559_elasticity=6, min_base_fee=0, operator_fee_scalar=0,
            operator_fee_constant=0, base_fee_scalar=1_368, blob_base_fee_scalar=810_949,
        )  # fmt: skip
        if self.session.open_block is not None:
            self.session.seal()
        origin, sequence = SyntheticL1(GENESIS_S, 1).origin(BlockNumber(1), Seconds(self.block_time_s))
        opened = self.session.open(block_attributes(timestamp, origin, sequence, system_of(parameters)))
        self.next_log = 0
        self._take_logs(opened, 0)

    def execute(
        self,
        wallet: Wallet,
        to: bytes,
        data: bytes,
        *,
        value: int = 0,
        access_list: AccessList = (),
        gas_limit: int = 2_000_000,
    ) -> Executed:
        """Signs and runs one transaction in the open block; it must be includable."""
        nonce = self.session.accounts([wallet.address])[0][0]
        raw = wallet.sign_1559(
            self.chain_id, nonce, to=to, value=value, data=data, gas_limit=gas_limit, access_list=access_list
        )
        transaction = decode_transactions([raw], self.chain_id)[0]
        assert isinstance(transaction, Transaction), transaction
        outcomes = self.session.run([transaction])
        assert outcomes.statuses[0] != 2, outcomes.failure(0)
        return Executed(
            outcomes.statuses[0], outcomes.output(0), self._take_logs(outcomes, 0), outcomes.transaction_gas_used(0),
            outcomes.failure(0),
        )  # fmt: skip

    def _take_logs(self, outcomes: Outcomes, index: int) -> list[tuple[LogIndex, Log]]:
        taken = []
        for address, topics, data in outcomes.logs(index):
            log = Log(Address(address), [Hash32(topic) for topic in topics], data)
            position = LogIndex(self.next_log)
            self.history[self.block_number, position] = InitiatingLog(
                timestamp=self.timestamp, log_hash=log_hash_of(log.address, payload_hash_of(log.topics, log.data))
            )
            taken.append((position, log))
            self.next_log += 1
        return taken

    def call(self, to: bytes, data: bytes) -> bytes:
        """A read of the open block; it must succeed."""
        self.rollup.commit(self.session)
        request = {"to": "0x" + to.hex(), "data": "0x" + data.hex()}
        result = self.rollup.call(json.dumps(request).encode(), PENDING, None, None, 30_000_000)
        assert result.success, result.error
        return result.output

    def ask(self, to: bytes, signature: str, *values: object) -> int:
        """First word of a getter's answer."""
        return int.from_bytes(self.call(to, calldata(signature, *values))[:32], "big")

    def balance(self, address: bytes) -> int:
        return self.session.accounts([address])[0][1]

    def ether(self) -> int:
        """All ether of the rollup, fee vaults and liquidity included."""
        return sum(balance for _, balance, _ in self.session.accounts(sorted(self.accounts)))

    def deploy_token(self) -> None:
        deployed = self.execute(ALICE, bytes.fromhex(DETERMINISTIC_DEPLOYER), bytes(32) + TOKEN_CODE)
        assert deployed.status == 1
        assert self.session.accounts([TOKEN])[0][2]


class Pair:
    """Both sides, with open blocks of the same timestamp."""

    def __init__(self) -> None:
        self.a, self.b = Side(A, 1), Side(B, 2)
        assert self.a.timestamp == self.b.timestamp
        assert self.a.block_number != self.b.block_number

    def lookup(
        self, chain_id: MessageChainId, block_number: BlockNumber, log_index: LogIndex
    ) -> InitiatingLog | LogAbsence:
        """Logs of both rollups, open blocks included: what a builder of both knows."""
        side = {A: self.a, B: self.b}[chain_id]
        if block_number > side.block_number:
            return LogAbsence.FUTURE_BLOCK
        return side.history.get((block_number, log_index), LogAbsence.NO_SUCH_LOG)


@dataclass(frozen=True)
class Sent:
    """A message as its SentMessage log says it."""

    message: Message
    payload: bytes
    log: Log

    @property
    def access(self) -> Access:
        return access_of(self.message)

    @property
    def access_list(self) -> AccessList:
        return [(CROSS_L2_INBOX, encode_accesses([self.access]))]

    @property
    def relay(self) -> bytes:
        return relay_calldata(self.message.identifier, self.payload)


def calldata(signature: str, *values: object) -> bytes:
    """Selector and ABI encoding of plain (not nested) arguments."""
    inside = signature[signature.index("(") + 1 : -1]
    return keccak256(signature.encode())[:4] + encode([part for part in inside.split(",") if part], values)


def aggregate(*calls: tuple[bytes, bool, bytes]) -> bytes:
    """Calldata of Multicall's aggregate3: (target, may fail, calldata)."""
    return keccak256(b"aggregate3((address,bool,bytes)[])")[:4] + encode(["(address,bool,bytes)[]"], [calls])


def sent_messages(side: Side, executed: Executed) -> list[Sent]:
    """The messages that a transaction in the open block of this side sent."""
    found = []
    for index, log in executed.logs:
        if is_sent_message(log):
            payload = b"".join((*log.topics, log.data))
            identifier = Identifier(
                origin=log.address, block_number=side.block_number, log_index=index, timestamp=side.timestamp,
                chain_id=side.chain_id,
            )  # fmt: skip
            found.append(
                Sent(Message(identifier=identifier, payload_hash=payload_hash_of(log.topics, log.data)), payload, log)
            )
    return found


def send(side: Side, destination: int, target: bytes, data: bytes, wallet: Wallet = ALICE) -> Sent:
    """Sends one message through the messenger."""
    executed = side.execute(
        wallet, MESSENGER, calldata("sendMessage(uint256,address,bytes)", destination, target, data)
    )
    assert executed.status == 1, executed.failure
    (sent,) = sent_messages(side, executed)
    return sent


def relay(side: Side, sent: Sent, *, access_list: AccessList | None = None, value: int = 0) -> Executed:
    """Relays a message as anyone may."""
    return side.execute(
        RELAYER, MESSENGER, sent.relay, access_list=sent.access_list if access_list is None else access_list,
        value=value,
    )  # fmt: skip


def error(signature: str) -> bytes:
    """Revert data of an error without arguments."""
    return keccak256(signature.encode())[:4]
