"""What must hold after every sub-block of `traffic.Traffic`, asked with nothing of the code that made it so.

Items of a decided proposal are read with the `rlp` library, logs and blocks as JSON, events with eth-abi.

    whole       every bundle of a proposal has all of its transactions at its stated positions on each rollup, in
                blocks, and each succeeded or may revert; no transaction of any other bundle is in a block
    nonces      an account's nonce is the number of its transactions in the log
    ether       the balances of a rollup add up to genesis, vaults and ETHLiquidity included; over all rollups
                ETHLiquidity has gained what was sent by the bridge and has not arrived
    tokens      the supplies of all rollups and what is on its way add up to what was minted
    messages    whatever an ordered transaction declares in its access list for CrossL2Inbox is a log that is where the
                declaration says and says what its checksum commits to, is not younger than the block, and of a rollup
                of the same interop set; what nodes are told of messages is what the messenger's logs say
    relayers    one that wants to be paid has never less ether, over all rollups together, than before
    bids        the priority fees of a bundle's transactions are at least its bid (nobody pays the vault otherwise)
"""

from __future__ import annotations

import json
from collections import Counter
from hashlib import sha256
from typing import Any

import msgspec
import rlp
from eth_abi import decode

from plait.native import PENDING, Rollup, decode_transactions, keccak256
from plait.protocol.effects import SubBlockDecided
from plait.types import RollupId
from tests.property.bundles.traffic import MINTED, NOWHERE, TOKEN, Traffic
from tests.scenarios.world import calldata

INBOX = bytes.fromhex("4200000000000000000000000000000000000022")
MESSENGER = bytes.fromhex("4200000000000000000000000000000000000023")
ETH_BRIDGE = bytes.fromhex("4200000000000000000000000000000000000024")
ETH_LIQUIDITY = bytes.fromhex("4200000000000000000000000000000000000025")
TOKEN_BRIDGE = bytes.fromhex("4200000000000000000000000000000000000028")
SENT = "0x382409ac69001e11931a28435afef442cbfd20d9891907e8fa373ba7d351f320"
RELAYED = "0x" + keccak256(b"RelayedMessage(uint256,uint256,bytes32,bytes32)").hex()
RELAY_ETH = keccak256(b"relayETH(address,address,uint256)")[:4]
RELAY_TOKENS = keccak256(b"relayERC20(address,address,address,uint256)")[:4]

Message = tuple[int, int]
"""Source chain and nonce: what names a message of the messenger."""


