"""What stands in the inbox of a test's anvil, read without the code that is tested more than needed."""

from __future__ import annotations

import itertools
from typing import Any

from batcher_world import BATCHER, INBOX, Anvil

from plait.derivation.blobs import decode_blob
from plait.derivation.channels import ChannelAssembler
from plait.derivation.frames import decode as decode_frames
from plait.errors import CodecError


def posted_channels(anvil: Anvil) -> list[bytes]:
    """Complete channels in the inbox, in order, as a verifier that reads all of them sees them."""
    assembler, channels = ChannelAssembler(), []
    for number in range(anvil.number() + 1):
        for found in anvil.block_transactions(number):
            if found["to"] != "0x" + INBOX.hex() or found["from"] != "0x" + BATCHER.address.hex():
                continue
            datas = [bytes.fromhex(found["input"][2:])]
            if found["type"] == "0x3":
                datas = [decode_blob(bytes.fromhex(blob[2:])) for blob in _blobs(anvil, found)]
            for frame in itertools.chain.from_iterable(map(decode_frames, datas)):
                try:
                    complete = assembler.add(frame, number)  # type: ignore[arg-type]
                except CodecError:
                    continue
                if complete is not None:
                    channels.append(complete)
    return channels


def _blobs(anvil: Anvil, transaction: dict[str, Any]) -> list[str]:
    blobs: list[str] = anvil.call("anvil_getBlobsByTransactionHash", transaction["hash"])
    return blobs
