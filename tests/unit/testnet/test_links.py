"""A link passes bytes unchanged while it is open, holds them while it is silent, and resets connections when cut."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import uvloop

from plait.testnet.links import HOST, Link

WAIT_S = 5
HELD_S = 0.2


@pytest.fixture(params=[asyncio.DefaultEventLoopPolicy, uvloop.EventLoopPolicy])
def event_loop_policy(request: pytest.FixtureRequest) -> asyncio.AbstractEventLoopPolicy:
    """The supervisor runs on uvloop, whose transports differ in when they begin to read."""
    policy: asyncio.AbstractEventLoopPolicy = request.param()
    return policy


@asynccontextmanager
async def echoing_link() -> AsyncIterator[Link]:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(echo, HOST, 0)
    link = Link("a", "b", server.sockets[0].getsockname()[1])
    await link.open()
    try:
        yield link
    finally:
        await link.close()
        server.close()


async def test_bytes_pass_unchanged_both_ways() -> None:
    async with echoing_link() as link:
        reader, writer = await asyncio.open_connection(HOST, link.port)
        sent = bytes(range(256)) * 40_000  # more than sockets buffer: reading has to stop and go on
        writer.write(sent)
        assert await asyncio.wait_for(reader.readexactly(len(sent)), WAIT_S) == sent
        writer.close()


async def test_a_silent_link_holds_bytes_and_delivers_them_when_it_opens() -> None:
    async with echoing_link() as link:
        reader, writer = await asyncio.open_connection(HOST, link.port)
        writer.write(b"one")
        assert await asyncio.wait_for(reader.readexactly(3), WAIT_S) == b"one"
        link.set("silent")
        writer.write(b"two")
        new_reader, new_writer = await asyncio.open_connection(HOST, link.port)
        new_writer.write(b"new")
        for silent in (reader, new_reader):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(silent.readexactly(1), HELD_S)
        link.set("open")
        assert await asyncio.wait_for(reader.readexactly(3), WAIT_S) == b"two"
        assert await asyncio.wait_for(new_reader.readexactly(3), WAIT_S) == b"new"
        writer.close()
        new_writer.close()


async def test_a_cut_link_resets_connections_and_refuses_new_ones_until_it_opens() -> None:
    async with echoing_link() as link:
        reader, writer = await asyncio.open_connection(HOST, link.port)
        writer.write(b"one")
        assert await asyncio.wait_for(reader.readexactly(3), WAIT_S) == b"one"
        link.set("cut")
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await asyncio.wait_for(reader.readexactly(1), WAIT_S)
        new_reader, new_writer = await asyncio.open_connection(HOST, link.port)
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await asyncio.wait_for(new_reader.readexactly(1), WAIT_S)
        assert link.statistics()["connections"] == 0
        link.set("open")
        again_reader, again_writer = await asyncio.open_connection(HOST, link.port)
        again_writer.write(b"two")
        assert await asyncio.wait_for(again_reader.readexactly(3), WAIT_S) == b"two"
        for one in (writer, new_writer, again_writer):
            one.close()


async def test_a_target_that_is_gone_ends_the_connection() -> None:
    async with echoing_link() as link:
        link.target_port = 1
        reader, writer = await asyncio.open_connection(HOST, link.port)
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await asyncio.wait_for(reader.readexactly(1), WAIT_S)
        writer.close()
