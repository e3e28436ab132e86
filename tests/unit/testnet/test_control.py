"""The control socket answers every line with one JSON answer: a result, or a code and a sentence; nothing ends it."""

import asyncio
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from plait.errors import RequestRefused, Unavailable
from plait.limits import CONTROL_REQUEST_BYTES_MAX
from plait.testnet.control import ask, serve_control
from plait.testnet.layout import CONTROL_FILE


@asynccontextmanager
async def control(data_dir: Path) -> AsyncIterator[Path]:
    async def double(value: int) -> int:
        return 2 * value

    async def refuse() -> None:
        raise RequestRefused("not now, because", code="fault_time")

    async with serve_control(data_dir, {"double": double, "refuse": refuse}):
        found = msgspec.json.decode(await asyncio.to_thread((data_dir / CONTROL_FILE).read_bytes))
        yield Path(found["socket"])


async def answer_to(socket: Path, line: bytes) -> Any:
    reader, writer = await asyncio.open_unix_connection(socket)
    writer.write(line)
    answer = await asyncio.wait_for(reader.readline(), 5)
    writer.close()
    return msgspec.json.decode(answer) if answer else None


async def test_commands_are_answered_and_refusals_have_their_code(tmp_path: Path) -> None:
    async with control(tmp_path):
        assert await ask(tmp_path, "double", {"value": 21}) == 42
        with pytest.raises(Unavailable) as refused:
            await ask(tmp_path, "refuse")
        assert (refused.value.code, refused.value.message) == ("fault_time", "not now, because")
    with pytest.raises(Unavailable) as missing:
        await ask(tmp_path, "double", {"value": 1})
    assert missing.value.code == "testnet_not_running"


@pytest.mark.parametrize(
    "line",
    [
        b"\n",
        b"nonsense\n",
        b"[]\n",
        b"{}\n",
        b'{"command": 7}\n',
        b'{"command": "sudo"}\n',
        b'{"command": "double"}\n',
        b'{"command": "double", "arguments": [1]}\n',
        b'{"command": "double", "arguments": {"value": 1, "more": 2}}\n',
    ],
)
async def test_what_is_no_command_is_refused_and_the_next_one_answered(tmp_path: Path, line: bytes) -> None:
    async with control(tmp_path) as socket:
        answer = await answer_to(socket, line)
        assert answer["error"]["code"] == "request_refused", answer
        assert await ask(tmp_path, "double", {"value": 1}) == 2


async def test_a_line_without_end_is_bounded(tmp_path: Path) -> None:
    async with control(tmp_path) as socket:
        assert await answer_to(socket, b"x" * (2 * CONTROL_REQUEST_BYTES_MAX)) is None
        assert await ask(tmp_path, "double", {"value": 1}) == 2


async def test_only_this_user_reaches_the_socket(tmp_path: Path) -> None:
    async with control(tmp_path) as socket:
        mode = (await asyncio.to_thread(socket.parent.stat)).st_mode
        assert stat.S_IMODE(mode) == 0o700
