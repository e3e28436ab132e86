"""Every rule of a proposal: breaking it, and only it, is refused by its own code, and the refusal leaves no trace.

`Situation.refusal` checks the trace: the judge's state is unchanged and it accepts the honest proposal right after.
"""

import re
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import msgspec
import pytest
import rlp

from plait.errors import InvariantBroken
from plait.limits import (
    CATCH_UP_BLOCKS_PER_SUB_BLOCK_MAX,
    PROPOSAL_BYTES_MAX,
    PROPOSAL_ITEMS_MAX,
    ROLLUPS_MAX,
    SUB_BLOCKS_PER_SLOT_MAX,
)
from plait.protocol.proposal import decode_proposal, encode_header, encode_items, encode_proposal, split_items
from plait.protocol.requests import Accepted, FinalizeRequest
from plait.types import BlockNumber, Hash32, L1Origin, Milliseconds, RollupId
from sim.forging import with_blocks, with_header, with_transactions
from sim.situation import ARRIVAL, FEE, Situation, at_slot, at_slot_4, queues, small_network, transfer
from sim.wallet import Wallet

OTHER = Hash32(b"\x77" * 32)
STRANGER = Wallet.of_index(0, "rules stranger")


@pytest.fixture(scope="module")
def shared() -> Situation:
    return at_slot_4()


@pytest.fixture
def situation(shared: Situation) -> Iterator[Situation]:
    """Refusals leave no trace, so one situation serves all tests that decide nothing."""
    before = shared.judge.info()
    yield shared
    assert shared.judge.info() == before


def only(situation: Situation, rollup_id: RollupId, raws: list[bytes], stamp_ms: int | None = None) -> bytes:
    """A proposal of these transactions alone, with commitments that fit."""
    stamp = (situation.time_ms if rollup_id == ARRIVAL else 0) if stamp_ms is None else stamp_ms
    return with_transactions(situation.proposer, situation.honest, {rollup_id: raws}, Milliseconds(stamp))


def test_the_honest_proposal_is_accepted_and_rich(situation: Situation) -> None:
    assert isinstance(situation.verdict(situation.honest), Accepted)
    header, blocks, *_ = decode_proposal(situation.honest)
    assert [(rollup_id, len(found)) for rollup_id, found in header.sealed] == [(FEE, 1), (ARRIVAL, 1)]
    assert [(rollup_id, len(items)) for rollup_id, items in blocks] == [(FEE, 6), (ARRIVAL, 6)]


# ---------------------------------------------------------------- encoding
@pytest.mark.parametrize("data", [b"", b"\x80", b"\xc0", b"\xc2\xc0\xc0", b"garbage", bytes(1_000), b"\xc1" * 50_000])
def test_bytes_that_are_no_proposal(situation: Situation, data: bytes) -> None:
    assert situation.refusal(data).code == "codec_invalid"


def test_a_proposal_above_the_bound_in_bytes(situation: Situation) -> None:
    assert situation.refusal(situation.honest + bytes(PROPOSAL_BYTES_MAX)).code == "codec_too_large"


