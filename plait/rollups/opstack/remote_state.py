"""State of a rollup that another node holds: proofs, codes and headers read over JSON-RPC for the native core.

Specification
    - `remote_rollup` makes a native rollup whose head is a block of the node; its sessions execute here and read there.
      `RpcStateReader` is what the core calls, from whichever thread works on a session: never work on one of these
      sessions in the event loop's own thread.
    - One `read` is one HTTP request (remote_rpc): a batch of eth_getProof, eth_getCode, debug_dbGet (nodes beside a
      deletion, where the node offers that) and eth_getBlockByNumber.
    - What a rollup that is sequenced here has not looked at is as it was at its anchor, in every block since; so with
      `newest` the node is asked at its newest block, whose state it has, and hashes decide whether the answer is right.
    - With a journal an answer is on our disk before it is used (remote_journal).
    - Nothing is believed: the core takes nodes and codes by their hash from the block's state root down, headers by the
      hash that the block above names. A node that lies or lacks something fails the step, `remote_proof_wrong` or
      `remote_unavailable`, and leaves its session as it was.
    - Reads ahead: `read_ahead` asks the node for access lists of transactions (eth_createAccessList, one batch) and
      reads all of it at once, so that a bundle whose reads depend on each other costs two round trips instead of many.
Level 5. Source: EIP-1186; execution-apis (eth_getProof, eth_createAccessList).
"""

import contextlib
import threading
import time
from collections.abc import Iterable
from typing import Any, NamedTuple

from plait.errors import L1Refused, Unavailable
from plait.l1.headers import header_of
from plait.limits import (
    REMOTE_EARLY_BYTES_MAX,
    REMOTE_HASHES_BELOW_ANCHOR_MAX,
    REMOTE_PROOF_SLOTS_MAX,
    REMOTE_REASON_S,
    REMOTE_SEARCH_GRACE_S,
    REMOTE_SEARCH_NODES_MAX,
    REMOTE_SEARCH_S_MAX,
    REMOTE_SEARCH_SHARE,
    REMOTE_TIMEOUT_S,
)
from plait.native import Rollup, Session, Store, Transaction, keccak256
from plait.patience import is_for_others, search_begins, search_ended, spend
from plait.rollups.opstack.remote_journal import ReadJournal
from plait.rollups.opstack.remote_rpc import Call, NotAsked, RemoteStateRefused, StateRpc
from plait.types import Hash32

_Keys = list[tuple[bytes, list[bytes]]]
_Place = tuple[bytes, tuple[str, ...]]
"""An account, and slots of it as they are asked for."""
_Found = tuple[list[bytes], list[bytes], list[bytes]]
"""Trie nodes, codes, headers."""


class _Wanted(NamedTuple):
    """One question of the core, as `plait.native.RemoteReader.read` has it."""

    number: int
    block_hash: bytes
    accounts: _Keys
    codes: list[tuple[bytes, bytes]]
    nodes: list[bytes]
    headers: tuple[int, int] | None


