"""Framing and the socket server, against bytes as a client may send them."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plait.engines.cometbft.abci_pb2 import (
    Echo,
    Flush,
    Request,
    RequestCheckTx,
    RequestQuery,
    Response,
    ResponseCheckTx,
    ResponseQuery,
)
from plait.engines.cometbft.framing import Deframer, frame
from plait.engines.cometbft.server import AbciServer
from plait.errors import CodecError, InvariantBroken
from plait.limits import ABCI_CONNECTIONS_MAX, ABCI_MESSAGE_BYTES_MAX, ABCI_REQUESTS_WAITING_MAX


# ---------------------------------------------------------------- framing
@given(st.lists(st.binary(max_size=300), max_size=20), st.randoms(use_true_random=False))
def test_what_is_framed_comes_out_however_the_stream_is_cut(messages: list[bytes], cuts: random.Random) -> None:
    stream = b"".join(map(frame, messages))
    deframer = Deframer()
    found: list[bytes] = []
    while stream:
        size = cuts.randint(1, min(len(stream), 40))
        deframer.feed(stream[:size])
        stream = stream[size:]
        while (message := deframer.pop()) is not None:
            found.append(message)
    assert found == messages


@pytest.mark.parametrize(
    ("length", "prefix"), [(0, "00"), (1, "01"), (127, "7f"), (128, "8001"), (300, "ac02"), (16_384, "808001")]
)
def test_lengths_are_unsigned_varints_as_protobuf_writes_them(length: int, prefix: str) -> None:
    assert frame(b"x" * length)[: len(prefix) // 2].hex() == prefix


def test_a_message_above_the_bound_is_refused_before_its_bytes_come() -> None:
    deframer = Deframer()
    deframer.feed(bytes.fromhex("ffffffff0f"))
    with pytest.raises(CodecError) as refused:
        deframer.pop()
    assert refused.value.code == "frame_too_large"
    assert ABCI_MESSAGE_BYTES_MAX < 0xFFFFFFFF


def test_a_length_that_never_ends_is_refused_after_five_bytes() -> None:
    deframer = Deframer()
    deframer.feed(b"\xff" * 5)
    with pytest.raises(CodecError) as refused:
        deframer.pop()
    assert refused.value.code == "frame_invalid"


# ---------------------------------------------------------------- the server
class Handler:
    """Answers CheckTx and Query; may be told to wait or to fail."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.failures: list[tuple[BaseException, str]] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self, request: Request, method: str, connection: int) -> Response:
        if method == "check_tx":
            tx = request.check_tx.tx
            if tx == b"wait":
                await self.gate.wait()
            if tx == b"fail":
                raise InvariantBroken("it broke", code="broken_on_purpose")
            if tx == b"bug":
                raise ZeroDivisionError
            if tx.startswith(b"sleep"):
                await asyncio.sleep(random.random() / 500)
            self.log.append(tx.decode(errors="replace"))
            return Response(check_tx=ResponseCheckTx(log=tx.hex()))
        if method == "query":
            return Response(query=ResponseQuery(log=f"connection {connection}"))
        raise CodecError("unknown")

    def on_failure(self, error: BaseException, method: str) -> None:
        self.failures.append((error, method))