def test_a_proposal_above_the_bound_in_items(situation: Situation) -> None:
    items = [bytes(7)] * (PROPOSAL_ITEMS_MAX // 2 + 1)
    forged = with_blocks(situation.proposer, situation.honest, [(FEE, items), (ARRIVAL, items)])
    assert situation.refusal(forged).code == "codec_too_many"


def test_more_rollups_or_sealed_blocks_than_a_sub_block_can_have(situation: Situation) -> None:
    block = (BlockNumber(1), OTHER)
    many_rollups = tuple((RollupId(1 + i), (block,)) for i in range(ROLLUPS_MAX + 1))
    many_blocks = ((FEE, (block,) * (CATCH_UP_BLOCKS_PER_SUB_BLOCK_MAX + 2)),)
    for sealed in (many_rollups, many_blocks):
        assert situation.refusal(with_header(situation.honest, sealed=sealed)).code == "codec_too_many"
    blocks = [(RollupId(1 + i), [bytes(8)]) for i in range(ROLLUPS_MAX + 1)]
    header = encode_header(decode_proposal(situation.honest).header)
    assert situation.refusal(encode_proposal(header, blocks)).code == "codec_too_many"


def test_an_unknown_version(situation: Situation) -> None:
    tree = rlp.decode(situation.honest)
    tree[0][0] = b"\x01"
    assert situation.refusal(rlp.encode(tree)).code == "codec_version_unknown"


def test_a_field_too_many_or_too_few(situation: Situation) -> None:
    for change in (lambda tree: tree[0].append(b""), lambda tree: tree[0].pop(), lambda tree: tree.append([])):
        tree = rlp.decode(situation.honest)
        change(tree)
        assert situation.refusal(rlp.encode(tree)).code == "codec_invalid"


def test_rollups_that_are_not_strictly_ascending(situation: Situation) -> None:
    for place in ((3,), (0, 11)):
        for change in (list.reverse, lambda entries: entries.append(entries[0])):
            tree = rlp.decode(situation.honest)
            entries = tree
            for step in place:
                entries = entries[step]
            change(entries)
            assert situation.refusal(rlp.encode(tree)).code == "rollups_unsorted"


def test_a_rollup_listed_without_items(situation: Situation) -> None:
    tree = rlp.decode(situation.honest)
    tree[3][0][1] = []
    assert situation.refusal(rlp.encode(tree)).code == "codec_invalid"


def test_bytes_that_are_not_canonical(situation: Situation) -> None:
    """The same values in a longer form: the outer length with a leading zero."""
    honest = situation.honest
    size_bytes = honest[0] - 0xF7
    longer = bytes([honest[0] + 1, 0]) + honest[1 : 1 + size_bytes] + honest[1 + size_bytes :]
    assert situation.refusal(longer).code == "codec_invalid"


# ---------------------------------------------------------------- agreed data and position
@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"network_id": 2}, "network_wrong"),
        ({"height": 5}, "height_wrong"),
        ({"height": 3}, "height_wrong"),
        ({"slot": 5}, "slot_wrong"),
        ({"slot": 3}, "slot_wrong"),
        ({"sub_index": 1}, "sub_index_wrong"),
        ({"parent_app_hash": OTHER}, "parent_app_hash_wrong"),
        ({"l1_origin": L1Origin(number=BlockNumber(0), hash=OTHER)}, "l1_origin_wrong"),
        ({"ledger_root": OTHER}, "ledger_root_wrong"),
        ({"sealed": ()}, "seal_missing"),
    ],
)
def test_a_header_field_with_another_value(situation: Situation, changes: dict[str, object], code: str) -> None:
    refusal = situation.refusal(with_header(situation.honest, **changes))
    assert refusal.code == code
    assert refusal.sentence


def test_another_l1_block_number(situation: Situation) -> None:
    origin = decode_proposal(situation.honest).header.l1_origin
    forged = with_header(situation.honest, l1_origin=msgspec.structs.replace(origin, number=BlockNumber(9)))
    assert situation.refusal(forged).code == "l1_origin_wrong"


def test_another_time_than_the_agreed_one(situation: Situation) -> None:
    assert situation.refusal(with_header(situation.honest, time_ms=situation.time_ms + 1)).code == "time_wrong"
    assert situation.refusal(situation.honest, time_ms=situation.time_ms + 1).code == "time_wrong"


def test_an_agreed_time_before_the_height_before(situation: Situation) -> None:
    early = situation.judge.info().time_ms - 1
    forged = with_header(situation.honest, time_ms=early)
    assert situation.refusal(forged, time_ms=early).code == "time_before_previous"


def test_a_request_for_another_height(situation: Situation) -> None:
    assert situation.refusal(situation.honest, height=situation.height + 1).code == "height_wrong"


def test_a_height_that_is_not_the_next_even_when_proposal_and_request_agree(situation: Situation) -> None:
    for height in (situation.height - 1, situation.height + 1):
        forged = with_header(situation.honest, height=height)
        assert situation.refusal(forged, height=height).code == "height_wrong"


# ---------------------------------------------------------------- commitments
@pytest.mark.parametrize(
    ("field", "code"),
    [("rollups_root", "rollups_root_wrong"), ("ids_root", "ids_root_wrong")],
)
def test_a_wrong_root(situation: Situation, field: str, code: str) -> None:
    commitment = decode_proposal(situation.honest).header.commitment
    forged = msgspec.structs.replace(commitment, **{field: OTHER})
    assert situation.refusal(with_header(situation.honest, commitment=forged)).code == code


