"""State of a rollup that another node holds: proofs, codes and headers read over JSON-RPC for the native core.

Specification
    - `remote_rollup` makes a native rollup whose head is a block of the node; its sessions execute here and read there.
      `RpcStateReader` is what the core calls, from whichever thread works on a session: never work on one of these
      sessions in the event loop's own thread.
    - One `read` is one HTTP request: a batch of eth_getProof, eth_getCode, debug_dbGet (nodes beside a deletion, where
      the node offers that) and eth_getBlockByNumber. Parts beyond REMOTE_BATCH_CALLS_MAX follow in further requests.
    - Nothing is believed: the core takes nodes and codes by their hash from the block's state root down, headers by the
      hash that the block above names. A node that lies or lacks something fails the step, `remote_proof_wrong` or
      `remote_unavailable`, and leaves its session as it was.
    - Reads ahead: `read_ahead` asks the node for access lists of transactions (eth_createAccessList, one batch) and
      reads all of it at once, so that a bundle whose reads depend on each other costs two round trips instead of many.
Level 5. Source: EIP-1186; execution-apis (eth_getProof, eth_createAccessList).
"""

import http.client
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from plait.errors import InvalidInput
from plait.l1.headers import header_of
from plait.limits import (
    REMOTE_ANSWER_BYTES_MAX,
    REMOTE_BATCH_CALLS_MAX,
    REMOTE_PROOF_SLOTS_MAX,
    REMOTE_TIMEOUT_S,
)
from plait.native import Rollup, Session, Store, Transaction
from plait.types import Hash32

_Call = tuple[str, list[Any]]
_Keys = list[tuple[bytes, list[bytes]]]


class RemoteStateRefused(InvalidInput):
    """A node that cannot give the state that it was asked for."""

    default_code = "remote_unavailable"


class RpcStateReader:
    """Reads the state of one node. Threads take turns on its connection.

    Args:
        url: http://host:port or https://... of the node's RPC with the methods of `eth`.
        timeout_s: of one request.
    """

    def __init__(self, url: str, *, timeout_s: float = REMOTE_TIMEOUT_S) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or parts.hostname is None:
            raise RemoteStateRefused("the node's URL is not one of http or https with a host")
        self._parts = parts
        self._timeout_s = timeout_s
        self._turn = threading.Lock()
        self._connection: http.client.HTTPConnection | None = None
        self._gives_nodes = True
        self.requests = 0
        """HTTP requests so far."""

    def close(self) -> None:
        """Closes the connection; the next request opens another."""
        with self._turn:
            self._drop()

    # ------------------------------------------------------------ what the core asks
    def read(  # noqa: PLR0917 - the native core calls it by position
        self,
        number: int,
        block_hash: bytes,
        accounts: list[tuple[bytes, list[bytes]]],
        codes: list[tuple[bytes, bytes]],
        nodes: list[bytes],
        headers: tuple[int, int] | None,
    ) -> tuple[list[bytes], list[bytes], list[bytes]]:
        """As `plait.native.RemoteReader.read`.

        Raises:
            RemoteStateRefused: the node does not answer, or not this.
        """
        del number
        at = {"blockHash": _hex(block_hash)}
        proofs = [("eth_getProof", [_hex(account), slots, at]) for account, slots in _portions(accounts)]
        code_calls: list[_Call] = [("eth_getCode", [_hex(account), at]) for account, _ in codes]
        node_calls: list[_Call] = [("debug_dbGet", [_hex(node)]) for node in nodes] if self._gives_nodes else []
        numbers = [] if headers is None else list(range(headers[0], headers[1] - 1, -1))
        header_calls: list[_Call] = [("eth_getBlockByNumber", [hex(below), False]) for below in numbers]
        answers = self.calls([*proofs, *code_calls, *node_calls, *header_calls], optional="debug_dbGet")
        found: list[bytes] = []
        for answer in answers[: len(proofs)]:
            found += _proof_nodes(answer)
        rest = answers[len(proofs) :]
        code_answers, rest = rest[: len(code_calls)], rest[len(code_calls) :]
        node_answers, header_answers = rest[: len(node_calls)], rest[len(node_calls) :]
        found += [_bytes(answer) for answer in node_answers if answer is not None]
        self._gives_nodes = self._gives_nodes and (not node_calls or any(one is not None for one in node_answers))
        raw_headers = [header_of(answer).encode() for answer in header_answers]
        return found, [_bytes(answer) for answer in code_answers], raw_headers

    # ------------------------------------------------------------ JSON-RPC
    def calls(self, calls: Sequence[_Call], *, optional: str = "") -> list[Any]:
        """Results of calls in their order, in batches; None for a call of `optional` that the node refuses.

        Raises:
            RemoteStateRefused: no answer within the time, a malformed one, or a refusal.
        """
        results: list[Any] = []
        for start in range(0, len(calls), REMOTE_BATCH_CALLS_MAX):
            part = calls[start : start + REMOTE_BATCH_CALLS_MAX]
            body = [
                {"jsonrpc": "2.0", "id": index, "method": method, "params": params}
                for index, (method, params) in enumerate(part)
            ]
            answers = self._request(msgspec.json.encode(body))
            if not isinstance(answers, list) or not all(isinstance(answer, dict) for answer in answers):
                raise RemoteStateRefused("the node does not answer batches of JSON-RPC calls")
            by_id: Mapping[Any, Any] = {answer.get("id"): answer for answer in answers}
            for index, (method, _) in enumerate(part):
                answer = by_id.get(index, {})
                if answer.get("result") is None and method != optional:
                    raise RemoteStateRefused(f"{method}: {_reason(answer)}")
                results.append(answer.get("result"))
        return results

    def _request(self, body: bytes) -> Any:
        with self._turn:
            for attempt in (1, 2):
                try:
                    return msgspec.json.decode(self._exchange(body))
                except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                    raise RemoteStateRefused("the node's answer is no JSON") from None
                except (OSError, http.client.HTTPException) as error:
                    self._drop()
                    # A kept connection that the node closed meanwhile is no failure of the node.
                    if attempt == 2 or isinstance(error, TimeoutError):
                        raise RemoteStateRefused(f"no answer from the node: {type(error).__name__}") from None
        raise AssertionError("two attempts end above")

    def _exchange(self, body: bytes) -> bytes:
        self.requests += 1
        if self._connection is None:
            kind = http.client.HTTPSConnection if self._parts.scheme == "https" else http.client.HTTPConnection
            self._connection = kind(self._parts.hostname or "", self._parts.port, timeout=self._timeout_s)
        path = (self._parts.path or "/") + (f"?{self._parts.query}" if self._parts.query else "")
        self._connection.request("POST", path, body, {"Content-Type": "application/json"})
        response = self._connection.getresponse()
        answer = response.read(REMOTE_ANSWER_BYTES_MAX + 1)
        if response.status != http.HTTPStatus.OK or len(answer) > REMOTE_ANSWER_BYTES_MAX:
            self._drop()
            raise RemoteStateRefused(f"the node answers HTTP {response.status} with {len(answer)} bytes or more")
        return answer

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def remote_rollup(
    genesis_json: bytes, store: Store, reader: RpcStateReader, block_hash: Hash32 | None = None
) -> Rollup:
    """A rollup on a block of the node, its newest without `block_hash`; the header's hash is recomputed.

    Args:
        genesis_json: op-geth's genesis format, for the rules; its allocation may be empty.
        store: for the blocks that are sealed here.
        reader: of the node.
        block_hash: of the block to go on from.

    Raises:
        RemoteStateRefused: the node does not have it, or does not answer.
        NativeError: `genesis_malformed`, `genesis_fork_unsupported`.
    """
    call: _Call = ("eth_getBlockByNumber", ["latest", False])
    if block_hash is not None:
        call = ("eth_getBlockByHash", [_hex(block_hash), False])
    (found,) = reader.calls([call])
    header = header_of(found)
    if block_hash is not None and header.hash != block_hash:
        raise RemoteStateRefused("the node answers another block than the one asked for")
    return Rollup.remote(genesis_json, store, header.encode(), reader)


