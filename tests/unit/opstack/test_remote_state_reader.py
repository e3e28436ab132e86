"""The reader of remote state names every answer that it cannot use, and opens a closed connection again."""

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from plait.errors import PlaitError, Unavailable
from plait.limits import (
    REMOTE_BATCH_CALLS_MAX,
    REMOTE_CONNECTIONS_MAX,
    REMOTE_HASHES_BELOW_ANCHOR_MAX,
    REMOTE_SEARCH_NODES_MAX,
    REMOTE_SEARCH_S_MAX,
)
from plait.patience import Purse, patience
from plait.rollups.opstack.remote_journal import ReadJournal
from plait.rollups.opstack.remote_state import RemoteStateRefused, RpcStateReader


@contextmanager
def node(
    status: int, body: bytes | Callable[[Any, bytes], bytes | Iterator[bytes]], *, closes: bool = False
) -> Iterator[str]:
    """A server on the loopback interface that answers everything in one way, or as a function of what it is asked."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            asked = self.rfile.read(int(self.headers["Content-Length"]))
            found = body if isinstance(body, bytes) else body(self.headers, asked)
            self.send_response(status)
            self.send_header("Content-Length", str(len(found) if isinstance(found, bytes) else 10_000))
            self.end_headers()
            with suppress(OSError):  # the other side may have given up
                for piece in (found,) if isinstance(found, bytes) else found:
                    self.wfile.write(piece)
            self.close_connection = closes

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def answer(result: object) -> bytes:
    return json.dumps([{"jsonrpc": "2.0", "id": 0, "result": result}]).encode()


def error(code: int, message: str) -> bytes:
    return json.dumps([{"jsonrpc": "2.0", "id": 0, "error": {"code": code, "message": message}}]).encode()


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (500, b"[]", "remote_unavailable"),
        (401, b"token is expired", "engine_jwt_refused"),
        (200, b"no JSON", "remote_unavailable"),
        (200, b"[" * 100_000, "remote_unavailable"),
        (200, b'{"result": null}', "remote_unavailable"),
        (200, b"[3]", "remote_unavailable"),
        (200, b"[]", "remote_unavailable"),
        (200, b'[{"id": [], "result": 1}]', "remote_unavailable"),
        (200, error(-32601, "the method eth_getProof does not exist"), "remote_method_missing"),
        (200, error(-32000, "missing trie node 0x12 (path )"), "remote_state_pruned"),
        (200, error(-32000, "historical state 0x12 is not available"), "remote_state_pruned"),
        (200, error(-32000, "something else"), "remote_unavailable"),
        (200, answer({"accountProof": 3}), "remote_unavailable"),
        (200, answer({"accountProof": ["0xzz"], "storageProof": []}), "remote_unavailable"),
        (200, answer({"accountProof": [7], "storageProof": []}), "remote_unavailable"),
    ],
)
def test_an_answer_that_cannot_be_used_is_refused_with_a_code_that_says_what_to_do(
    status: int, body: bytes, code: str
) -> None:
    with node(status, body) as url:
        reader = RpcStateReader(url, timeout_s=5)
        with pytest.raises(RemoteStateRefused) as caught:
            reader.read(1, bytes(32), [(bytes(20), [])], [], [], None)
        assert caught.value.code == code
        assert reader.reason == caught.value.message
        reader.close()


def test_a_connection_that_the_node_closed_is_opened_again() -> None:
    with node(200, answer({"accountProof": ["0xc0"], "storageProof": []}), closes=True) as url:
        reader = RpcStateReader(url)
        for _ in range(3):
            assert reader.read(1, bytes(32), [(bytes(20), [])], [], [], None) == ([b"\xc0"], [], [])
        reader.close()


@pytest.mark.parametrize("url", ["ftp://127.0.0.1", "http://", "nonsense"])
def test_a_url_that_names_no_node_is_refused(url: str) -> None:
    with pytest.raises(RemoteStateRefused):
        RpcStateReader(url)


def echoing(asked: list[Any], head: int) -> Callable[[Any, bytes], bytes]:
    """Answers like a node at block `head`, and notes what it was asked with which token."""

    def respond(headers: Any, body: bytes) -> bytes:
        calls = json.loads(body)
        asked.append((headers.get("Authorization"), [(one["method"], one["params"]) for one in calls]))
        results = {"eth_blockNumber": hex(head), "eth_getProof": {"accountProof": ["0xc0"], "storageProof": []}}
        return json.dumps([{"id": one["id"], "result": results[one["method"]]} for one in calls]).encode()

    return respond


def test_newest_asks_at_the_newest_block_with_a_token_and_waits_for_a_node_that_lost_blocks() -> None:
    asked: list[Any] = []
    with node(200, echoing(asked, 10)) as url:
        reader = RpcStateReader(url, secret=bytes(32), newest=True)
        assert reader.read(10, bytes(32), [(bytes(20), [])], [], [], None) == ([b"\xc0"], [], [])
        with pytest.raises(RemoteStateRefused, match="at block 10, and state is read from block 11 on"):
            reader.read(11, bytes(32), [(bytes(20), [])], [], [], None)
        reader.close()
    token, calls = asked[0]
    assert token.startswith("Bearer ")
    assert calls == [("eth_blockNumber", []), ("eth_getProof", ["0x" + "00" * 20, [], "latest"])]


def test_what_is_read_is_on_the_disk_before_it_is_given_out(tmp_path: Path) -> None:
    journal = ReadJournal(tmp_path, bytes_max=100)
    with node(200, echoing([], 10)) as url:
        reader = RpcStateReader(url, newest=True, journal=journal)
        reader.read(1, bytes(32), [(bytes(20), [])], [], [], None)
        assert ReadJournal(tmp_path).held().nodes == [b"\xc0"]
        reader.close()
    large = json.dumps([{"id": 0, "result": {"accountProof": ["0x" + "ab" * 200], "storageProof": []}}]).encode()
    with node(200, large) as url:
        reader = RpcStateReader(url, journal=journal)
        with pytest.raises(Unavailable) as full:
            reader.read(1, bytes(32), [(bytes(20), [])], [], [], None)
        assert full.value.code == "remote_journal_full"
        reader.close()


def test_the_event_loop_is_never_made_to_wait() -> None:
    asked: list[Any] = []

    async def work(url: str) -> None:
        with pytest.raises(RemoteStateRefused, match="event loop"):
            RpcStateReader(url).read(1, bytes(32), [(bytes(20), [])], [], [], None)

    with node(200, echoing(asked, 10)) as url:
        asyncio.run(work(url))
    assert asked == []


def test_a_node_that_answers_byte_by_byte_is_given_up_in_time() -> None:
    def slowly(_: Any, body: bytes) -> Iterator[bytes]:
        for byte in answer({"accountProof": [], "storageProof": []}):
            time.sleep(0.05)
            yield bytes((byte,))

    with node(200, slowly) as url:
        reader = RpcStateReader(url, timeout_s=0.4)
        started = time.monotonic()
        with pytest.raises(RemoteStateRefused, match="TimeoutError"):
            reader.read(1, bytes(32), [(bytes(20), [])], [], [], None)
        assert time.monotonic() - started < 2
        reader.close()


def test_no_thread_waits_longer_than_it_may_for_a_free_connection() -> None:
    release = threading.Event()

    def stuck(_: Any, body: bytes) -> bytes:
        release.wait(20)
        return answer({"accountProof": ["0xc0"], "storageProof": []})

    with node(200, stuck) as url:
        reader = RpcStateReader(url, timeout_s=20)
        threads = [
            threading.Thread(target=lambda: reader.read(1, bytes(32), [(bytes(20), [])], [], [], None))
            for _ in range(REMOTE_CONNECTIONS_MAX)
        ]
        for thread in threads:
            thread.start()
        while reader.requests < REMOTE_CONNECTIONS_MAX:
            time.sleep(0.01)
        started = time.monotonic()
        with patience(0.2), pytest.raises(RemoteStateRefused, match="no time left"):
            reader.read(1, bytes(32), [(bytes(20), [])], [], [], None)
        with patience(0), pytest.raises(RemoteStateRefused, match="no time left"):
            reader.read(1, bytes(32), [(bytes(20), [])], [], [], None)
        assert time.monotonic() - started < 2
        release.set()
        for thread in threads:
            thread.join()
        reader.close()


def test_a_reader_that_was_ended_asks_and_writes_no_more(tmp_path: Path) -> None:
    asked: list[Any] = []
    begun, release = threading.Event(), threading.Event()

    def slow(headers: Any, body: bytes) -> bytes:
        begun.set()
        release.wait(20)
        return echoing(asked, 10)(headers, body)

    refused: list[BaseException] = []

    def work(reader: RpcStateReader) -> None:
        try:
            reader.read(1, bytes(32), [(bytes(20), [])], [], [], None)
        except PlaitError as error:
            refused.append(error)

    with node(200, slow) as url:
        reader = RpcStateReader(url, newest=True, journal=ReadJournal(tmp_path))
        thread = threading.Thread(target=work, args=(reader,))
        thread.start()
        assert begun.wait(20)
        reader.close(ends=True)
        release.set()
        thread.join()
        work(reader)
    assert [error.code for error in refused if isinstance(error, PlaitError)] == ["remote_unavailable"] * 2
    assert len(asked) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_call_that_pretends_another_block_number_does_not_make_the_reader_ask_for_every_header() -> None:
    """BLOCKHASH under a block override names any number: down to it, that would be a request for each block."""
    anchor = 20_000_000
    asked: list[Any] = []
    with node(200, echoing(asked, 10)) as url:
        reader = RpcStateReader(url)
        with pytest.raises(RemoteStateRefused, match="are not read") as caught:
            reader.read(anchor, bytes(32), [], [], [], (anchor - 1, anchor - REMOTE_HASHES_BELOW_ANCHOR_MAX - 1))
        assert (asked, reader.requests, reader.reason) == ([], 0, "")
        assert caught.value.code == "remote_unavailable"
        reader.close()


def test_what_is_read_for_clients_is_bounded_per_call_and_together_and_costs_others_nothing(tmp_path: Path) -> None:
    """What was read is kept for good, so calls that look at any number of accounts must not read them all."""

    def read(reader: RpcStateReader, places: int) -> None:
        reader.read(1, bytes(32), [(place.to_bytes(20, "big"), []) for place in range(places)], [], [], None)

    def proofs(_: Any, body: bytes) -> bytes:
        proof = {"accountProof": ["0x" + "c0" * 500], "storageProof": []}
        return json.dumps([{"id": call["id"], "result": proof} for call in json.loads(body)]).encode()

    with node(200, proofs) as url:
        reader = RpcStateReader(url, journal=ReadJournal(tmp_path, bytes_max=1_200))
        purse = Purse(10, 0, 6)
        with patience(20, purse), pytest.raises(RemoteStateRefused, match="more unknown state"):
            read(reader, 7)
        with patience(20, purse):
            read(reader, 4)
            with pytest.raises(RemoteStateRefused, match="more unknown state"):
                read(reader, 3)
        with patience(20, purse):
            read(reader, 6)
        with patience(20, purse), pytest.raises(RemoteStateRefused, match="more unknown state"):
            read(reader, 1)
        read(reader, 20)  # of a block: out of no purse
        assert reader.reason == ""
        reader.journal = ReadJournal(tmp_path, bytes_max=900)
        with patience(20, Purse(10, 0, 6)), pytest.raises(RemoteStateRefused, match="next snapshot"):
            read(reader, 1)
        read(reader, 1)
        reader.close()


def test_a_read_that_takes_longer_than_it_may_goes_on_where_it_ended() -> None:
    """Otherwise a transaction that needs more proofs than fit into the time could never be executed."""
    asked: list[str] = []

    def slow(_: Any, body: bytes) -> bytes:
        calls = json.loads(body)
        asked.extend(call["params"][0] for call in calls)
        time.sleep(0.3)
        proofs = [{"accountProof": ["0x" + call["params"][0][2:] * 2], "storageProof": []} for call in calls]
        return json.dumps([{"id": call["id"], "result": one} for call, one in zip(calls, proofs, strict=True)]).encode()

    count = 4 * REMOTE_BATCH_CALLS_MAX
    wanted: list[tuple[bytes, list[bytes]]] = [(place.to_bytes(20, "big"), []) for place in range(count)]
    with node(200, slow) as url:
        reader = RpcStateReader(url, timeout_s=20)
        tries = 0
        while tries < 20:
            tries += 1
            with patience(0.75), suppress(RemoteStateRefused):
                found, _, _ = reader.read(1, bytes(32), wanted, [], [], None)
                break
        else:
            raise AssertionError("it never came to an end")
        reader.close()
    assert sorted(found) == [2 * account for account, _ in wanted]
    assert 1 < tries <= 4
    assert len(asked) <= count + tries * REMOTE_BATCH_CALLS_MAX, "what was answered is not asked for again"


def test_searches_for_nodes_that_are_not_given_are_bounded_and_what_they_found_is_asked_for() -> None:
    """The core searches on all cores for as long as it takes; a transaction could make it do so again and again."""
    asked: list[Any] = []

    def without_debug(_: Any, body: bytes) -> bytes:
        calls = json.loads(body)
        asked.extend(calls)
        proof = {"accountProof": ["0xc0"], "storageProof": []}
        return json.dumps(
            [{"id": one["id"], "result": proof if one["method"] == "eth_getProof" else None} for one in calls]
        ).encode()

    def nodes(count: int) -> list[bytes]:
        return [bytes([place]) * 32 for place in range(count)]

    with node(200, without_debug) as url:
        reader = RpcStateReader(url)
        with pytest.raises(RemoteStateRefused, match="too many to search"):
            reader.read(1, bytes(32), [], [], nodes(REMOTE_SEARCH_NODES_MAX + 1), None)
        with patience(0.3):
            reader.read(1, bytes(32), [], [], nodes(1), None)
            time.sleep(0.4)  # the search
            reader.read(1, bytes(32), [(bytes(20), [])], [], [], None)
        with patience(0.3):
            time.sleep(0.4)
            with pytest.raises(RemoteStateRefused, match="no time left"):
                reader.read(1, bytes(32), [(bytes(20), [])], [], [], None)
        reader._spend_search(REMOTE_SEARCH_S_MAX)
        with pytest.raises(RemoteStateRefused, match="much was searched"):
            reader.read(1, bytes(32), [], [], nodes(1), None)
        reader._search_at_s -= 20
        reader.read(1, bytes(32), [], [], nodes(1), None)
        assert reader.reason == ""
        reader.close()