def test_a_wrong_missing_or_additional_items_root(situation: Situation) -> None:
    commitment = decode_proposal(situation.honest).header.commitment
    roots = commitment.items_roots
    for changed in ((OTHER, roots[1]), (roots[0], OTHER), roots[::-1]):
        forged = msgspec.structs.replace(commitment, items_roots=changed)
        assert situation.refusal(with_header(situation.honest, commitment=forged)).code == "items_root_wrong"
    fewer, more = (commitment.ids[:1], roots[:1]), ((*commitment.ids, RollupId(999)), (*roots, OTHER))
    for ids, changed in (fewer, more, ((FEE, RollupId(999)), roots)):
        forged = msgspec.structs.replace(commitment, ids=ids, items_roots=changed)
        assert situation.refusal(with_header(situation.honest, commitment=forged)).code == "ids_wrong"


def test_items_of_a_rollup_that_is_not_registered(situation: Situation) -> None:
    blocks = decode_proposal(situation.honest).blocks
    forged = with_blocks(situation.proposer, situation.honest, [*blocks, (RollupId(999), blocks[0][1])])
    refusal = situation.refusal(forged)
    assert (refusal.code, refusal.fields["rollup_id"]) == ("rollup_unknown", 999)


# ---------------------------------------------------------------- items
@pytest.mark.parametrize("item", [b"", b"\x01" + bytes(6) + b"x", b"\xff" * 50, bytes(6)])
def test_an_item_of_no_known_kind(situation: Situation, item: bytes) -> None:
    blocks = list(decode_proposal(situation.honest).blocks)
    blocks[0] = (FEE, [*blocks[0][1], item])
    refusal = situation.refusal(with_blocks(situation.proposer, situation.honest, blocks))
    assert (refusal.code, refusal.fields["index"]) == ("item_kind_unknown", 6)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "rlp_malformed"),
        (b"\x02\xc0", "rlp_malformed"),
        (b"\x7e\xf8" + bytes(100), "transaction_type_unsupported"),
        (b"\x03\xc0", "transaction_type_unsupported"),
        (transfer(ARRIVAL, 3, 0), "chain_id_wrong"),
        (transfer(FEE, 3, 0) + b"\x00", "rlp_trailing_bytes"),
    ],
)
def test_an_item_that_is_not_an_acceptable_transaction(situation: Situation, raw: bytes, reason: str) -> None:
    refusal = situation.refusal(only(situation, FEE, [raw]))
    assert refusal.code == "transaction_undecodable"
    assert refusal.fields["reason"] == reason


def test_a_transaction_twice(situation: Situation) -> None:
    raw = transfer(FEE, 3, 0)
    refusal = situation.refusal(only(situation, FEE, [raw, raw]))
    assert (refusal.code, refusal.fields["index"]) == ("transaction_duplicate", 1)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (transfer(FEE, 3, 1), "nonce_too_high"),
        (STRANGER.sign_1559(FEE, 0, to=bytes(20), value=1), "insufficient_funds"),
        (transfer(FEE, 3, 0, gas_limit=30_000_001), "block_gas_limit_reached"),
        (transfer(FEE, 3, 0, gas_limit=20_999), "intrinsic_gas_too_low"),
    ],
)
def test_a_transaction_that_cannot_be_applied(situation: Situation, raw: bytes, reason: str) -> None:
    refusal = situation.refusal(only(situation, FEE, [raw]))
    assert (refusal.code, refusal.fields["reason"], refusal.fields["index"]) == (
        "transaction_not_applicable",
        reason,
        0,
    )


def test_a_transaction_that_cannot_be_applied_after_ones_that_can(situation: Situation) -> None:
    """The run stops at the offender and the whole proposal is refused, the good ones included."""
    raws = [transfer(FEE, 3, 0, tip=5), STRANGER.sign_1559(FEE, 0, to=bytes(20), max_priority_fee_per_gas=1)]
    refusal = situation.refusal(only(situation, FEE, raws))
    assert (refusal.code, refusal.fields["index"]) == ("transaction_not_applicable", 1)


