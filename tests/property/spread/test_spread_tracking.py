"""The bookkeeping of the spread against a model that remembers everything.

Rules: clients hand entries in here, batches of others bring entries, entries end, batches are sent, fail to be sent, or
are asked about again, heights pass. After every step: no own entry that waits is ever unsent for longer than
SPREAD_AGAIN_HEIGHTS, doubled with every sending, nothing is sent twice within SPREAD_CARRIED_HEIGHTS, and a batch is
kept exactly as long as one of its entries waits and its time is not over.
"""

from collections import Counter
from itertools import pairwise

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from plait.codec.batch import Cancellation, batch_hash_of, decode_batch
from plait.limits import (
    BATCH_BYTES_MAX,
    SPREAD_AGAIN_DOUBLINGS,
    SPREAD_AGAIN_HEIGHTS,
    SPREAD_CANCEL_HEIGHTS,
    SPREAD_CARRIED_HEIGHTS,
    SPREAD_HELD_BYTES_MAX,
    SPREAD_KEPT_HEIGHTS,
    SPREAD_THIN_BATCHES_MAX,
)
from plait.mempool.spread import NO_ROLLUP, Entry, EntryKind, Key, Outgoing, Spread
from plait.native import keccak256
from plait.types import Hash32, Height, RollupId


class Waiting:
    """Pools that hold what they are told."""

    def __init__(self) -> None:
        self.entries: dict[Key, bytes] = {}

    def waits(self, key: Key) -> bool:
        return key in self.entries

    def entry(self, key: Key) -> Entry | None:
        return self.entries.get(key)


