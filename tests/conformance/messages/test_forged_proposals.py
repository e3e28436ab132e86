"""Proposals taken apart and put together wrongly: items moved between the sections, left out, doubled, given to another
bundle, bundles reordered or with other terms. Commitments and ledger root are those of what the forged proposal would
execute, so that only the rules themselves can refuse it.

Whatever the judge refuses changes nothing. What it accepts (some changes give another proposal that is valid) is
decided on a copy and has to satisfy the independent reading of proposals.py and the message checker.
More: PLAIT_FORGED_WORLDS=100 pytest tests/conformance/messages/test_forged_proposals.py
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from random import Random
from typing import Any

import msgspec
import pytest
import rlp

from plait.crypto.commitments import commit
from plait.errors import CodecError, ProposalRefused
from plait.execution.candidate import Candidate
from plait.native import NativeError, merkle_root
from plait.protocol import bundles, checking
from plait.protocol.application import Application
from plait.protocol.proposal import decode_proposal, encode_header, encode_proposal
from plait.protocol.requests import Accepted, FinalizeRequest, PreparedProposal, PrepareRequest, ProcessRequest
from plait.protocol.sub_block import complete
from plait.types import NOTHING_AGREED, Hash32, Height, Milliseconds, RollupId
from tests.conformance.messages.bundled_rollups import BundledRollups, outcomes_of
from tests.conformance.messages.checker import judge
from tests.conformance.messages.proposals import faults_of

WORLDS = int(os.environ.get("PLAIT_FORGED_WORLDS", "3"))
HEIGHTS = 40
FORGERIES_PER_HEIGHT = 6

Blocks = dict[int, list[bytes]]
Entries = list[tuple[int, bytes]]
"""Stamp and terms."""
Forge = Callable[[Random, Blocks, Entries], bool]
"""Changes blocks and entries in place; False where it cannot."""


def places(blocks: Blocks, *kinds: int) -> list[tuple[int, int]]:
    return [(i, place) for i, items in blocks.items() for place, item in enumerate(items) if item[0] in kinds]


def relay_to_plain(random: Random, blocks: Blocks, entries: Entries) -> bool:
    if not (found := places(blocks, 2)):
        return False
    rollup_id, place = random.choice(found)
    blocks[rollup_id][place] = bytes(7) + blocks[rollup_id][place][1:]
    return True


def plain_to_relay(random: Random, blocks: Blocks, entries: Entries) -> bool:
    if not (found := places(blocks, 0)):
        return False
    rollup_id, place = random.choice(found)
    item = blocks[rollup_id].pop(place)
    blocks[rollup_id].append(b"\2" + item[7:])
    return True


def deliveries_to_relays(random: Random, blocks: Blocks, entries: Entries) -> bool:
    if not (found := places(blocks, 3)):
        return False
    rollup_id, place = random.choice(found)
    item = blocks[rollup_id].pop(place)
    blocks[rollup_id] += [b"\2" + raw for raw in rlp.decode(item[33:])]
    return True


def relay_to_deliveries(random: Random, blocks: Blocks, entries: Entries) -> bool:
    """After a leg, under the name of its bundle."""
    if not (found := places(blocks, 2)):
        return False
    rollup_id, place = random.choice(found)
    legs = [at for i, at in places(blocks, 1) if i == rollup_id]
    if not legs:
        return False
    item = blocks[rollup_id].pop(place)
    at = random.choice(legs)
    blocks[rollup_id].insert(at + 1, b"\3" + blocks[rollup_id][at][1:33] + rlp.encode([item[1:]]))
    return True


def plain_to_deliveries(random: Random, blocks: Blocks, entries: Entries) -> bool:
    legs, plain = places(blocks, 1), places(blocks, 0)
    both = [(leg, one) for leg in legs for one in plain if leg[0] == one[0]]
    if not both:
        return False
    (rollup_id, at), (_, place) = random.choice(both)
    item = blocks[rollup_id].pop(place)
    blocks[rollup_id].insert(at + 1, b"\3" + blocks[rollup_id][at][1:33] + rlp.encode([item[7:]]))
    return True


def left_out(random: Random, blocks: Blocks, entries: Entries) -> bool:
    if not (found := places(blocks, 1, 2, 3)):
        return False
    rollup_id, place = random.choice(found)
    del blocks[rollup_id][place]
    return True


def doubled(random: Random, blocks: Blocks, entries: Entries) -> bool:
    if not (found := places(blocks, 0, 1, 2, 3)):
        return False
    rollup_id, place = random.choice(found)
    blocks[rollup_id].insert(place, blocks[rollup_id][place])
    return True


def swapped(random: Random, blocks: Blocks, entries: Entries) -> bool:
    found = [rollup_id for rollup_id, items in blocks.items() if len(items) > 1]
    if not found:
        return False
    items = blocks[random.choice(found)]
    left, right = random.sample(range(len(items)), 2)
    items[left], items[right] = items[right], items[left]
    return True


def to_another_rollup(random: Random, blocks: Blocks, entries: Entries) -> bool:
    if len(blocks) < 2:
        return False
    source, target = random.sample(sorted(blocks), 2)
    if not blocks[source]:
        return False
    item = blocks[source].pop(random.randrange(len(blocks[source])))
    blocks[target].insert(random.randrange(len(blocks[target]) + 1), item)
    return True


def bundle_left_out(random: Random, blocks: Blocks, entries: Entries) -> bool:
    """The entry alone; its items stay."""
    if not entries:
        return False
    del entries[random.randrange(len(entries))]
    return True


def bundles_reordered(random: Random, blocks: Blocks, entries: Entries) -> bool:
    if len(entries) < 2:
        return False
    at = random.randrange(len(entries) - 1)
    entries[at], entries[at + 1] = entries[at + 1], entries[at]
    return True


def stamp_changed(random: Random, blocks: Blocks, entries: Entries) -> bool:
    if not entries:
        return False
    at = random.randrange(len(entries))
    entries[at] = (max(0, entries[at][0] + random.choice((-10_000, 1, 10_000))), entries[at][1])
    return True


def terms_changed(random: Random, blocks: Blocks, entries: Entries) -> bool:
    """Another number in the terms: window, bid, flag, pin; sometimes the items follow the new hash."""
    if not entries:
        return False
    at = random.randrange(len(entries))
    terms = rlp.decode(entries[at][1], strict=True)
    old = bundles_hash(entries[at][1])
    kind = random.randrange(4)
    if kind == 0:
        terms[6] = b"" if terms[6] else b"\1"
    elif kind == 1 and terms[7]:
        terms[7] = []
    elif kind == 2:
        terms[5] = [] if terms[5] else [rlp.encode(sorted(blocks)[0])[-2:], b"\7"]
    else:
        terms[2] = (int.from_bytes(terms[2], "big") + 1).to_bytes(4, "big").lstrip(b"\0")
    changed = rlp.encode(terms)
    entries[at] = (entries[at][0], changed)
    if random.randrange(4):
        for items in blocks.values():
            items[:] = [
                item[:1] + bundles_hash(changed) + item[33:] if item[1:33] == old and item[0] in {1, 3} else item
                for item in items
            ]
    return True


def bundles_hash(terms: bytes) -> bytes:
    return sha256(terms).digest()


FORGERIES: tuple[Forge, ...] = (
    relay_to_plain, plain_to_relay, deliveries_to_relays, relay_to_deliveries, plain_to_deliveries, left_out, doubled,
    swapped, to_another_rollup, bundle_left_out, bundles_reordered, stamp_changed, terms_changed,
)  # fmt: skip


def forged(world: Forging, honest: bytes, change: Forge) -> bytes | None:
    """The honest proposal, changed, with commitments and ledger root that fit; None where the change cannot be made."""
    parts = decode_proposal(honest)
    blocks: Blocks = {rollup_id: list(items) for rollup_id, items in parts.blocks}
    entries: Entries = [(entry.stamp_ms, entry.terms_bytes) for entry in parts.bundles]
    application = world.proposer
    if not change(world.tries, blocks, entries):
        return None
    kept = [(RollupId(rollup_id), items) for rollup_id, items in sorted(blocks.items()) if items]
    encoded = [rlp.encode([stamp, terms]) for stamp, terms in entries]
    header = msgspec.structs.replace(
        parts.header,
        commitment=commit(application.ledger.rollup_ids, dict(kept)),
        bundles_root=Hash32(merkle_root(encoded)),
    )
    data = encode_proposal(encode_header(header), kept, encoded)
    root = _ledger_root(world.patch, application, data, world.time_ms)
    if root is not None:
        data = encode_proposal(encode_header(msgspec.structs.replace(header, ledger_root=root)), kept, encoded)
    return data


def _ledger_root(
    patch: pytest.MonkeyPatch, application: Application, data: bytes, time_ms: Milliseconds
) -> Hash32 | None:
    """The ledger root after executing a proposal with no rule in force; None where it cannot be executed at all."""
    real = bundles.try_bundle

    def permissive(candidate: Candidate, *rest: Any, **options: Any) -> Any:
        trial = real(candidate, *rest, **options)
        return trial._replace(failure=None)

    with patch.context() as inside, suppress(CodecError, ProposalRefused, NativeError, StopIteration, KeyError):
        inside.setattr(Candidate, "rollback", lambda self, marks: None)
        inside.setattr(bundles, "try_bundle", permissive)
        for name in ("check_entries", "check_order", "check_relays"):
            inside.setattr(checking, name, lambda *_, **__: None)
        inside.setattr(checking, "refuse_messages", lambda *_: None)
        inside.setattr(checking, "demanded_messages", lambda *_: frozenset())
        proposal = decode_proposal(data)
        base, advanced = application._base, application._advance(time_ms)
        runs, ran, messages = checking.run_items(advanced, proposal, time_ms, None)
        work = application._begin(advanced, time_ms, NOTHING_AGREED)
        commitment = proposal.header.commitment
        made = complete(base, advanced, runs, time_ms, commitment, work=work, bundles=ran, messages=messages)
        return made.header.ledger_root
    return None


NOTICED = frozenset(
    {"bundle_item_unexpected", "bundle_leg_missing", "bundle_leg_mismatch", "bundle_order", "relay_invalid"}
)
"""Refusals whose reason the independent reading must see too, in the forged bytes."""


class Forging(BundledRollups):
    """A world whose judge is shown forgeries of every proposal before the honest one."""

    def __init__(self, seed: int, patch: pytest.MonkeyPatch) -> None:
        super().__init__(seed)
        self.patch = patch
        self.tries = Random(seed)
        self.verdicts: Counter[str] = Counter()
        self.noticed: list[bool] = []

    def _decide(self, height: Height, prepared: PreparedProposal) -> Any:
        before = self.judge.info()
        refused: list[tuple[str, str, bytes]] = []
        for _ in range(FORGERIES_PER_HEIGHT if prepared.transactions else 0):
            change = self.tries.choice(FORGERIES)
            data = forged(self, prepared.proposal, change)
            if data is None or data == prepared.proposal:
                continue
            verdict = self.judge.process(ProcessRequest(height=height, time_ms=self.time_ms, proposal=data))
            assert self.judge.info() == before
            name = "accepted" if isinstance(verdict, Accepted) else verdict.code
            self.verdicts[f"{change.__name__}: {name}"] += 1
            if isinstance(verdict, Accepted):
                self._check_accepted(height, data, f"seed {self.seed}, height {height}, {change.__name__}")
            elif name in NOTICED:
                refused.append((change.__name__, name, data))
        effect = super()._decide(height, prepared)
        outcomes = outcomes_of(self.judge)
        for change_name, code, data in refused:  # with the outcomes of the honest one: all it takes to see these
            with suppress(KeyError):  # a transaction of another rollup
                noticed = bool(faults_of(data, outcomes, self.ids))
                where = f"seed {self.seed}, height {height}, {change_name}, {code}"
                assert noticed or code == "relay_invalid", f"{where}: the independent reading sees nothing wrong"
                self.noticed.append(noticed)  # a relay may fail only because it stands elsewhere
        return effect

    def _check_accepted(self, height: Height, data: bytes, where: str) -> None:
        """Decides the forgery on a copy, and looks at what came of it."""
        copy = self._application()
        for effect in self.effects:
            copy.finalize(
                FinalizeRequest(
                    height=effect.height, time_ms=effect.time_ms, proposal=effect.proposal, senders=effect.senders
                )
            )
            copy.commit()
        copy.finalize(FinalizeRequest(height=height, time_ms=self.time_ms, proposal=data))
        copy.commit()
        faults = faults_of(data, outcomes_of(copy), self.ids)
        assert not faults, f"{where}: {faults}"
        for _ in range(4):  # the open blocks become sealed ones, which the checker can read
            time_ms = Milliseconds(copy.ledger.time_ms + 1_000)
            empty = copy.prepare(_empty(copy, time_ms)).proposal
            copy.finalize(FinalizeRequest(height=Height(copy.ledger.height + 1), time_ms=time_ms, proposal=empty))
            copy.commit()
        kept, self.judge = self.judge, copy
        try:
            assert judge(self.chains(), self.blocks()) == [], where
        finally:
            self.judge = kept


def _empty(application: Application, time_ms: Milliseconds) -> Any:
    return PrepareRequest(height=Height(application.ledger.height + 1), time_ms=time_ms, candidates={})


def test_forged_proposals_are_refused_or_keep_every_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every kind of change was tried, most were refused, and those accepted hold."""
    verdicts: Counter[str] = Counter()
    for seed in range(1, WORLDS + 1):
        world = Forging(seed, monkeypatch)
        for _ in range(HEIGHTS):
            world.step()
        verdicts += world.verdicts
        assert sum(world.noticed) > 0.8 * len(world.noticed)
    print("\n" + "\n".join(f"{name:<50} {count}" for name, count in sorted(verdicts.items())))
    tried = {name.split(":")[0] for name in verdicts}
    assert tried == {change.__name__ for change in FORGERIES}, f"never tried: {verdicts}"
    accepted = sum(count for name, count in verdicts.items() if name.endswith(": accepted"))
    assert accepted < sum(verdicts.values()) // 2