def test_more_data_than_a_block_may_hold() -> None:
    """Random calldata makes the DA footprint, not gas, the limit of the block (Jovian)."""
    situation = at_slot(4, small_network(gas_limit=4_000_000))
    noise = b"".join(sha256(i.to_bytes(4, "big")).digest() for i in range(200))
    raw = transfer(FEE, 0, 0, data=noise, gas_limit=400_000)
    raws = [raw, transfer(FEE, 0, 1, data=noise, gas_limit=400_000)]
    refusal = situation.refusal(only(situation, FEE, raws))
    assert (refusal.code, refusal.fields["reason"]) == ("transaction_not_applicable", "block_da_limit_reached")


# ---------------------------------------------------------------- order
def test_items_in_another_order_than_the_policys(situation: Situation) -> None:
    for place, code in ((0, "order_out_of_policy"), (1, "stamps_decrease")):
        blocks = list(decode_proposal(situation.honest).blocks)
        rollup_id, items = blocks[place]
        blocks[place] = (rollup_id, [items[-1], *items[:-1]])
        forged = with_blocks(situation.proposer, situation.honest, blocks)
        assert situation.refusal(forged).code in {code, "nonce_order_wrong"}


def test_two_senders_against_the_fee_order(situation: Situation) -> None:
    raws = [transfer(FEE, 3, 0, tip=1), transfer(FEE, 2, 0, tip=2)]
    assert situation.refusal(only(situation, FEE, raws)).code == "order_out_of_policy"


def test_a_senders_nonces_out_of_order(situation: Situation) -> None:
    raws = [transfer(FEE, 3, 1, tip=2), transfer(FEE, 3, 0, tip=1)]
    assert situation.refusal(only(situation, FEE, raws)).code == "nonce_order_wrong"


def test_a_fee_cap_below_the_base_fee(situation: Situation) -> None:
    raws = [transfer(FEE, 3, 0, max_fee_per_gas=5)]
    assert situation.refusal(only(situation, FEE, raws)).code == "fee_cap_below_base_fee"


def test_a_stamp_of_the_future(situation: Situation) -> None:
    raws = [transfer(ARRIVAL, 3, 0)]
    assert situation.refusal(only(situation, ARRIVAL, raws, situation.time_ms + 1)).code == "stamp_in_future"


def test_stamps_that_decrease(situation: Situation) -> None:
    blocks = list(decode_proposal(situation.honest).blocks)
    columns = split_items(blocks[1][1])
    blocks[1] = (ARRIVAL, encode_items(columns.raws, columns.stamps_ms[::-1]))
    assert situation.refusal(with_blocks(situation.proposer, situation.honest, blocks)).code == "stamps_decrease"


def test_a_stamp_under_the_fee_policy(situation: Situation) -> None:
    assert situation.refusal(only(situation, FEE, [transfer(FEE, 3, 0)], 7)).code == "stamp_unused"


# ---------------------------------------------------------------- blocks of the grid
def test_a_due_block_that_is_not_sealed(situation: Situation) -> None:
    sealed = decode_proposal(situation.honest).header.sealed
    for kept in (sealed[:1], sealed[1:]):
        assert situation.refusal(with_header(situation.honest, sealed=kept)).code == "seal_missing"


def test_a_sealed_block_with_another_hash(situation: Situation) -> None:
    sealed = decode_proposal(situation.honest).header.sealed
    forged = (sealed[0], (ARRIVAL, ((BlockNumber(1), OTHER),)))
    refusal = situation.refusal(with_header(situation.honest, sealed=forged))
    assert (refusal.code, refusal.fields["rollup_id"]) == ("sealed_hash_wrong", ARRIVAL)


def test_a_block_sealed_that_is_not_due(situation: Situation) -> None:
    first, second = decode_proposal(situation.honest).header.sealed
    additional = (FEE, (*first[1], (BlockNumber(4), OTHER)))
    doubled = (FEE, (*first[1], *first[1]))
    for entry in (additional, doubled):
        assert situation.refusal(with_header(situation.honest, sealed=(entry, second))).code == "seal_unexpected"