class RpcStateReader:
    """Reads the state of one node. Threads share a few connections.

    Args:
        url: http://host:port or https://... of the node's RPC with the methods of `eth`.
        secret: 32 bytes, where that is an engine's authenticated port.
        journal: keeps what is read before anybody uses it; None to keep nothing.
        newest: ask at the node's newest block instead of the one that the state begins at: right where every block
            since is ours, and where the node has forgotten the state of old blocks.
        timeout_s: of one request.
    """

    def __init__(
        self,
        url: str,
        *,
        secret: bytes | None = None,
        journal: ReadJournal | None = None,
        newest: bool = False,
        timeout_s: float = REMOTE_TIMEOUT_S,
    ) -> None:
        self._rpc = StateRpc(url, secret=secret, timeout_s=timeout_s)
        self.journal = journal
        self._newest = newest
        self._gives_nodes = True
        self.replaying = False
        """Whether decided blocks are executed again: what they need and the journal lost may have changed since, so the
        state that everything begins at is asked for first; an archive has it."""
        self._ended = False
        self._failed: tuple[str, float] | None = None
        self._early: dict[_Place, list[bytes]] = {}
        """Proofs that came before a read ran out of time: the next asks for the rest, so that it comes to an end."""
        self._early_bytes = 0
        self._search_s = REMOTE_SEARCH_S_MAX
        """Seconds that the core may still search, as of the time beside it."""
        self._search_at_s = time.monotonic()
        self._turn = threading.Lock()

    @property
    def reason(self) -> str:
        """Why the last read failed; empty when it did not, or long ago: what still waits has asked since."""
        failed = self._failed
        return "" if failed is None or time.monotonic() - failed[1] > REMOTE_REASON_S else failed[0]

    @property
    def requests(self) -> int:
        """HTTP requests so far."""
        return self._rpc.requests

    @property
    def url(self) -> str:
        """What may be shown of the node's address."""
        return self._rpc.url

    def close(self, *, ends: bool = False) -> None:
        """Closes connections and journal. Both are opened again when they are needed, unless this `ends` the reader:
        then reads are refused, also those under way."""
        self._ended = self._ended or ends
        self._rpc.close()
        if self.journal is not None:
            self.journal.close(ends=ends)

    def calls(self, calls: list[Call], *, optional: str = "") -> list[Any]:
        """As `StateRpc.calls`."""
        return self._rpc.calls(calls, optional=optional)

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
            RemoteStateRefused: the node does not answer, or not this; what it answered cannot be kept.
        """
        if self._ended:
            raise RemoteStateRefused("nothing more is read: the node stops")
        try:
            self._require_asked(number, sum(1 + len(slots) for _, slots in accounts) + len(codes), headers)
            self._spend_search(search_ended(REMOTE_SEARCH_GRACE_S))
            found = self._ask(_Wanted(number, block_hash, accounts, codes, nodes, headers))
            if nodes:
                self._begin_search(set(nodes) - {keccak256(node) for node in found[0]})
            if self.journal is not None:
                self.journal.append(*found)
        except NotAsked:
            raise
        except (RemoteStateRefused, Unavailable) as error:
            self._failed = error.message, time.monotonic()
            raise
        except L1Refused as error:
            raise self._fail(f"the node's answer to eth_getBlockByNumber is not of its form: {error.message}") from None
        except OSError as error:
            raise self._fail(f"what was read cannot be kept: {error.strerror or error}") from error
        self._failed = None
        return found

    def _require_asked(self, number: int, places: int, headers: tuple[int, int] | None) -> None:
        """Nobody is asked for more than may be kept: a client can name any block number, and any number of places."""
        if headers is not None and headers[1] < number - REMOTE_HASHES_BELOW_ANCHOR_MAX:
            raise NotAsked(
                f"hashes of blocks more than {REMOTE_HASHES_BELOW_ANCHOR_MAX} below block {number} are not read"
            )
        if is_for_others() and self.journal is not None and self.journal.is_half():
            raise NotAsked("much was read; until the next snapshot is written nothing more is read for calls")
        if not spend(places):
            raise NotAsked("the call looks at more unknown state than may be read now; ask for less, or later")

    def _begin_search(self, missing: set[bytes]) -> None:
        """The core searches for keys that lead to nodes which were not given, up to seconds on all cores; nothing of
        that is bounded by the thread's time. So that transactions cannot make it search all the time, some wait."""
        if not missing:
            return
        if len(missing) > REMOTE_SEARCH_NODES_MAX:
            raise NotAsked(
                f"{len(missing)} nodes beside deletions are not given by hash (debug_dbGet): too many to search"
            )
        if self._spend_search(0.0) <= 0:
            raise NotAsked("a node beside a deletion is not given by hash (debug_dbGet), and much was searched already")
        search_begins()

    def _spend_search(self, seconds: float) -> float:
        """What is left then."""
        with self._turn:
            now_s = time.monotonic()
            came_back = (now_s - self._search_at_s) * REMOTE_SEARCH_SHARE
            self._search_s = min(REMOTE_SEARCH_S_MAX, self._search_s + came_back) - seconds
            self._search_at_s = now_s
            return self._search_s

    def _fail(self, reason: str) -> RemoteStateRefused:
        self._failed = reason, time.monotonic()
        return RemoteStateRefused(reason)

    def _ask(self, wanted: _Wanted) -> _Found:
        anchor = {"blockHash": _hex(wanted.block_hash)}
        if self._newest and self.replaying:
            with contextlib.suppress(RemoteStateRefused):
                return self._ask_at(anchor, wanted)
        return self._ask_at("latest" if self._newest else anchor, wanted)

    def _ask_at(self, at: Any, wanted: _Wanted) -> _Found:
        head_calls: list[Call] = [("eth_blockNumber", [])] if at == "latest" else []
        early, places = self._taken_early(wanted.accounts)
        proofs: list[Call] = [("eth_getProof", [_hex(account), list(slots), at]) for account, slots in places]
        code_calls: list[Call] = [("eth_getCode", [_hex(account), at]) for account, _ in wanted.codes]
        node_calls: list[Call] = [("debug_dbGet", [_hex(node)]) for node in wanted.nodes] if self._gives_nodes else []
        numbers = [] if wanted.headers is None else range(wanted.headers[0], wanted.headers[1] - 1, -1)
        header_calls: list[Call] = [("eth_getBlockByNumber", [hex(below), False]) for below in numbers]
        parts = (head_calls, proofs, code_calls, node_calls, header_calls)
        rest: list[Any] = []
        try:
            self._rpc.calls([call for part in parts for call in part], optional="debug_dbGet", partly=rest)
        except RemoteStateRefused:
            came = zip(places, map(_proof_nodes, rest[len(head_calls) :]), strict=False)
            self._keep_early([*early.items(), *came])
            raise
        answers: list[list[Any]] = []
        for part in parts:
            answers.append(rest[: len(part)])
            rest = rest[len(part) :]
        head_answers, proof_answers, code_answers, node_answers, header_answers = answers
        for head in head_answers:
            self._require_head(head, wanted.number)
        found = [node for nodes in early.values() for node in nodes]
        found += [node for answer in proof_answers for node in _proof_nodes(answer)]
        found += [_bytes(answer) for answer in node_answers if answer is not None]
        self._gives_nodes = self._gives_nodes and (not node_calls or any(one is not None for one in node_answers))
        return (
            found,
            [_bytes(answer) for answer in code_answers],
            [header_of(answer).encode() for answer in header_answers],
        )

    def _taken_early(self, accounts: _Keys) -> tuple[dict[_Place, list[bytes]], list[_Place]]:
        """Proofs that came before, and what is to be asked for."""
        early: dict[_Place, list[bytes]] = {}
        places: list[_Place] = []
        with self._turn:
            for place in _portions(accounts):
                nodes = self._early.pop(place, None)
                if nodes is None:
                    places.append(place)
                else:
                    early[place] = nodes
                    self._early_bytes -= sum(map(len, nodes))
        return early, places

    def _keep_early(self, came: Iterable[tuple[_Place, list[bytes]]]) -> None:
        """Their hashes say later whether they are right, as those of any answer. What nobody asks for again goes."""
        with self._turn:
            for place, nodes in came:
                size = sum(map(len, nodes))
                if self._early_bytes + size > REMOTE_EARLY_BYTES_MAX:
                    self._early, self._early_bytes = {}, 0
                if place not in self._early:
                    self._early[place] = nodes
                    self._early_bytes += size

    def _require_head(self, head: Any, number: int) -> None:
        try:
            newest = int(head, 16)
        except (TypeError, ValueError):
            raise RemoteStateRefused("the node's answer to eth_blockNumber is no number") from None
        if newest < number:
            raise RemoteStateRefused(
                f"The node at {self.url} is at block {newest}, and state is read from block {number} on: it lost "
                "blocks, which are handed to it again, or it must sync to that block."
            )


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
    call: Call = ("eth_getBlockByNumber", ["latest", False])
    if block_hash is not None:
        call = ("eth_getBlockByHash", [_hex(block_hash), False])
    found, first = reader.calls([call, ("eth_getBlockByNumber", ["0x0", False])])
    header = header_of(found)
    if block_hash is not None and header.hash != block_hash:
        raise RemoteStateRefused("the node answers another block than the one asked for")
    return Rollup.remote(genesis_json, store, header.encode(), reader, genesis_hash=header_of(first).hash)


def read_ahead(session: Session, reader: RpcStateReader, transactions: Iterable[Transaction], at: Hash32) -> None:
    """Reads what transactions will touch in two round trips: their access lists at the block `at`, then all of it.

    A guess that saves time and nothing else: what a list lacks is read when it is missed, and a node that makes no
    access lists costs one request.
    """
    wanted = list(transactions)
    block = {"blockHash": _hex(at)}
    calls: list[Call] = [("eth_createAccessList", [_request_of(transaction), block]) for transaction in wanted]
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


def _portions(accounts: _Keys) -> Iterable[_Place]:
    for account, slots in accounts:
        words = tuple([_hex(slot) for slot in slots])
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


__all__ = ["RemoteStateRefused", "RpcStateReader", "read_ahead", "remote_rollup"]