class SpreadMachine(RuleBasedStateMachine):
    @initialize()
    def start(self) -> None:
        self.pools = Waiting()
        self.spread = Spread(self.pools)
        self.height = 0
        self.made = 0
        self.own: set[Key] = set()
        self.to_send: set[Key] = set()
        self.carried: dict[Key, int] = {}
        """When a batch carried an entry last."""
        self.sent_at: dict[Key, int] = {}
        self.times_sent: Counter[Key] = Counter()
        self.batches: dict[Hash32, set[Key]] = {}
        self.kept: dict[Hash32, tuple[int, int]] = {}
        """When it was made, and until when it is kept at least."""

    def new_entry(self, kind: EntryKind, size: int) -> Key:
        self.made += 1
        raw = self.made.to_bytes(8, "big") + bytes(size)
        rollup_id = RollupId(1 + self.made % 3) if kind is EntryKind.TRANSACTION else NO_ROLLUP
        key = Key(kind, rollup_id, keccak256(raw))
        self.pools.entries[key] = raw
        return key

    # ------------------------------------------------------------ rules
    @rule(
        kind=st.sampled_from([EntryKind.TRANSACTION, EntryKind.TRANSACTION, EntryKind.ACTION]),
        size=st.sampled_from([10, 100, 60_000, 131_000]),
        count=st.integers(1, 12),
    )
    def hand_in(self, kind: EntryKind, size: int, count: int) -> None:
        for _ in range(count):
            key = self.new_entry(kind, size)
            self.own.add(key)
            self.to_send.add(key)
            self.spread.collect(key, size + 8)

    @rule()
    def cancel(self) -> None:
        self.made += 1
        hash_ = Hash32(keccak256(self.made.to_bytes(8, "big")))
        self.to_send.add(self.spread.collect_cancellation(Cancellation(bundle_hash=hash_, signature=bytes(65))))

    @rule(count=st.integers(0, 6), data=st.data())
    def take_in(self, count: int, data: st.DataObject) -> None:
        keys = [self.new_entry(EntryKind.TRANSACTION, 10) for _ in range(count)]
        known = sorted(self.pools.entries.keys() - set(keys))
        if known:
            keys += data.draw(st.lists(st.sampled_from(known), max_size=4, unique=True))
        if not keys:
            return
        batch_hash = batch_hash_of(self.made.to_bytes(8, "big") + b"".join(key.hash for key in keys))
        self.spread.take_in(batch_hash, keys, 100)
        self.note_batch(batch_hash, keys)

    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        if self.pools.entries:
            for key in data.draw(st.lists(st.sampled_from(sorted(self.pools.entries)), max_size=8, unique=True)):
                del self.pools.entries[key]
                self.own.discard(key)

    @rule()
    def send(self) -> None:
        outgoing = self.spread.next_batch()
        if outgoing is None:
            full = self.spread.statistics()["bytes_held_own"] > SPREAD_HELD_BYTES_MAX - BATCH_BYTES_MAX
            assert full or not [key for key in self.to_send if self.is_due(key)]
            return
        self.check_batch(outgoing)
        self.note_batch(outgoing.hash, outgoing.keys)

    @rule()
    def fail_to_send(self) -> None:
        outgoing = self.spread.next_batch()
        if outgoing is None:
            return
        self.check_batch(outgoing)
        before = self.spread.statistics()
        self.spread.failed(outgoing)
        after = self.spread.statistics()
        assert after["entries_sent"] == before["entries_sent"] - len(outgoing.keys)
        for key in outgoing.keys:
            self.carried.pop(key, None)
            self.sent_at.pop(key, None)
            self.to_send.add(key)

    @rule(heights=st.sampled_from([1, 1, 1, 5, SPREAD_CARRIED_HEIGHTS, SPREAD_AGAIN_HEIGHTS]))
    def decide(self, heights: int) -> None:
        for _ in range(heights):
            self.height += 1
            self.spread.on_decided(Height(self.height))

    @precondition(lambda self: self.batches)
    @rule(data=st.data())
    def recheck(self, data: st.DataObject) -> None:
        batch_hash = data.draw(st.sampled_from(sorted(self.batches)))
        waits = any(key in self.pools.entries for key in self.batches[batch_hash])
        made, at_least = self.kept[batch_hash]
        expected = self.height < made + SPREAD_KEPT_HEIGHTS and (waits or self.height < at_least)
        assert self.spread.is_kept(batch_hash) == expected
        if not expected:
            del self.batches[batch_hash]
            assert not self.spread.is_kept(batch_hash)

    # ------------------------------------------------------------ the model
    def is_due(self, key: Key) -> bool:
        """Whether an entry to send has to be in the next batches."""
        waits = key in self.pools.entries or key.kind is EntryKind.CANCELLATION
        return waits and self.height - self.carried.get(key, -SPREAD_CARRIED_HEIGHTS) >= SPREAD_CARRIED_HEIGHTS

    def note_batch(self, batch_hash: Hash32, keys: list[Key] | tuple[Key, ...]) -> None:
        cancels = any(key.kind is EntryKind.CANCELLATION for key in keys)
        self.batches[batch_hash] = {key for key in keys if key.kind is not EntryKind.CANCELLATION}
        self.kept[batch_hash] = (self.height, self.height + SPREAD_CANCEL_HEIGHTS if cancels else 0)
        for key in keys:
            self.carried[key] = self.sent_at[key] = self.height
            self.times_sent[key] += 1
            self.to_send.discard(key)

    def check_batch(self, outgoing: Outgoing) -> None:
        assert len(outgoing.data) <= BATCH_BYTES_MAX
        batch = decode_batch(outgoing.data)
        assert outgoing.hash == batch_hash_of(outgoing.data)
        assert batch.height == self.height
        assert batch.entries == len(set(outgoing.keys)) == len(outgoing.keys)
        sent = {raw for _, raws in batch.transactions for raw in raws} | set(batch.actions)
        assert sent == {self.pools.entries[key] for key in outgoing.keys if key.kind is not EntryKind.CANCELLATION}
        for key in outgoing.keys:
            assert key.kind is EntryKind.CANCELLATION or key in self.own
            assert self.is_due(key), "it was carried a moment ago"

    @invariant()
    def own_entries_are_never_long_unsent(self) -> None:
        if not hasattr(self, "own"):
            return
        for key in self.own - self.to_send:
            overdue = self.height - self.sent_at[key]
            if overdue >= SPREAD_AGAIN_HEIGHTS << min(self.times_sent[key], SPREAD_AGAIN_DOUBLINGS):
                self.to_send.add(key)
        statistics = self.spread.statistics()
        assert statistics["entries_forgotten"] == 0
        assert self.spread.waiting >= len({key for key in self.to_send if self.is_due(key)})
        assert (self.spread.waiting == 0) == (not self.spread._fresh)
        assert self.spread._fresh_bytes == sum(self.spread._sizes.values())


