"""The JSON of flashblocks against the bytes that op-rbuilder pins for rollup-boost and its followers."""

import json
from pathlib import Path

import pytest

from plait.errors import CodecError
from plait.rollups.opstack.faces.flashblock import decode_flashblock, encode_flashblock

VECTORS: dict[str, str] = json.loads((Path(__file__).parent / "vectors" / "flashblocks.json").read_text())


@pytest.mark.parametrize("name", ["pinned_index0", "pinned_index3"])
def test_a_published_message_reads_and_writes_as_its_own_bytes(name: str) -> None:
    message = VECTORS[name].encode()
    assert encode_flashblock(decode_flashblock(message)) == message


def test_receipts_of_the_older_form_are_read_as_the_same() -> None:
    older = decode_flashblock(VECTORS["legacy_tagged_index3"].encode())
    assert older == decode_flashblock(VECTORS["pinned_index3"].encode())


@pytest.mark.parametrize("message", [b"", b"[]", b"{}", b'{"metadata":{"receipts":[]}}', b'{"metadata":1}', b"\xff"])
def test_what_is_no_flashblock_is_refused(message: bytes) -> None:
    with pytest.raises(CodecError) as refused:
        decode_flashblock(message)
    assert refused.value.code == "flashblock_malformed"
