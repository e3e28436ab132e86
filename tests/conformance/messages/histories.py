"""Random histories of several chains, valid by construction or partly not, and their raw bytes.

What a message commits to is encoded here a second time, apart from the checker's reader, in the plainest way.

A history is made level by level (all blocks of one timestamp). Which logs there are is decided first, then what the
executing ones refer to: any older log within the window, any log of the level, also a later one. A valid history keeps
only references with which all logs of the level can still be emitted one after the other, each after what it refers to.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import NamedTuple

import rlp
from eth_abi import encode
from eth_hash.auto import keccak

from tests.conformance.messages.checker import EXECUTING, INBOX, WINDOW_S, Chain, Claim
from tests.conformance.messages.reading import (
    HEADER_NUMBER,
    HEADER_PARENT,
    HEADER_RECEIPTS,
    HEADER_TIMESTAMP,
    HEADER_TRANSACTIONS,
    Block,
    Log,
    Transaction,
    ordered_root,
)

START_S = 1_700_000_000
CHAIN_IDS = (10, 901, 902, 2**64 - 1, 2**64, 2**64 + 901, 2**200 + 7, 2**256 - 1)


class History(NamedTuple):
    """A dependency set and blocks."""

    chains: tuple[Chain, ...]
    blocks: tuple[Block, ...]


# ---------------------------------------------------------------- encoding
def claim_of(log: Log, chain_id: int, number: int, timestamp: int, index: int) -> Claim:
    """What executing this log at this position commits to."""
    log_hash = keccak(log.origin + keccak(b"".join(log.topics) + log.data))
    place = bytes(12) + number.to_bytes(8, "big") + timestamp.to_bytes(8, "big") + index.to_bytes(4, "big")
    digest = keccak(keccak(log_hash + place) + chain_id.to_bytes(32, "big"))
    return Claim(chain_id, number, index, timestamp, b"\x03" + digest[1:])


def keys_of(claim: Claim) -> list[bytes]:
    """How a transaction declares it."""
    low, high = claim.chain_id % 2**64, claim.chain_id >> 64
    keys = [
        b"\x01\0\0\0"
        + b"".join(value.to_bytes(8, "big") for value in (low, claim.block_number, claim.timestamp))
        + claim.log_index.to_bytes(4, "big")
    ]
    if high:
        keys.append(b"\x02" + high.to_bytes(31, "big"))
    return [*keys, claim.checksum]


def executing_log(log: Log, claim: Claim) -> Log:
    """The ExecutingMessage log for `log` at the position of `claim`."""
    identifier = (log.origin, claim.block_number, claim.log_index, claim.timestamp, claim.chain_id)
    data = encode(["address", "uint256", "uint256", "uint256", "uint256"], identifier)
    return Log(INBOX, (EXECUTING, keccak(b"".join(log.topics) + log.data)), data)


def encode_chain(blocks: Sequence[Block]) -> list[tuple[bytes, list[bytes]]]:
    """Raw blocks and receipts that read back as `blocks` (of one chain, ascending)."""
    encoded = []
    parent = bytes(32)
    for block in blocks:
        raws = [_raw_transaction(place, item) for place, item in enumerate(block.transactions)]
        receipts = [_raw_receipt(raw, item) for raw, item in zip(raws, block.transactions, strict=True)]
        header: list[bytes] = [b""] * 21
        header[HEADER_PARENT] = parent
        header[HEADER_TRANSACTIONS] = ordered_root(raws)
        header[HEADER_RECEIPTS] = ordered_root(receipts)
        header[HEADER_NUMBER] = _integer(block.number)
        header[HEADER_TIMESTAMP] = _integer(block.timestamp)
        parent = keccak(rlp.encode(header))
        body = [rlp.decode(raw) if raw[0] >= 0xC0 else raw for raw in raws]
        encoded.append((rlp.encode([header, body, [], []]), receipts))
    return encoded


def _raw_transaction(place: int, transaction: Transaction) -> bytes:
    if not transaction.access_list and place == 0:
        return b"\x7e" + rlp.encode([b""] * 8)
    if not transaction.access_list and place % 2:
        return bytes(rlp.encode([_integer(place)] * 9))
    kind, before, after = ((1, 7, 3), (2, 8, 3), (4, 8, 4))[place % 3]
    access_list = [[address, list(keys)] for address, keys in transaction.access_list]
    return bytes([kind]) + rlp.encode([*[_integer(place)] * before, access_list, *[b""] * after])


def _raw_receipt(raw: bytes, transaction: Transaction) -> bytes:
    logs = [[log.origin, list(log.topics), log.data] for log in transaction.logs]
    body: bytes = rlp.encode([b"\x01", b"", bytes(256), logs])
    return body if raw[0] >= 0xC0 else raw[:1] + body


def _integer(value: int) -> bytes:
    return value.to_bytes((value.bit_length() + 7) // 8, "big")


# ---------------------------------------------------------------- random histories
Place = tuple[int, int]
"""Chain id and log index within one level."""


class Maker:
    """Makes one history."""

    def __init__(self, random: Random, *, sloppy: bool) -> None:
        self.random = random
        self.sloppy = sloppy
        ids = random.sample(CHAIN_IDS, random.randrange(2, 5))
        self.chains = tuple(
            Chain(chain_id, START_S + random.choice((0, 0, 0, 4)), random.choice((1, 2))) for chain_id in ids
        )
        self.blocks: list[Block] = []
        self.numbers = {chain_id: random.choice((0, 5, 2**40)) for chain_id in ids}
        self.past: list[tuple[Log, Claim]] = []
        """Logs of levels before, with what executing them commits to."""

    def make(self) -> History:
        timestamp = START_S
        for _ in range(self.random.randrange(3, 8)):
            self._level(timestamp)
            timestamp += self.random.choice((1, 1, 2, 4, WINDOW_S - 3, WINDOW_S))
        chains = self.chains
        if self.sloppy and self.random.randrange(6) == 0:
            chains = chains[1:]
        return History(chains, tuple(self.blocks))

    def _level(self, timestamp: int) -> None:
        random = self.random
        kinds: dict[Place, bool] = {}
        """Whether the log at a place executes."""
        for chain in self.chains:
            if random.randrange(5):
                may = self.sloppy or timestamp >= chain.activation + chain.block_time
                for index in range(random.randrange(6)):
                    kinds[chain.chain_id, index] = may and random.randrange(2) == 0
                self.numbers[chain.chain_id] += 1
        logs = {place: self._plain() for place, executes in kinds.items() if not executes}
        waiting = [place for place, executes in kinds.items() if executes]
        random.shuffle(waiting)
        references: dict[Place, Place] = {}
        claims: dict[Place, Claim] = {}
        for place in waiting:
            target, reference = self._target(timestamp, place, kinds, logs, references)
            if target is None:
                logs[place] = self._plain()
                continue
            if reference is not None:
                references[place] = reference
            log, claim = target
            claims[place] = claim
            logs[place] = executing_log(log, claim)
        self._close(timestamp, logs, claims)

    def _plain(self) -> Log:
        random = self.random
        topics = tuple(random.randbytes(32) for _ in range(random.randrange(5)))
        origin = INBOX if random.randrange(8) == 0 else random.randbytes(20)
        return Log(origin, topics, random.randbytes(random.choice((0, 5, 32, 100))))

    def _target(
        self,
        timestamp: int,
        place: Place,
        kinds: dict[Place, bool],
        logs: dict[Place, Log],
        references: dict[Place, Place],
    ) -> tuple[tuple[Log, Claim] | None, Place | None]:
        """A log to execute at `place`, and where in the level it is if it is of the level."""
        random = self.random
        for _ in range(8):
            if self.past and random.randrange(2):
                log, claim = random.choice(self.past)
                first = next(chain.activation + chain.block_time for chain in self.chains if chain[0] == claim.chain_id)
                if self.sloppy or (timestamp - claim.timestamp <= WINDOW_S and claim.timestamp >= first):
                    return (log, claim), None
                continue
            found = random.choice([*logs, place]) if self.sloppy else random.choice([*logs] or [place])
            log = logs.get(found, Log(INBOX, (), b""))
            source = next(chain for chain in self.chains if chain.chain_id == found[0])
            valid = found in logs and timestamp >= source.activation + source.block_time
            if (valid and schedulable(kinds, {**references, place: found})) or self.sloppy:
                return (log, claim_of(log, found[0], self.numbers[found[0]], timestamp, found[1])), found
        return None, None

    def _close(self, timestamp: int, logs: dict[Place, Log], claims: dict[Place, Claim]) -> None:
        """Groups the level's logs into transactions and blocks; every chain that got a number gets its block."""
        random = self.random
        for chain in self.chains:
            chain_id, number = chain.chain_id, self.numbers[chain.chain_id]
            if any(block.chain_id == chain_id and block.number == number for block in self.blocks):
                continue
            transactions = [Transaction((), ())]  # the L1-attributes deposit
            mine = [place for place in sorted(logs) if place[0] == chain_id]
            while mine:
                count = random.randrange(1, 4)
                part, mine = mine[:count], mine[count:]
                declared = [claims[place] for place in part if place in claims]
                taken = [logs[place] for place in part]
                for index, place in enumerate(part):
                    if self.sloppy and place in claims and random.randrange(6) == 0:
                        taken[index] = self._spoil(taken[index])
                transactions.append(Transaction(self._access_list(declared), tuple(taken)))
            block = Block(chain_id, number, timestamp, tuple(transactions))
            self.blocks.append(block)
            for index, log in enumerate(block.logs):
                self.past.append((log, claim_of(log, chain_id, number, timestamp, index)))

    def _access_list(self, declared: list[Claim]) -> tuple[tuple[bytes, tuple[bytes, ...]], ...]:
        """Declares, over one or several entries, with others between them; a sloppy one now and then wrongly."""
        random = self.random
        keys: list[bytes] = []
        for claim in declared:
            spoil = self.sloppy and random.randrange(6) == 0
            keys += keys_of(spoiled_claim(random, claim) if spoil else claim)
        if self.sloppy and keys and random.randrange(10) == 0:
            place = random.randrange(len(keys))
            keys[place : place + 1] = random.choice(([], [keys[place]] * 2, [random.randbytes(32)], [bytes(32)]))
        entries: list[tuple[bytes, tuple[bytes, ...]]] = []
        while keys:
            count = random.randrange(len(keys) + 1)
            entries.append((INBOX, tuple(keys[:count])))
            keys = keys[count:]
            if random.randrange(3) == 0:
                entries.append((random.randbytes(20), (random.randbytes(32),)))
        return tuple(entries)

    def _spoil(self, log: Log) -> Log:
        """An ExecutingMessage log with one word or topic changed, or of another length."""
        random = self.random
        kind = random.randrange(4)
        if kind == 0:
            return log._replace(topics=(log.topics[0], random.randbytes(32)))
        if kind == 1:
            return random.choice((log._replace(data=log.data[:-1]), log._replace(topics=log.topics[:1])))
        word = random.randrange(5)
        value = int.from_bytes(log.data[32 * word : 32 * word + 32], "big")
        changed = random.choice((value + 1, max(0, value - 1), value + 2**32, value + 2**64, 2**255)) % 2**256
        return log._replace(data=log.data[: 32 * word] + changed.to_bytes(32, "big") + log.data[32 * word + 32 :])