def test_items_before_a_rollups_first_block() -> None:
    situation = at_slot(1)
    refusal = situation.refusal(only(situation, ARRIVAL, [transfer(ARRIVAL, 0, 0)]))
    assert (refusal.code, refusal.fields["rollup_id"]) == ("block_not_open", ARRIVAL)


def test_items_while_catching_up() -> None:
    """After a stall of 2,000 slots the first sub-blocks only fill; one with items is refused, an empty one is not."""
    situation = at_slot(4)
    situation.time_ms = Milliseconds(situation.time_ms + 2_000_000)
    situation.honest = situation.prepare({FEE: queues(FEE, [[transfer(FEE, 0, 0)]], situation.time_ms)}).proposal
    assert decode_proposal(situation.honest).blocks == ()
    assert situation.refusal(only(situation, FEE, [transfer(FEE, 0, 0)])).code == "items_not_allowed"


def test_items_beyond_the_last_sub_block_of_a_slot() -> None:
    situation = at_slot(1)
    for _ in range(SUB_BLOCKS_PER_SLOT_MAX):
        situation.decide(situation.prepare({}).proposal)
    candidates = {FEE: queues(FEE, [[transfer(FEE, 0, 0)]], situation.time_ms)}
    prepared = situation.prepare(candidates)
    assert (prepared.transactions, prepared.deferred) == (0, 1)
    situation.honest = prepared.proposal
    assert situation.refusal(only(situation, FEE, [transfer(FEE, 0, 0)])).code == "items_not_allowed"


# ---------------------------------------------------------------- replayed and decided
def test_a_transaction_that_was_decided_before() -> None:
    situation = at_slot_4()
    situation.decide(situation.honest)
    situation.time_ms = Milliseconds(situation.time_ms + 200)
    situation.honest = situation.prepare({}).proposal
    refusal = situation.refusal(only(situation, FEE, [transfer(FEE, 1, 0, tip=7)]))
    assert (refusal.code, refusal.fields["reason"]) == ("transaction_not_applicable", "nonce_too_low")


def test_a_decided_proposal_of_the_past() -> None:
    situation = at_slot_4()
    old = situation.honest
    situation.decide(old)
    situation.honest = situation.prepare({}).proposal
    assert situation.refusal(old).code == "height_wrong"


def test_an_invalid_decided_proposal_stops_the_node(situation: Situation) -> None:
    request = FinalizeRequest(
        height=situation.height, time_ms=situation.time_ms, proposal=with_header(situation.honest, slot=9)
    )
    with pytest.raises(InvariantBroken) as broken:
        situation.judge.finalize(request)
    assert (broken.value.code, broken.value.fields["rule"]) == ("decided_proposal_invalid", "slot_wrong")


def test_stored_senders_that_do_not_fit_the_items_stop_the_node() -> None:
    situation = at_slot_4()
    request = FinalizeRequest(
        height=situation.height, time_ms=situation.time_ms, proposal=situation.honest, senders=bytes(20)
    )
    with pytest.raises(InvariantBroken) as broken:
        situation.judge.finalize(request)
    assert broken.value.fields["rule"] == "senders_wrong"


def test_every_code_is_documented() -> None:
    """docs/protocol.md names each code that the checking modules can refuse with."""
    root = Path(__file__).parents[3]
    sources = ("checking", "proposal", "grid", "bundles", "sections", "relaying")
    texts = [(root / "plait" / "protocol" / f"{name}.py").read_text() for name in sources]
    texts += [(root / "plait" / name).read_text() for name in ("ordering/policy.py", "codec/bundle.py")]
    found = set(re.findall(r'code="([a-z_0-9]+)"', "".join(texts)))
    found |= set(re.findall(r'_require_equal\("([a-z_0-9]+)"', texts[0]))
    found |= set(re.findall(r'_refused\(\s*rollup_id,\s*[^"]*"([a-z_0-9]+)"', texts[6]))
    found |= set(re.findall(r'_refused\(\s*"([a-z_0-9]+)"', texts[3] + texts[4]))
    found |= set(re.findall(r'"(bundle_[a-z_]+)"', texts[7]))
    assert len(found) > 25
    documented = (root / "docs" / "protocol.md").read_text()
    missing = sorted(code for code in found if f"`{code}`" not in documented)
    assert not missing
