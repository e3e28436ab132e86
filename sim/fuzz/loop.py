"""Runs a target on mutated inputs; what reaches a line of Plait that nothing reached before joins the corpus.

Lines are seen by the interpreter's trace hook, so the native core is fuzzed without guidance. A target fails when an
input makes it raise anything but what it declares, take longer than `SECONDS_PER_INPUT_MAX`, or read a value that it
does not write back as the same bytes. The failure names the seed and holds the input.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from types import FrameType
from typing import Any, Final

import msgspec

import plait
from plait.errors import PlaitError
from sim.fuzz.mutation import mutated
from sim.fuzz.target import Target

SECONDS_PER_INPUT_MAX: Final = 2.0
"""CPU time. The largest input has 4,096 bytes: anything that takes this long is not linear in its size."""
INPUT_BYTES_MAX: Final = 4_096
_CORPUS_MAX: Final = 2_000
_PLAIT: Final = str(Path(plait.__file__).parent)

Line = tuple[str, int]


class Found(msgspec.Struct, kw_only=True):
    """What came of a run."""

    inputs: int
    accepted: int
    lines: int
    """Lines of Plait that were reached."""
    kept: int
    """Inputs that reached a new line."""


class Finding(AssertionError):
    """An input that breaks the target's promise."""

    def __init__(self, target: str, data: bytes, problem: str) -> None:
        super().__init__(f"{target}: {problem}; input: {data.hex()}")
        self.data = data


def run(target: Target, *, seed: int, inputs: int | None = None, seconds: float | None = None) -> Found:
    """Fuzzes a target until `inputs` were tried or `seconds` are over, whichever is first.

    Args:
        target: what to work on.
        seed: chooses the mutations; with `inputs` alone the whole run is a function of it.
        inputs: how many; None for no bound.
        seconds: for how long; None for no bound.

    Raises:
        Finding: an input broke the target's promise.
    """
    source = Random(seed)
    end = None if seconds is None else time.monotonic() + seconds
    lines: set[Line] = set()
    corpus = list(target.seeds())
    found = Found(inputs=0, accepted=0, lines=0, kept=0)
    with target.open() as decode:
        for data in list(corpus):
            _try(target, decode, data, lines, must_read=not target.seeds_may_fail)
        while (inputs is None or found.inputs < inputs) and (end is None or time.monotonic() < end):
            data = mutated(source, corpus, INPUT_BYTES_MAX)
            before = len(lines)
            found.accepted += _try(target, decode, data, lines)
            found.inputs += 1
            if len(lines) > before and len(corpus) < _CORPUS_MAX:
                corpus.append(data)
                found.kept += 1
    found.lines = len(lines)
    return found


def _try(
    target: Target, decode: Callable[[bytes], Any], data: bytes, lines: set[Line], *, must_read: bool = False
) -> bool:
    """Whether the input was read."""
    began = time.thread_time()
    outer = sys.gettrace()
    if target.guided:
        sys.settrace(_tracer(lines))
    try:
        value = decode(data)
    except target.refusals as error:
        if isinstance(error, PlaitError) and not (error.code and error.message):
            raise Finding(target.name, data, "a refusal without a code or a sentence") from error
        if must_read:
            raise Finding(target.name, data, f"a valid input is refused: {error}") from error
        return False
    except Exception as error:
        raise Finding(target.name, data, f"raises {error!r}") from error
    finally:
        sys.settrace(outer)
        taken = time.thread_time() - began
        if taken > SECONDS_PER_INPUT_MAX:
            raise Finding(target.name, data, f"takes {taken:.1f} s")
    if target.encode is not None and (written := target.encode(value)) != data:
        raise Finding(target.name, data, f"is read, and written as {written.hex()}")
    return True


def _tracer(lines: set[Line]) -> Callable[[FrameType, str, Any], Any]:
    def local(frame: FrameType, event: str, _argument: Any) -> Any:
        if event == "line":
            lines.add((frame.f_code.co_filename, frame.f_lineno))
        return local

    def trace(frame: FrameType, _event: str, _argument: Any) -> Any:
        return local if frame.f_code.co_filename.startswith(_PLAIT) else None

    return trace