def read_ahead(session: Session, reader: RpcStateReader, transactions: Iterable[Transaction], at: Hash32) -> None:
    """Reads what transactions will touch in two round trips: their access lists at the block `at`, then all of it.

    A guess that saves time and nothing else: what a list lacks is read when it is missed, and a node that makes no
    access lists costs one request.
    """
    wanted = list(transactions)
    block = {"blockHash": _hex(at)}
    calls = [("eth_createAccessList", [_request_of(transaction), block]) for transaction in wanted]
    slots: dict[bytes, set[bytes]] = {}
    for answer in reader.calls(calls, optional="eth_createAccessList"):
        entries = answer.get("accessList") if isinstance(answer, dict) else None
        for entry in entries if isinstance(entries, list) else []:
            keys = slots.setdefault(_bytes(entry["address"]), set())
            keys.update(_bytes(key) for key in entry.get("storageKeys") or [])
    session.prefetch([(account, sorted(keys)) for account, keys in sorted(slots.items())], wanted)


def _request_of(transaction: Transaction) -> dict[str, str]:
    request = {
        "from": _hex(transaction.sender),
        "gas": hex(transaction.gas_limit),
        "value": hex(transaction.value),
        "input": _hex(transaction.input),
    }
    return request if transaction.to is None else request | {"to": _hex(transaction.to)}


def _portions(accounts: _Keys) -> Iterable[tuple[bytes, list[str]]]:
    for account, slots in accounts:
        words = [_hex(slot) for slot in slots]
        for start in range(0, max(len(words), 1), REMOTE_PROOF_SLOTS_MAX):
            yield account, words[start : start + REMOTE_PROOF_SLOTS_MAX]


def _proof_nodes(answer: Any) -> list[bytes]:
    try:
        lists = [answer["accountProof"], *(one["proof"] for one in answer["storageProof"])]
        return [_bytes(node) for nodes in lists for node in nodes]
    except (KeyError, TypeError):
        raise RemoteStateRefused("the node's answer to eth_getProof is not of its form") from None


def _hex(value: bytes) -> str:
    return "0x" + value.hex()


def _bytes(value: Any) -> bytes:
    try:
        return bytes.fromhex(value[2:])
    except (TypeError, ValueError):
        raise RemoteStateRefused("the node answers something that is not data in hexadecimal digits") from None


_REASON_CHARACTERS_MAX: Final = 200


def _reason(answer: Mapping[str, Any]) -> str:
    error = answer.get("error")
    text = error.get("message") if isinstance(error, dict) else None
    return str(text)[:_REASON_CHARACTERS_MAX] if text else "no answer"