def spoiled_claim(random: Random, claim: Claim) -> Claim:
    """A claim with one field changed."""
    kind = random.randrange(5)
    if kind == 0:
        return claim._replace(checksum=b"\x03" + random.randbytes(31))
    field = ("chain_id", "block_number", "log_index", "timestamp")[kind - 1]
    bound = {"chain_id": 2**256, "log_index": 2**32}.get(field, 2**64)
    value = (getattr(claim, field) + random.choice((1, -1, 7))) % bound
    return claim._replace(**{field: value})


def schedulable(kinds: dict[Place, bool], references: dict[Place, Place]) -> bool:
    """Whether all logs of a level can be emitted one after the other, each after what it refers to."""
    counts: dict[int, int] = {}
    for chain_id, _ in kinds:
        counts[chain_id] = counts.get(chain_id, 0) + 1
    emitted = dict.fromkeys(counts, 0)
    moved = True
    while moved:
        moved = False
        for chain_id, count in counts.items():
            while emitted[chain_id] < count:
                reference = references.get((chain_id, emitted[chain_id]))
                if reference is not None and reference[1] >= emitted[reference[0]]:
                    break
                emitted[chain_id] += 1
                moved = True
    return emitted == counts


def random_history(seed: int, *, sloppy: bool = False) -> History:
    """The history of a seed; `sloppy` ones break rules at random, and may break none."""
    return Maker(Random(seed), sloppy=sloppy).make()
