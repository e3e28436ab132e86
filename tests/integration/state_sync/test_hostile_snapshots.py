"""Snapshots that are not what the network agreed on are refused by name, whatever they are, and leave no trace.

A forger has everything: it changes parts and makes a manifest that fits them, so that every chunk has the right hash.
"""

import shutil
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from random import Random
from zlib import crc32

import pytest
from msgspec.structs import replace

from plait.codec.rlp import encode_bytes, encode_bytes_list, encode_list
from plait.ledger.encoding import encode_ledger
from plait.limits import NETWORK_SNAPSHOT_SENDERS_MAX
from plait.node.network_snapshot import decode_head
from plait.node.state_sync import ApplyResult, OfferResult, SnapshotDescription
from plait.node.take_over import check_open
from plait.storage.manifest import FORMAT, MANIFEST_BYTES_MAX, Manifest, RollupParts
from plait.storage.network_snapshots import NetworkSnapshot, NetworkSnapshots, describe
from tests.integration.state_sync.chain import OpenHome, join, two_rollups

Change = Callable[[Path], None]
HEIGHT = 43


@pytest.fixture(scope="module")
def giver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenHome]:
    with OpenHome(tmp_path_factory.mktemp("giver") / "home", two_rollups()) as home:
        home.decide(HEIGHT, transactions=8)
        home.take()
        assert all(record.open_block.transaction_count > 3 for record in home.application.ledger.rollups)
        yield home


@pytest.fixture
def taker(tmp_path: Path) -> Iterator[OpenHome]:
    with OpenHome(tmp_path / "taker", two_rollups()) as home:
        yield home


def forge(giver: OpenHome, folder: Path, change: Change, rollups: list[RollupParts] | None = None) -> NetworkSnapshots:
    """The giver's snapshot with changed parts and a manifest that fits them."""
    held = giver.stored.network_snapshots.newest()
    shutil.rmtree(folder, ignore_errors=True)
    snapshots = NetworkSnapshots(folder, held.manifest.network)
    work = snapshots.begin(held.height)
    for part in held.manifest.parts:
        shutil.copy(held.path / part.name, work / part.name)
    change(work)
    if rollups is None:
        rollups = [
            RollupParts(
                one.rollup_id,
                (work / f"{one.rollup_id}-open").stat().st_size,
                tuple((work / f"{one.rollup_id}-blocks-{age}").stat().st_size for age in range(len(one.spans))),
                (work / f"{one.rollup_id}-state").stat().st_size,
            )
            for one in held.manifest.rollups
        ]
    snapshots.finish(work, describe(held.manifest.network, held.height, work, rollups, {}))
    return snapshots


def description(held: NetworkSnapshot) -> SnapshotDescription:
    manifest = held.manifest
    return SnapshotDescription(
        height=manifest.height,
        format=FORMAT,
        chunks=manifest.chunks,
        hash=manifest.hash,
        metadata=manifest.encoded,
    )


def code_of(snapshots: NetworkSnapshots, taker: OpenHome, app_hash: bytes) -> str | None:
    """Why the taker refuses it; None when it is taken. The taker is as before after a refusal."""
    held = snapshots.newest()
    assert held is not None
    before = taker.application.info()
    assert taker.service.offer(description(held), app_hash) is OfferResult.ACCEPT
    for index in range(held.manifest.chunks):
        chunk = snapshots.chunk(held.height, index)
        assert chunk is not None
        answer = taker.service.apply_chunk(index, chunk, "forger")
        if answer.result is not ApplyResult.ACCEPT:
            assert answer.result is ApplyResult.REJECT_SNAPSHOT, answer
            assert answer.reject_senders == ("forger",)
            assert taker.application.info() == before
            path = taker.stored.directory.path
            assert not (path / "restore").exists()
            assert not (path / "restoring").exists()
            assert [taker.restored.store.head_number(rollup_id) for rollup_id in (901, 902)] == [0, 0]
            return answer.code
    return None


