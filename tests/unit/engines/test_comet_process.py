"""CometBFT's process: a line after which it lives on and does nothing ends it."""

import asyncio
from pathlib import Path

import pytest

from plait.engines.cometbft.process import CometProcess
from plait.errors import Unavailable


@pytest.mark.parametrize(
    ("line", "ends"),
    [
        ('{"level":"error","module":"consensus","_msg":"CONSENSUS FAILURE!!!","err":"no"}', True),
        ('{"level":"error","module":"statesync","_msg":"State sync failed","err":"state sync aborted"}', True),
        ('{"level":"error","module":"statesync","_msg":"Failed to switch to block sync","err":"no"}', True),
        ('{"level":"error","module":"p2p","_msg":"dialing failed","err":"no"}', False),
    ],
)
async def test_a_process_that_would_do_nothing_any_more_is_ended_with_what_it_said(
    tmp_path: Path, line: str, ends: bool
) -> None:
    program = tmp_path / "comet"
    program.write_text(f"#!/bin/sh\necho '{line}'\nexec sleep 60\n")
    program.chmod(0o700)
    (tmp_path / "cometbft").mkdir()
    said: list[str] = []
    process = CometProcess(program, tmp_path, lambda _, text: said.append(text))
    await process.start()
    waiting = asyncio.ensure_future(process.wait())
    try:
        done, _ = await asyncio.wait({waiting}, timeout=20 if ends else 1)
        assert bool(done) == ends
    finally:
        await process.stop()
    assert said
    if ends:
        with pytest.raises(Unavailable, match="cannot go on"):
            await waiting
    else:
        await waiting
