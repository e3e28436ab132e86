"""A small client of CometBFT's JSON-RPC (v0.38), over HTTP on one kept-alive session.

Answers are the decoded `result` objects as CometBFT sends them: 64-bit integers are strings, bytes are base64 or upper
case hex as its documentation says. Source: CometBFT v0.38, rpc/openapi/openapi.yaml. Level 5.
"""

import base64
from typing import Any

import aiohttp
import msgspec

from plait.errors import CodecError, Unavailable
from plait.http_client import JSON, AnswerTooLarge, HttpClient
from plait.limits import COMET_RPC_RESPONSE_BYTES_MAX, COMET_RPC_TIMEOUT_S


class CometRpcError(Unavailable):
    """CometBFT answered with an error of its own; `fields["rpc_code"]` is its number."""

    default_code = "comet_rpc_error"


class CometRpc(HttpClient):
    """Use as an asynchronous context manager, or call `close`.

    Args:
        url: http://host:port of a node's RPC.
    """

    def __init__(self, url: str) -> None:
        super().__init__(timeout_s=COMET_RPC_TIMEOUT_S, answer_bytes_max=COMET_RPC_RESPONSE_BYTES_MAX)
        self._url = url.rstrip("/")
        self._last_id = 0

    async def call(self, method: str, **parameters: Any) -> Any:
        """The `result` of any method.

        Args:
            method: of CometBFT's RPC.
            parameters: by name; None is left out. Integers go as strings, as CometBFT's JSON wants them.

        Raises:
            Unavailable: `comet_unreachable` when nobody answers in time, `comet_rpc_error` when the answer is an error.
            CodecError: `comet_rpc_invalid` when the answer is no JSON-RPC.
        """
        self._last_id += 1
        body = msgspec.json.encode(
            {
                "jsonrpc": "2.0",
                "id": self._last_id,
                "method": method,
                "params": {name: _parameter(value) for name, value in parameters.items() if value is not None},
            }
        )
        answer = await self._post(method, body)
        try:
            document = msgspec.json.decode(answer)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise CodecError(f"{method}: the answer is not JSON: {error}", code="comet_rpc_invalid") from error
        if not isinstance(document, dict) or ("result" not in document and "error" not in document):
            raise CodecError(f"{method}: the answer is no JSON-RPC", code="comet_rpc_invalid")
        failure = document.get("error")
        if failure:
            raise CometRpcError(
                f"CometBFT answers {method} with: {failure.get('message')} {failure.get('data') or ''}".strip(),
                rpc_code=failure.get("code"),
            )
        return document["result"]

    async def _post(self, method: str, body: bytes) -> bytes:
        try:
            _, data = await self.request("POST", self._url, headers=JSON, body=body)  # errors are 500 with a JSON body
        except AnswerTooLarge:
            raise CodecError(
                f"{method}: an answer above {COMET_RPC_RESPONSE_BYTES_MAX} bytes", code="comet_rpc_invalid"
            ) from None
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise Unavailable(
                f"CometBFT's RPC at {self._url} does not answer {method}: {error or type(error).__name__}",
                code="comet_unreachable",
                url=self._url,
            ) from error
        return data

    # ------------------------------------------------------------ what Plait asks
    async def status(self) -> dict[str, Any]:
        """Node, newest block, validator."""
        return _object("status", await self.call("status"))

    async def net_info(self) -> dict[str, Any]:
        """Peers."""
        return _object("net_info", await self.call("net_info"))

    async def broadcast_tx_async(self, tx: bytes) -> dict[str, Any]:
        """Hands an entry to CometBFT's pool; returns before it is checked."""
        return _object("broadcast_tx_async", await self.call("broadcast_tx_async", tx=tx))

    async def broadcast_tx_sync(self, tx: bytes) -> dict[str, Any]:
        """Hands an entry to CometBFT's pool; returns what CheckTx said."""
        return _object("broadcast_tx_sync", await self.call("broadcast_tx_sync", tx=tx))

    async def broadcast_evidence(self, evidence: dict[str, Any]) -> dict[str, Any]:
        """Hands evidence, in CometBFT's own JSON, to its evidence pool."""
        return _object("broadcast_evidence", await self.call("broadcast_evidence", evidence=evidence))

    async def commit(self, height: int | None = None) -> dict[str, Any]:
        """Header and commit of a height, the newest for None."""
        return _object("commit", await self.call("commit", height=height))

    async def block(self, height: int | None = None) -> dict[str, Any]:
        """A block, the newest for None."""
        return _object("block", await self.call("block", height=height))

    async def block_results(self, height: int | None = None) -> dict[str, Any]:
        """What FinalizeBlock answered at a height."""
        return _object("block_results", await self.call("block_results", height=height))

    async def validators(self, height: int | None = None, page: int = 1, per_page: int = 100) -> dict[str, Any]:
        """A page of the validator set of a height."""
        return _object("validators", await self.call("validators", height=height, page=page, per_page=per_page))

    async def unconfirmed(self, limit: int = 1) -> dict[str, Any]:
        """Number and bytes of the pool's entries, and some of them."""
        return _object("unconfirmed_txs", await self.call("unconfirmed_txs", limit=limit))

    async def dump_consensus_state(self) -> dict[str, Any]:
        """Where consensus stands: height, round, step, votes."""
        return _object("dump_consensus_state", await self.call("dump_consensus_state"))


def _parameter(value: Any) -> Any:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value


def _object(method: str, result: Any) -> dict[str, Any]:
    if not isinstance(result, dict):
        raise CodecError(f"{method}: the result is no object", code="comet_rpc_invalid")
    return result


__all__ = ["CometRpc", "CometRpcError"]