def head_with(giver: OpenHome, change: Callable[[bytes, bytes], tuple[bytes, bytes]]) -> Change:
    def act(work: Path) -> None:
        header, ledger = decode_head((work / "head").read_bytes())
        (work / "head").write_bytes(encode_list(map(encode_bytes, change(header, encode_ledger(ledger)))))

    return act


def ledger_without_digest(giver: OpenHome) -> bytes:
    ledger = giver.application.ledger
    one, other = ledger.rollups
    opened = replace(one.open_block, digest=bytes(32))
    return encode_ledger(replace(ledger, rollups=(replace(one, open_block=opened), other)))


def open_with(giver: OpenHome, change: Callable[[list[bytes]], list[bytes]]) -> Change:
    def act(work: Path) -> None:
        record = giver.application.ledger.rollups[0]
        raws = check_open(record, (work / "901-open").read_bytes())
        (work / "901-open").write_bytes(encode_bytes_list(change(raws)))

    return act


def blocks_of(data: bytes) -> list[bytes]:
    found: list[bytes] = []
    while data:
        end = 4 + int.from_bytes(data[:4], "little")
        found.append(data[:end])
        data = data[end:]
    return found


def blocks_with(change: Callable[[list[bytes]], list[bytes]]) -> Change:
    def act(work: Path) -> None:
        path = work / "902-blocks-0"
        path.write_bytes(b"".join(change(blocks_of(path.read_bytes()))))

    return act


def older_state(giver: OpenHome, tmp_path: Path) -> Change:
    """A whole, undamaged state of an earlier height."""
    with OpenHome(tmp_path / "older", two_rollups()) as older:
        older.decide(HEIGHT - 8, transactions=8)
        older.take()
        data = (older.stored.network_snapshots.newest().path / "901-state").read_bytes()
    return lambda work: (work / "901-state").write_bytes(data) and None


def test_every_kind_of_forgery_is_refused_by_name_and_an_honest_snapshot_is_taken_afterwards(
    giver: OpenHome, taker: OpenHome, tmp_path: Path
) -> None:
    foreign = (giver.stored.network_snapshots.newest().path / "902-state").read_bytes()
    kinds: dict[str, tuple[Change, str]] = {
        "another ledger": (head_with(giver, lambda h, _: (h, ledger_without_digest(giver))), "snapshot_head_wrong"),
        "another header": (
            head_with(giver, lambda h, ledger: (h[:-1] + bytes([h[-1] ^ 1]), ledger)),
            "snapshot_head_wrong",
        ),
        "no header": (head_with(giver, lambda _, ledger: (b"", ledger)), "snapshot_head_wrong"),
        "a transaction left out": (open_with(giver, lambda raws: raws[:-1]), "snapshot_open_block_wrong"),
        "a transaction twice": (open_with(giver, lambda raws: [*raws, raws[-1]]), "snapshot_open_block_wrong"),
        "another order": (open_with(giver, lambda raws: raws[::-1]), "snapshot_open_block_wrong"),
        "an invented transaction": (
            open_with(giver, lambda raws: [*raws[:-1], b"\x02\xc0"]),
            "snapshot_open_block_wrong",
        ),
        "no list": (lambda work: (work / "901-open").write_bytes(b"\x81") and None, "snapshot_open_block_wrong"),
        "a block left out": (blocks_with(lambda blocks: blocks[:3] + blocks[4:]), "snapshot_blocks_wrong"),
        "the lowest block left out": (blocks_with(lambda blocks: blocks[:-1]), "snapshot_blocks_wrong"),
        "the head left out": (blocks_with(lambda blocks: blocks[1:]), "snapshot_blocks_wrong"),
        "a block twice": (blocks_with(lambda blocks: [blocks[0], *blocks]), "snapshot_blocks_wrong"),
        "a block below the lowest": (blocks_with(lambda blocks: [*blocks, blocks[-1]]), "snapshot_blocks_wrong"),
        "blocks upside down": (blocks_with(lambda blocks: blocks[::-1]), "snapshot_blocks_wrong"),
        "a block of great length": (
            blocks_with(lambda blocks: [b"\xff\xff\xff\xff", *blocks]),
            "snapshot_blocks_wrong",
        ),
        "a block cut off": (blocks_with(lambda blocks: [*blocks[:-1], blocks[-1][:-1]]), "snapshot_blocks_wrong"),
        "bytes after a block": (
            blocks_with(lambda b: [(len(b[0]) - 3).to_bytes(4, "little") + b[0][4:] + b"\x00", *b[1:]]),
            "snapshot_blocks_wrong",
        ),
        "a state of another height": (older_state(giver, tmp_path), "snapshot_state_wrong"),
        "a state of another rollup": (lambda w: (w / "901-state").write_bytes(foreign) and None, "snapshot_foreign"),
        "half a state": (
            lambda w: (w / "901-state").write_bytes((w / "901-state").read_bytes()[:2000]) and None,
            "snapshot_truncated",
        ),
        "no state": (lambda w: (w / "901-state").write_bytes(b"nothing like it") and None, "snapshot_format"),
    }
    app_hash = giver.application.app_hash
    for name, (change, code) in kinds.items():
        assert code_of(forge(giver, tmp_path / "forged", change), taker, app_hash) == code, name
    assert code_of(forge(giver, tmp_path / "forged", lambda _: None), taker, app_hash) is None
    assert taker.application.info() == giver.application.info()