class Invariants:
    """Follows a simulation and asks after each of its sub-blocks. `check` raises AssertionError."""

    def __init__(self, traffic: Traffic) -> None:
        self._traffic = traffic
        self._decided: set[bytes] = set()
        self._used: Counter[tuple[RollupId, bytes]] = Counter()
        self._read: dict[RollupId, tuple[int, int]] = dict.fromkeys(traffic.ids, (0, 0))
        """Per rollup the block and the number of its logs that have been read."""
        self.sent: dict[Message, tuple[str, int]] = {}
        """Every message of a bridge: "ether" or "tokens", and how much."""
        self.arrived: set[Message] = set()
        self._sets = dict(zip(traffic.ids, traffic.sets, strict=True))
        self._sent_in_set: set[Message] = set()
        """Every message to a rollup of the sender's set, whoever sent it."""
        self._open: list[bytes] = []
        """Bundles that may still take place, or were decided just now."""
        self._known = 0
        self._genesis: dict[RollupId, int] = {}
        self._accounts: dict[RollupId, list[bytes]] = {}
        for rollup_id, data in traffic.network.genesis.items():
            allocation: dict[str, dict[str, Any]] = msgspec.json.decode(data)["alloc"]
            self._genesis[rollup_id] = sum(int(entry.get("balance", "0x0"), 16) for entry in allocation.values())
            self._accounts[rollup_id] = sorted({*(bytes.fromhex(address) for address in allocation), NOWHERE, TOKEN})
        self._wealth: list[int] = [0] * len(traffic.relayers)
        for request in traffic.log:
            self._count(request.proposal)

    def check(self, effect: SubBlockDecided) -> None:
        """After one sub-block."""
        bundles = self._count(effect.proposal)
        self._declared(effect.proposal)
        self._bids(effect.proposal, bundles)
        for node in self._traffic.nodes:
            self._whole(node.rollups, bundles)
            self._nonces(node.rollups)
            self._ether(node.rollups)
        assert self._traffic.nodes[0].info() == self._traffic.nodes[1].info()
        for rollup_id in self._traffic.ids:
            self._read_logs(rollup_id)
        self._bridges()
        self._relayers()

    # ------------------------------------------------------------ bundles and nonces
    def _count(self, proposal: bytes) -> dict[bytes, dict[RollupId, list[tuple[bytes, bool]]]]:
        """Adds a proposal's transactions to the nonces; its bundles: per rollup hash and leave to revert."""
        parts = rlp.decode(proposal)
        blocks = {RollupId(int.from_bytes(rollup_id, "big")): list(items) for rollup_id, items in parts[-1]}
        for rollup_id, items in blocks.items():
            raws = [raw for item in items for raw in raws_of(item)]
            for transaction in decode_transactions(raws, rollup_id):
                self._used[rollup_id, transaction.sender] += 1  # type: ignore[union-attr]
        found: dict[bytes, dict[RollupId, list[tuple[bytes, bool]]]] = {}
        for entry in parts[2]:
            terms = entry[1]
            name = sha256(terms).digest()
            assert name not in self._decided, "a bundle was decided twice"
            self._decided.add(name)
            found[name] = {}
            for leg_id, _, allowed in rlp.decode(terms)[3]:
                rollup_id = RollupId(int.from_bytes(leg_id, "big"))
                item = blocks[rollup_id].pop(0)
                assert item[:33] == b"\x01" + name, "a leg does not stand where its bundle says"
                may = {int.from_bytes(index, "big") for index in allowed}
                found[name][rollup_id] = [(keccak256(raw), place in may) for place, raw in enumerate(raws_of(item))]
            for items in blocks.values():
                if items and items[0][:33] == b"\x03" + name:
                    items.pop(0)
        kinds = [[item[0] for item in items] for items in blocks.values()]
        assert all(left == sorted(left) and set(left) <= {0, 2} for left in kinds), "an item stands at a wrong place"
        return found

    def _whole(self, rollups: Any, bundles: dict[bytes, dict[RollupId, list[tuple[bytes, bool]]]]) -> None:
        traffic = self._traffic
        for name, legs in bundles.items():
            assert {i: [h for h, _ in leg] for i, leg in legs.items()} == traffic.hashes[name]
            for rollup_id, transactions in legs.items():
                rollup: Rollup = rollups[rollup_id]
                places = [rollup.transaction_location(hash_) for hash_, _ in transactions]
                assert None not in places, "a transaction of a decided bundle is in no block"
                block, first = places[0]  # type: ignore[misc]
                assert places == [(block, first + n) for n in range(len(places))], "a leg is not in one piece"
                for hash_, may_revert in transactions:
                    outcome = rollup.pending_outcome(hash_)
                    assert outcome is not None
                    assert outcome[0] == 1 or may_revert, "a transaction of a decided bundle failed"
        for name, legs in traffic.hashes.items():
            if name not in self._decided and self._recent(name):
                there = [rollups[i].transaction_location(h) for i, hashes in legs.items() for h in hashes]
                assert there == [None] * len(there), f"a part of bundle 0x{name.hex()} is in a block"

    def _recent(self, name: bytes) -> bool:
        status = self._traffic.pool.status(name)  # type: ignore[arg-type]
        return status is None or status.status == "received" or status.deadline_slot >= self._traffic.slot

    def at_end(self) -> None:
        """All bundles that were ever sent, once more."""
        for node in self._traffic.nodes:
            for name, legs in self._traffic.hashes.items():
                there = {
                    node.rollups[i].transaction_location(h) is not None for i, hashes in legs.items() for h in hashes
                }
                assert there == {name in self._decided}, (
                    f"bundle 0x{name.hex()} left a trace, or only a part of it is there"
                )

    def _nonces(self, rollups: Any) -> None:
        for rollup_id, rollup in rollups.items():
            senders = [sender for where, sender in self._used if where == rollup_id]
            found = [nonce for nonce, _, _ in rollup.accounts(senders, PENDING)]
            assert found == [self._used[rollup_id, sender] for sender in senders], "nonces without transactions"

    # ------------------------------------------------------------ messages and bids
    def _declared(self, proposal: bytes) -> None:
        for leg_id, items in rlp.decode(proposal)[-1]:
            rollup_id = RollupId(int.from_bytes(leg_id, "big"))
            block = self._traffic.nodes[0].rollups[rollup_id].open_block
            assert block is not None
            for raw in (raw for item in items for raw in raws_of(item)):
                if raw[0] != 2:
                    continue
                keys = [key for address, listed in rlp.decode(raw[1:])[8] if address == INBOX for key in listed]
                assert len(keys) % 2 == 0, "no chain here has an id that needs a third key"
                for lookup, checksum in zip(keys[::2], keys[1::2], strict=True):
                    assert int.from_bytes(lookup[20:28], "big") <= block.timestamp, "a message from the future"
                    chain = RollupId(int.from_bytes(lookup[4:12], "big"))
                    assert self._sets[chain] == self._sets[rollup_id], "a message of another set"
                    assert self._checksum_at(lookup) == checksum, "a declared message is not where it should be"

    def _relayers(self) -> None:
        for place, relayer in enumerate(self._traffic.relayers):
            if relayer is not None and relayer.policy == "paid":
                rollups = self._traffic.nodes[0].rollups.values()
                wealth = sum(rollup.accounts([relayer.address], PENDING)[0][1] for rollup in rollups)
                assert wealth >= self._wealth[place], "a relayer paid for a delivery"
                self._wealth[place] = wealth

    def _checksum_at(self, lookup: bytes) -> bytes:
        """Checksum of the log that a lookup key points at (OP Stack specs, interop: CrossL2Inbox)."""
        assert lookup[:4] == b"\1\0\0\0"
        chain, number = int.from_bytes(lookup[4:12], "big"), int.from_bytes(lookup[12:20], "big")
        rollup = self._traffic.nodes[0].rollups[RollupId(chain)]
        logs = json.loads(rollup.logs_json(number, number, [], [], 100_000))
        (log,) = [log for log in logs if int(log["logIndex"], 16) == int.from_bytes(lookup[28:], "big")]
        payload = b"".join(bytes.fromhex(part[2:]) for part in (*log["topics"], log["data"]))
        log_hash = keccak256(bytes.fromhex(log["address"][2:]) + keccak256(payload))
        placed = keccak256(log_hash + bytes(12) + lookup[12:])
        return b"\3" + keccak256(placed + chain.to_bytes(32, "big"))[1:]

    def _bids(self, proposal: bytes, bundles: dict[bytes, dict[RollupId, list[tuple[bytes, bool]]]]) -> None:
        parts = rlp.decode(proposal)
        for entry in parts[2]:
            bid = rlp.decode(entry[1])[5]
            if not bid:
                continue
            rollup_id, amount = RollupId(int.from_bytes(bid[0], "big")), int.from_bytes(bid[1], "big")
            rollup = self._traffic.nodes[0].rollups[rollup_id]
            paid = 0
            for hash_, _ in bundles[sha256(entry[1]).digest()].get(rollup_id, ()):
                outcome, block = rollup.pending_outcome(hash_), rollup.open_block
                fields = rlp.decode((rollup.raw_transaction(hash_) or b"")[1:])
                assert outcome is not None
                assert block is not None
                tip, fee = (int.from_bytes(field, "big") for field in fields[2:4])
                paid += outcome[1] * min(tip, fee - block.base_fee)
            assert paid >= amount, "a bundle paid less than it bid"

    # ------------------------------------------------------------ value
    def _ether(self, rollups: Any) -> None:
        for rollup_id, rollup in rollups.items():
            total = sum(balance for _, balance, _ in rollup.accounts(self._accounts[rollup_id], PENDING))
            assert total == self._genesis[rollup_id], f"rollup {rollup_id}: ether was made or lost"

    def _read_logs(self, rollup_id: RollupId) -> None:
        """Messages that were sent and that arrived since the last time."""
        rollup = self._traffic.nodes[0].rollups[rollup_id]
        block, seen = self._read[rollup_id]
        newest = rollup.head.number + (rollup.open_block is not None)
        logs = json.loads(rollup.logs_json(block, newest, [MESSENGER], [], 100_000))
        here = [log for log in logs if int(log["blockNumber"], 16) == block]
        for log in here[seen:] + [log for log in logs if int(log["blockNumber"], 16) > block]:
            topics = [int(topic, 16) for topic in log["topics"][1:]]
            if log["topics"][0] == SENT:
                sender, message = decode(["address", "bytes"], bytes.fromhex(log["data"][2:]))
                if self._sets.get(RollupId(topics[0])) == self._sets[rollup_id]:
                    self._sent_in_set.add((rollup_id, topics[2]))
                value = value_of(bytes.fromhex(sender[2:]), message)
                if value is not None:
                    assert (rollup_id, topics[2]) not in self.sent, "two messages with one nonce"
                    self.sent[rollup_id, topics[2]] = value
            elif log["topics"][0] == RELAYED:
                assert (topics[0], topics[1]) not in self.arrived, "a message arrived twice"
                self.arrived.add((topics[0], topics[1]))
        self._read[rollup_id] = newest, sum(int(log["blockNumber"], 16) == newest for log in logs)

    def _bridges(self) -> None:
        waiting = {(r.message.identifier.chain_id, r.sent.nonce) for r in self._traffic.waiting.values()}
        assert waiting == self._sent_in_set - self.arrived, "nodes are told other messages than logs say"
        for node in self._traffic.nodes:
            way = Counter[str]()
            for message, (kind, amount) in self.sent.items():
                way[kind] += amount if message not in self.arrived else 0
            liquidity = sum(r.accounts([ETH_LIQUIDITY], PENDING)[0][1] for r in node.rollups.values())
            assert liquidity - len(node.rollups) * (2**248 - 1) == way["ether"], "bridged ether was made or lost"
            supply = sum(ask(rollup, TOKEN, "totalSupply()") for rollup in node.rollups.values())
            minted = MINTED * len(self._traffic.users) * len(node.rollups)
            assert supply + way["tokens"] == minted, "bridged tokens were made or lost"


def raws_of(item: bytes) -> list[bytes]:
    """Transactions of an item: kind 0 plain, 1 leg, 2 relay, 3 deliveries."""
    kind = item[0]
    if kind == 0:
        return [item[7:]]
    if kind in (1, 3):
        return list(rlp.decode(item[33:]))
    assert kind == 2
    return [item[1:]]


def value_of(sender: bytes, message: bytes) -> tuple[str, int] | None:
    """What a message of a bridge carries."""
    if sender == ETH_BRIDGE and message[:4] == RELAY_ETH:
        return "ether", decode(["address", "address", "uint256"], message[4:])[2]
    if sender == TOKEN_BRIDGE and message[:4] == RELAY_TOKENS:
        token, _, _, amount = decode(["address", "address", "address", "uint256"], message[4:])
        assert bytes.fromhex(token[2:]) == TOKEN
        return "tokens", amount
    return None


def ask(rollup: Rollup, to: bytes, signature: str) -> int:
    """First word of a getter's answer on the open block."""
    request = {"to": "0x" + to.hex(), "data": "0x" + calldata(signature).hex()}
    result = rollup.call(json.dumps(request).encode(), PENDING, None, None, 10**7)
    return int.from_bytes(result.output[:32], "big")
