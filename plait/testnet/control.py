"""Commands for a running network from another terminal: one JSON request and one JSON answer per connection.

The socket lies in a directory that only this user can enter (a path in the data directory could be too long for a
unix socket); the file `control` of the data directory says where.

    request  {"command": name, "arguments": {...}}
    answer   {"result": ...} or {"error": {"code": ..., "message": ...}}
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from plait.codec.damage import DAMAGED, said
from plait.errors import PlaitError, RequestRefused, Unavailable
from plait.limits import CONTROL_REQUEST_BYTES_MAX
from plait.testnet.layout import CONTROL_FILE

Command = Callable[..., Awaitable[Any]]


@contextlib.asynccontextmanager
async def serve_control(data_dir: Path, commands: Mapping[str, Command]) -> AsyncIterator[None]:
    """Answers commands within the block.

    Args:
        data_dir: of the network.
        commands: by name; they take the request's arguments by name.
    """

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request, one answer."""
        try:
            answer = await _answer(await reader.readline(), commands)
            writer.write(msgspec.json.encode(answer) + b"\n")
            await writer.drain()
        except (OSError, ValueError):
            pass  # the client went away, or sent a line without end
        finally:
            writer.close()

    with tempfile.TemporaryDirectory(prefix="plait-testnet-") as directory:
        path = Path(directory) / "socket"
        server = await asyncio.start_unix_server(connected, path, limit=CONTROL_REQUEST_BYTES_MAX)
        file = data_dir / CONTROL_FILE
        file.write_bytes(msgspec.json.encode({"pid": os.getpid(), "socket": str(path)}))
        try:
            yield
        finally:
            file.unlink(missing_ok=True)
            server.close()


async def _answer(line: bytes, commands: Mapping[str, Command]) -> dict[str, Any]:
    try:
        request = msgspec.json.decode(line)
        name, arguments = request["command"], request.get("arguments", {})
        command = commands.get(name)
        if command is None:
            raise RequestRefused(f"There is no command {name!r}; there are {', '.join(commands)}.")
        return {"result": await command(**arguments)}
    except PlaitError as error:
        return {"error": {"code": error.code, "message": error.message}}
    except (*DAMAGED, KeyError, TypeError, AttributeError) as error:
        return {"error": {"code": "request_refused", "message": f"This is not a command: {said(error)}."}}


async def ask(
    data_dir: Path, command: str, arguments: Mapping[str, Any] | None = None, *, started_by: str = "plait testnet"
) -> Any:
    """The answer of the network that runs in a directory.

    Args:
        data_dir: of the network.
        command: of its own.
        arguments: of the command, by name.
        started_by: the command that a person is told to start it with.

    Raises:
        Unavailable: `testnet_not_running`; or the error that the network answers, with its code.
    """
    missing = Unavailable(
        f"No network runs in {data_dir}; start one with `{started_by} --data-dir {data_dir}`.",
        code="testnet_not_running",
    )
    try:
        found = msgspec.json.decode((data_dir / CONTROL_FILE).read_bytes())
        reader, writer = await asyncio.open_unix_connection(found["socket"], limit=1 << 24)
    except (OSError, *DAMAGED, KeyError, TypeError):
        raise missing from None
    try:
        writer.write(msgspec.json.encode({"command": command, "arguments": arguments or {}}) + b"\n")
        await writer.drain()
        line = await reader.readline()
    finally:
        writer.close()
    if not line:
        raise Unavailable("The network ended before it answered.", code="testnet_not_running")
    answer = msgspec.json.decode(line)
    if "error" in answer:
        raise Unavailable(answer["error"]["message"], code=answer["error"]["code"])
    return answer["result"]
