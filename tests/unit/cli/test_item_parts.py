"""What commands say about items of a proposal, declared messages, and failures of bundles."""

from eth_abi.abi import encode

from plait.cli.bundle import OUTPUT_DIGITS_MAX, failure_rows
from plait.cli.parts import MESSAGES_SHOWN_MAX, executed, part_of, rows_of
from plait.codec.bundle import encode_leg
from plait.interop.access_list import Access, encode_accesses
from plait.interop.identifiers import LogIndex, MessageChainId
from plait.interop.messages import CROSS_L2_INBOX
from plait.protocol.proposal import encode_deliveries_item, encode_items, encode_leg_item, encode_relay_item
from plait.types import BlockNumber, Hash32, Milliseconds, Seconds

BUNDLE = Hash32(b"\xb0" * 32)
RAW = b"\x02\xc0"


def test_every_kind_of_item_is_told_apart() -> None:
    bundled = "0x" + BUNDLE.hex()
    items = {
        encode_items([RAW], [Milliseconds(1)])[0]: ("plain", None),
        encode_leg_item(BUNDLE, encode_leg((RAW,))): ("leg", bundled),
        encode_deliveries_item(BUNDLE, [RAW]): ("delivery", bundled),
        encode_relay_item(RAW): ("relay", None),
    }
    for item, (kind, bundle_hash) in items.items():
        part = part_of("0x" + item.hex())
        assert part == {"kind": kind, "bundleHash": bundle_hash}
        text = " ".join(value for _, value in rows_of({"partOf": part}))
        assert (bundled in text) == (bundle_hash is not None)
        assert bool(text) == (kind != "plain")


def test_declared_messages_are_named_by_where_their_logs_are() -> None:
    accesses = [
        Access(
            block_number=BlockNumber(12),
            timestamp=Seconds(1_790_000_000),
            log_index=LogIndex(index),
            chain_id=MessageChainId(901),
            checksum=Hash32(b"\x03" + bytes(31)),
        )
        for index in range(MESSAGES_SHOWN_MAX + 2)
    ]
    keys = ["0x" + key.hex() for key in encode_accesses(accesses)]
    found = executed({"accessList": [{"address": "0x" + CROSS_L2_INBOX.hex(), "storageKeys": keys}]})
    assert found == [{"chainId": 901, "blockNumber": 12, "logIndex": one.log_index} for one in accesses]
    rows = rows_of({"executes": found})
    assert rows[0] == ("executes", "log 0 of block 12 on rollup 901")
    assert rows[MESSAGES_SHOWN_MAX:] == [("", "and 2 more")]


def test_a_declaration_that_cannot_be_read_or_is_not_there_names_none() -> None:
    broken = [{"address": "0x" + CROSS_L2_INBOX.hex(), "storageKeys": ["0x" + "ff" * 32]}]
    for transaction in ({"accessList": broken}, {"accessList": []}, {"accessList": None}, {"type": "0x7e"}):
        assert executed(transaction) == []


def test_a_failure_says_what_the_contract_said() -> None:
    failure = {"code": "bundle_leg_failed", "sentence": "transaction 1 of the leg on rollup 901: execution reverted"}
    told = f"{failure['sentence']} (bundle_leg_failed)"
    assert failure_rows("reason", failure | {"output": "0x", "revertReason": None}) == [("reason", told)]
    text = {"output": "0x08c379a0", "revertReason": "too little", "errorSelector": None}
    assert failure_rows("reason", failure | text) == [("reason", told), ("", "reverted with: too little")]
    data = "0x11223344" + encode(["uint256"] * 5, [1] * 5).hex()
    custom = {"output": data, "revertReason": "custom error 0x11223344", "errorSelector": "0x11223344"}
    *_, (_, shown) = failure_rows("reason", failure | custom)
    assert shown == f"its data: {data[:OUTPUT_DIGITS_MAX]}…"