@pytest.mark.parametrize("part", ["head", "901-open", "901-blocks-0", "901-state", "902-blocks-0"])
def test_no_changed_byte_is_taken(giver: OpenHome, taker: OpenHome, tmp_path: Path, part: str) -> None:
    random = Random(part)
    app_hash = giver.application.app_hash
    size = (giver.stored.network_snapshots.newest().path / part).stat().st_size
    codes: dict[str | None, int] = {}
    for at in [0, 1, 2, 3, 4, size - 1, size - 2, *(random.randrange(size) for _ in range(53))]:
        bit = 1 << random.randrange(8)

        def flip(work: Path, at: int = at, bit: int = bit) -> None:
            data = bytearray((work / part).read_bytes())
            data[at] ^= bit
            (work / part).write_bytes(data)

        code = code_of(forge(giver, tmp_path / "forged", flip), taker, app_hash)
        assert code is not None, f"byte {at} of {part}, bit {bit}"
        assert code.startswith("snapshot_"), (at, bit, code)
        codes[code] = codes.get(code, 0) + 1
    print(part, codes)


def test_a_changed_account_is_found_also_behind_right_checksums(
    giver: OpenHome, taker: OpenHome, tmp_path: Path
) -> None:
    """The checksums of a state file are against accidents; against a forger it is the root that counts."""
    random = Random("accounts")
    for _ in range(40):
        code = code_of(forge(giver, tmp_path / "forged", _rechecked(random)), taker, giver.application.app_hash)
        assert code in {"snapshot_root_mismatch", "snapshot_corrupt", "snapshot_code_missing"}, code


def _rechecked(random: Random) -> Change:
    """Changes a byte of an account, or of a code, and every checksum over it."""

    def act(work: Path) -> None:
        path = work / "901-state"
        data = path.read_bytes()
        chunks, at = [], 8
        while at < len(data):
            kind, length = data[at : at + 1], int.from_bytes(data[at + 1 : at + 5], "little")
            chunks.append((kind, bytearray(data[at + 9 : at + 9 + length])))
            at += 9 + length
        _, payload = random.choice([chunk for chunk in chunks if chunk[0] in {b"A", b"C"}])
        payload[random.randrange(4, len(payload))] ^= 1 << random.randrange(8)
        out = data[:8]
        for kind, payload in chunks:
            if kind == b"E":
                payload[-4:] = crc32(out).to_bytes(4, "little")
            head = kind + len(payload).to_bytes(4, "little")
            out += head + crc32(head + payload).to_bytes(4, "little") + payload
        path.write_bytes(out)

    return act