TestSpread = SpreadMachine.TestCase
TestSpread.settings = settings(max_examples=150, stateful_step_count=60)


def test_when_too_many_are_own_the_oldest_sent_is_forgotten_first_and_the_bound_holds() -> None:
    pools = Waiting()
    spread = Spread(pools, own_max=10)
    keys = [Key(EntryKind.TRANSACTION, RollupId(1), keccak256(bytes([n]))) for n in range(30)]
    for number, key in enumerate(keys):
        pools.entries[key] = bytes([number])
        spread.collect(key, 1)
        if number == 4:
            assert spread.next_batch() is not None
    statistics = spread.statistics()
    assert statistics["entries_to_send"] + statistics["entries_on_their_way"] == 10
    assert statistics["entries_forgotten"] == 20
    outgoing = spread.next_batch()
    assert outgoing is not None
    assert list(outgoing.keys) == keys[20:]


def test_what_is_stuck_is_sent_ever_more_rarely_and_leaves_the_common_pool_between() -> None:
    pools = Waiting()
    spread = Spread(pools)
    key = Key(EntryKind.TRANSACTION, RollupId(1), keccak256(b"stuck"))
    pools.entries[key] = b"stuck"
    spread.collect(key, 5)
    sent_at, kept = [], 0
    batch_hash: Hash32 | None = None
    for height in range(1, 2_000):
        spread.on_decided(Height(height))
        outgoing = spread.next_batch()
        if outgoing is not None:
            sent_at.append(height)
            batch_hash = outgoing.hash
        assert batch_hash is not None
        kept += spread.is_kept(batch_hash)
    assert [later - sooner for sooner, later in pairwise(sent_at)] == [
        SPREAD_AGAIN_HEIGHTS << min(times, SPREAD_AGAIN_DOUBLINGS) for times in range(len(sent_at) - 1)
    ]
    assert kept == SPREAD_KEPT_HEIGHTS * len(sent_at)


def test_others_share_of_the_common_pool_is_bounded_and_own_batches_have_their_own() -> None:
    pools = Waiting()
    spread = Spread(pools)

    def entry(number: int, size: int) -> Key:
        key = Key(EntryKind.TRANSACTION, RollupId(1), keccak256(number.to_bytes(8, "big")))
        pools.entries[key] = number.to_bytes(8, "big") + bytes(size)
        return key

    taken = 0
    while spread.held.has_room(BATCH_BYTES_MAX, 1):
        spread.take_in(Hash32(keccak256(b"fat %d" % taken)), [entry(taken, 1)], BATCH_BYTES_MAX)
        taken += 1
    assert taken == SPREAD_HELD_BYTES_MAX // BATCH_BYTES_MAX
    sent = 0
    for number in range(2 * taken):
        for part in range(4):
            spread.collect(entry(10_000 + 4 * number + part, 131_000), 131_000)
        sent += spread.next_batch() is not None
    assert sent > taken - 2, "the others' share is not taken from one's own"
    assert spread.statistics()["bytes_held_own"] <= SPREAD_HELD_BYTES_MAX
    assert spread.waiting > 0
    pools.entries.clear()
    for height in range(1, 5):
        spread.on_decided(Height(height))
    assert spread.statistics()["bytes_held_own"] == spread.statistics()["bytes_held_others"] == 0
    thin = 0
    while spread.held.has_room(200, 1):
        spread.take_in(Hash32(keccak256(b"thin %d" % thin)), [entry(20_000 + thin, 1)], 200)
        thin += 1
    assert thin == SPREAD_THIN_BATCHES_MAX
    assert spread.held.has_room(200, 100)
    assert spread.held.has_room(BATCH_BYTES_MAX, 1)