class Peer:
    """A client that reads and writes frames."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.deframer = Deframer()

    def send(self, *requests: Request) -> None:
        self.writer.write(b"".join(frame(request.SerializeToString()) for request in requests))

    async def answer(self) -> Response | None:
        """The next answer; None at the end of the connection."""
        while (data := self.deframer.pop()) is None:
            read = await asyncio.wait_for(self.reader.read(65_536), 10)
            if not read:
                return None
            self.deframer.feed(read)
        response = Response()
        response.ParseFromString(data)
        return response


@asynccontextmanager
async def serving(path: Path) -> AsyncIterator[tuple[Handler, Path]]:
    handler = Handler()
    server = AbciServer(path / "abci.sock", handler, handler.on_failure)
    await server.start()
    try:
        yield handler, path / "abci.sock"
    finally:
        await server.close()


async def connect(path: Path) -> Peer:
    return Peer(*await asyncio.open_unix_connection(str(path)))


def check(tx: bytes) -> Request:
    return Request(check_tx=RequestCheckTx(tx=tx))


FLUSH = Request(flush=Flush())


async def test_answers_come_in_the_order_of_the_requests_whatever_each_takes(tmp_path: Path) -> None:
    async with serving(tmp_path) as (handler, path):
        peer = await connect(path)
        wanted = [f"{'sleep' if index % 3 else 'now'} {index}".encode() for index in range(200)]
        peer.send(*(check(tx) for tx in wanted), FLUSH)
        answers = [await peer.answer() for _ in range(201)]
        assert [bytes.fromhex(one.check_tx.log) for one in answers[:200] if one is not None] == wanted
        assert answers[200] is not None
        assert answers[200].WhichOneof("value") == "flush"
        assert handler.log == [tx.decode() for tx in wanted]


async def test_echo_flush_and_answers_without_a_flush(tmp_path: Path) -> None:
    async with serving(tmp_path) as (_, path):
        peer = await connect(path)
        peer.send(Request(echo=Echo(message="hallo")))
        answer = await peer.answer()
        assert answer is not None
        assert answer.echo.message == "hallo"


async def test_connections_do_not_wait_for_each_other(tmp_path: Path) -> None:
    async with serving(tmp_path) as (handler, path):
        handler.gate.clear()
        slow, quick = await connect(path), await connect(path)
        slow.send(check(b"wait"), FLUSH)
        quick.send(Request(query=RequestQuery(path="/")), FLUSH)
        answer = await quick.answer()
        assert answer is not None
        assert answer.query.log.startswith("connection ")
        handler.gate.set()
        assert await slow.answer() is not None


@pytest.mark.parametrize(("what", "said"), [(b"fail", "broken_on_purpose: it broke"), (b"bug", "ZeroDivisionError")])
async def test_a_handler_that_fails_is_an_exception_and_the_end_of_the_connection(
    tmp_path: Path, what: bytes, said: str
) -> None:
    async with serving(tmp_path) as (handler, path):
        peer = await connect(path)
        peer.send(check(b"one"), check(what), check(b"never"), FLUSH)
        first, second, third = await peer.answer(), await peer.answer(), await peer.answer()
        assert first is not None
        assert first.check_tx.log == b"one".hex()
        assert second is not None
        assert second.exception.error == said
        assert third is None
        assert handler.log == ["one"]
        assert [method for _, method in handler.failures] == ["check_tx"]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (frame(b""), "no kind"),
        (frame(b"\xff\xff\xff"), "malformed"),
        (frame(bytes.fromhex("2200")), "no kind"),  # field 4 was removed from ABCI
        (bytes.fromhex("ffffffff0f"), "are the most"),
        (b"\xff" * 40, "varint"),
    ],
)
async def test_bytes_that_are_no_request_get_an_exception_and_never_a_hang(
    tmp_path: Path, data: bytes, said: str
) -> None:
    async with serving(tmp_path) as (handler, path):
        peer = await connect(path)
        peer.writer.write(data)
        answer = await peer.answer()
        assert answer is not None
        assert said in answer.exception.error
        assert await peer.answer() is None
        assert handler.failures == [], "only this connection is affected"
        other = await connect(path)
        other.send(check(b"after"), FLUSH)
        assert await other.answer() is not None


async def test_random_bytes_end_their_connection_or_are_answered_and_others_go_on(tmp_path: Path) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    source = random.Random(seed)
    async with serving(tmp_path) as (_, path):
        for _ in range(150):
            peer = await connect(path)
            data = bytearray(
                b"".join(
                    frame(check(source.randbytes(source.randint(0, 90))).SerializeToString())
                    for _ in range(source.randint(1, 4))
                )
            )
            for _ in range(source.randint(1, 6)):
                data[source.randrange(len(data))] = source.randrange(256)
            peer.writer.write(data)
            peer.writer.write_eof()
            while await peer.answer() is not None:
                pass
            peer.writer.close()
        last = await connect(path)
        last.send(check(b"alive"), FLUSH)
        answer = await last.answer()
        assert answer is not None
        assert answer.check_tx.log == b"alive".hex()


async def test_a_client_that_does_not_read_is_not_read_from_without_bound(tmp_path: Path) -> None:
    async with serving(tmp_path) as (handler, path):
        handler.gate.clear()
        peer = await connect(path)
        peer.send(check(b"wait"))
        count = ABCI_REQUESTS_WAITING_MAX * 20
        block = b"".join(frame(check(b"%d" % index + b"x" * 1000).SerializeToString()) for index in range(count))
        peer.writer.write(block)
        await asyncio.sleep(0.2)
        assert peer.writer.transport.get_write_buffer_size() > len(block) // 3, "the server stopped reading"
        handler.gate.set()
        peer.send(FLUSH)
        answers = [await peer.answer() for _ in range(count + 2)]
        assert answers[-1] is not None
        assert answers[-1].WhichOneof("value") == "flush"
        assert len(handler.log) == count + 1


async def test_more_connections_than_the_bound_are_closed_at_once(tmp_path: Path) -> None:
    async with serving(tmp_path) as (_, path):
        peers = [await connect(path) for _ in range(ABCI_CONNECTIONS_MAX)]
        await asyncio.sleep(0.05)
        extra = await connect(path)
        assert await extra.answer() is None
        peers[0].send(FLUSH)
        assert await peers[0].answer() is not None


async def test_the_socket_is_its_owners_alone_and_a_long_path_is_no_obstacle(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100) / ("e" * 60)
    async with serving(deep) as (_, path):
        assert path.stat().st_mode & 0o777 == 0o600
        client = socket.socket(socket.AF_UNIX)
        fd = None
        try:
            import os

            fd = os.open(deep, os.O_RDONLY)
            await asyncio.to_thread(client.connect, f"/proc/self/fd/{fd}/abci.sock")
        finally:
            client.close()
            if fd is not None:
                os.close(fd)


async def test_a_stale_socket_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "abci.sock").write_bytes(b"")
    async with serving(tmp_path) as (_, path):
        peer = await connect(path)
        peer.send(FLUSH)
        assert await peer.answer() is not None