def test_parts_that_the_ledger_does_not_need_or_lacks_are_refused(
    giver: OpenHome, taker: OpenHome, tmp_path: Path
) -> None:
    one, other = giver.stored.network_snapshots.newest().manifest.rollups
    cases = {
        "a rollup too few": [one],
        "a rollup too many": [one, other, RollupParts(903, 1, (), 1)],
        "a span too many": [RollupParts(901, one.open_bytes, (*one.spans, 1), one.state_bytes), other],
        "a span too few": [RollupParts(901, one.open_bytes, (), one.state_bytes), other],
    }

    def add(work: Path) -> None:
        for name in ("903-open", "903-state", "901-blocks-1"):
            (work / name).write_bytes(b"x")

    for name, rollups in cases.items():
        forged = forge(giver, tmp_path / "forged", add, rollups)
        assert code_of(forged, taker, giver.application.app_hash) == "snapshot_parts_wrong", name


def test_an_honest_snapshot_is_refused_for_another_app_hash(giver: OpenHome, taker: OpenHome, tmp_path: Path) -> None:
    app_hash = giver.application.app_hash
    for wrong in (bytes(32), bytes([app_hash[0] ^ 1]) + app_hash[1:]):
        assert code_of(giver.stored.network_snapshots, taker, wrong) == "snapshot_head_wrong"


def test_offers_that_are_not_what_they_say_are_refused_at_once(giver: OpenHome, taker: OpenHome) -> None:
    app_hash = giver.application.app_hash
    good = giver.service.list()[0]
    held = giver.stored.network_snapshots.newest().manifest
    foreign = Manifest(bytes(32), held.height, held.head_bytes, held.rollups, held.hashes)
    garbage = b"\xc0" * 100
    huge = bytes(MANIFEST_BYTES_MAX + 1)
    cases: dict[str, tuple[SnapshotDescription, bytes, OfferResult, str]] = {
        "format": (_with(good, format=2), app_hash, OfferResult.REJECT_FORMAT, "snapshot_format_unknown"),
        "hash": (_with(good, hash=bytes(32)), app_hash, OfferResult.REJECT, "snapshot_hash_wrong"),
        "metadata": (_with(good, metadata=good.metadata[:-1]), app_hash, OfferResult.REJECT, "snapshot_hash_wrong"),
        "height": (_with(good, height=44), app_hash, OfferResult.REJECT, "snapshot_manifest_wrong"),
        "chunks": (_with(good, chunks=1), app_hash, OfferResult.REJECT, "snapshot_manifest_wrong"),
        "garbage": (_of(garbage), app_hash, OfferResult.REJECT, "snapshot_manifest_wrong"),
        "huge": (_of(huge), app_hash, OfferResult.REJECT, "snapshot_hash_wrong"),
        "network": (_of(foreign.encoded, good), app_hash, OfferResult.REJECT, "snapshot_foreign"),
        "no app hash": (good, b"", OfferResult.REJECT, "snapshot_app_hash_missing"),
    }
    for name, (offered, wanted, result, code) in cases.items():
        taker.service.refusals.clear()
        assert taker.service.offer(offered, wanted) is result, name
        assert dict(taker.service.refusals) == {code: 1}, name
        assert taker.service.apply_chunk(0, b"", "x").code == "snapshot_not_offered"


