"""What an op-node that sequences does to its engine, call by call; and a real op-geth as that engine."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from plait.native import Rollup
from plait.rollups.opstack.jwt import token

REPOSITORY = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(REPOSITORY / "tests" / "conformance" / "opgeth"))

from opgeth_node import OpGeth, can_build  # noqa: E402

__all__ = ["Engine", "OpGeth", "Refused", "attributes_of", "can_build", "until"]
ZERO = "0x" + "00" * 32


async def until(condition: Callable[[], Any], seconds: float = 20) -> Any:
    """The first true value of a condition."""
    async with asyncio.timeout(seconds):
        while True:
            if found := condition():
                return found
            await asyncio.sleep(0.01)


class Refused(Exception):
    """An error answer."""


class Engine:
    """The Engine API at a URL, called as op-node v1.16.11 calls it. `version`: of payloads (3 before Isthmus)."""

    def __init__(self, url: str, secret: bytes, version: int = 4) -> None:
        self.url = url
        self.secret = secret
        self.version = version
        self.status = 0

    async def call(self, method: str, *params: Any) -> Any:
        headers = {"Authorization": "Bearer " + token(self.secret, int(time.time()))}
        body = {"jsonrpc": "2.0", "id": 3, "method": method, "params": params}
        async with aiohttp.ClientSession() as session, session.post(self.url, json=body, headers=headers) as answer:
            self.status = answer.status
            text = await answer.read()
        if self.status != 200:
            raise Refused(f"{self.status}: {text.decode()}")
        shown = msgspec.json.decode(text)
        if shown.get("error") is not None:
            raise Refused(str(shown["error"]))
        return shown["result"]

    async def start(self, parent: str, attributes: dict[str, Any]) -> str:
        """Starts a build; the payload id."""
        answer = await self.call("engine_forkchoiceUpdatedV3", _state(parent), attributes)
        assert answer["payloadStatus"]["status"] == "VALID", answer
        identity: str = answer["payloadId"]
        return identity

    async def get(self, identity: str) -> dict[str, Any]:
        """The built envelope."""
        found: dict[str, Any] = await self.call(f"engine_getPayloadV{self.version}", identity)
        return found

    async def adopt(self, envelope: dict[str, Any]) -> str:
        """newPayload and forkchoice as op-node inserts what it got; the new head's hash."""
        rest = [[], envelope["parentBeaconBlockRoot"]] + ([[]] if self.version >= 4 else [])
        status = await self.call(f"engine_newPayloadV{self.version}", envelope["executionPayload"], *rest)
        assert status["status"] == "VALID", status
        head: str = envelope["executionPayload"]["blockHash"]
        await self.forkchoice(head)
        return head

    async def forkchoice(self, head: str) -> None:
        """The engine's head becomes this block."""
        answer = await self.call("engine_forkchoiceUpdatedV3", _state(head), None)
        assert answer["payloadStatus"]["status"] == "VALID", answer

    async def head(self) -> str:
        """Hash of the engine's head."""
        found: str = (await self.call("eth_getBlockByNumber", "latest", False))["hash"]
        return found


def _state(head: str) -> dict[str, str]:
    return {"headBlockHash": head, "safeBlockHash": ZERO, "finalizedBlockHash": ZERO}


def attributes_of(native: Rollup, number: int, **changes: Any) -> dict[str, Any]:
    """The attributes that op-node would ask for at a height: those of the network's block, sealed or open."""
    for at in (-1, number):
        found = native.block_json(at, False)
        block = {} if found is None else msgspec.json.decode(found)
        if block.get("number") == hex(number):
            break
    else:
        raise AssertionError(f"block {number} is not there")
    raws = [native.raw_transaction(bytes.fromhex(hash_[2:])) or b"" for hash_ in block["transactions"]]
    extra = block["extraData"]
    made = {
        "timestamp": block["timestamp"],
        "prevRandao": block["mixHash"],
        "suggestedFeeRecipient": block["miner"],
        "parentBeaconBlockRoot": block["parentBeaconBlockRoot"],
        "withdrawals": [],
        "transactions": ["0x" + raw.hex() for raw in raws if raw[0] == 0x7E],
        "noTxPool": False,
        "gasLimit": block["gasLimit"],
        "eip1559Params": "0x" + extra[4:20],
    }
    if len(extra) == 2 + 34:
        made["minBaseFee"] = int(extra[20:], 16)
    return made | changes