def test_an_offer_larger_than_the_disk_does_not_end_the_search(giver: OpenHome, taker: OpenHome) -> None:
    """Its size is a peer's word only; CometBFT gives up for good on ABORT."""
    held = giver.stored.network_snapshots.newest()
    assert held is not None
    free = shutil.disk_usage(taker.stored.directory.path).free
    large = [replace_state(one, free) for one in held.manifest.rollups]
    blank = Manifest(held.manifest.network, held.height, held.manifest.head_bytes, large, b"")
    lie = Manifest(held.manifest.network, held.height, held.manifest.head_bytes, large, bytes(32 * blank.chunks))
    offered = SnapshotDescription(
        height=held.height, format=FORMAT, chunks=lie.chunks, hash=sha256(lie.encoded).digest(), metadata=lie.encoded
    )
    assert taker.service.offer(offered, giver.application.app_hash) is OfferResult.REJECT
    assert dict(taker.service.refusals) == {"disk_full": 1}
    assert join(giver.service, taker.service, giver.application.app_hash).result is ApplyResult.ACCEPT


def replace_state(parts: RollupParts, size_bytes: int) -> RollupParts:
    return RollupParts(parts.rollup_id, parts.open_bytes, parts.spans, min(size_bytes, 30_000 * 1024 * 1024))


def test_chunks_that_are_not_the_ones_are_fetched_again_from_others(giver: OpenHome, taker: OpenHome) -> None:
    good = giver.service.list()[0]
    assert taker.service.offer(good, giver.application.app_hash) is OfferResult.ACCEPT
    chunk = giver.service.load_chunk(good.height, FORMAT, 1)
    for wrong in (b"", chunk[:-1], chunk + b"\x00", bytes([chunk[0] ^ 1]) + chunk[1:], bytes(17 * 2**20)):
        answer = taker.service.apply_chunk(1, wrong, "liar")
        assert answer.result is ApplyResult.RETRY
        assert (answer.refetch, answer.reject_senders, answer.code) == ((1,), ("liar",), "snapshot_chunk_wrong")
    for index in (-1, good.chunks, 2**31):
        assert taker.service.apply_chunk(index, chunk, "liar").result is ApplyResult.REJECT_SNAPSHOT
    for index in range(good.chunks):
        data = giver.service.load_chunk(good.height, FORMAT, index)
        assert taker.service.apply_chunk(index, data, "honest").result is ApplyResult.ACCEPT
    assert taker.application.info() == giver.application.info()


def test_memory_for_senders_is_bounded(giver: OpenHome, taker: OpenHome) -> None:
    good = giver.service.list()[0]
    taker.service.offer(good, giver.application.app_hash)
    chunk = giver.service.load_chunk(good.height, FORMAT, 1)
    for number in range(1_000):
        taker.service.apply_chunk(1, chunk, f"{number}" * 1_000)
    restore = taker.service._restore
    assert restore is not None
    assert len(restore.senders) == NETWORK_SNAPSHOT_SENDERS_MAX
    assert max(map(len, restore.senders)) == 128


def test_chunks_of_snapshots_that_are_not_there_are_empty(giver: OpenHome) -> None:
    for height, format_, index in ((HEIGHT, 2, 0), (HEIGHT + 1, FORMAT, 0), (HEIGHT, FORMAT, 10**6), (0, FORMAT, -1)):
        assert giver.service.load_chunk(height, format_, index) == b""


def test_an_interrupted_offer_is_replaced_by_the_next(giver: OpenHome, taker: OpenHome) -> None:
    good = giver.service.list()[0]
    taker.service.offer(good, giver.application.app_hash)
    taker.service.apply_chunk(0, giver.service.load_chunk(good.height, FORMAT, 0), "peer")
    assert join(giver.service, taker.service, giver.application.app_hash).result is ApplyResult.ACCEPT


def _with(good: SnapshotDescription, **changes: object) -> SnapshotDescription:
    return replace(good, **changes)


def _of(metadata: bytes, good: SnapshotDescription | None = None) -> SnapshotDescription:
    return SnapshotDescription(
        height=HEIGHT,
        format=FORMAT,
        chunks=1 if good is None else good.chunks,
        hash=sha256(metadata).digest() if len(metadata) <= MANIFEST_BYTES_MAX else bytes(32),
        metadata=metadata,
    )
