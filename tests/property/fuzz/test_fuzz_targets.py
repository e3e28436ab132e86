"""Each fuzz target holds for some hundred mutated inputs, and the fuzzer notices what it is there to notice.

Longer: python -m sim.fuzz --seconds 600. A failure holds the input; replay it with the command that it prints.
"""

import time
from collections.abc import Callable
from contextlib import nullcontext
from random import Random

import pytest

from plait.errors import CodecError
from sim.fuzz.loop import SECONDS_PER_INPUT_MAX, Finding, run
from sim.fuzz.mutation import mutated
from sim.fuzz.target import Target
from sim.fuzz.targets import TARGETS

SEED = 20_261_121
INPUTS = 400


@pytest.mark.parametrize("name", TARGETS)
def test_mutated_inputs_are_read_or_refused(name: str) -> None:
    try:
        found = run(TARGETS[name], seed=SEED, inputs=INPUTS)
    except Finding as finding:
        pytest.fail(f"{finding}; replay it with: python -m sim.fuzz {name} --input {finding.data.hex()}")
    assert found.inputs == INPUTS
    assert found.lines > 0 or not TARGETS[name].guided


def test_a_run_is_a_function_of_its_seed() -> None:
    assert run(TARGETS["batch"], seed=5, inputs=200) == run(TARGETS["batch"], seed=5, inputs=200)
    assert run(TARGETS["batch"], seed=5, inputs=200) != run(TARGETS["batch"], seed=6, inputs=200)


def test_inputs_are_bounded_and_differ() -> None:
    source = Random(1)
    made = [mutated(source, [b"one input", b"another"], 64) for _ in range(500)]
    assert max(map(len, made)) <= 64
    assert len(set(made)) > 400


def crashing(data: bytes) -> bytes:
    if len(data) > 3:
        raise IndexError("beyond the end")
    return data


def slow(data: bytes) -> bytes:
    end = time.thread_time() + (SECONDS_PER_INPUT_MAX + 0.1 if len(data) > 3 else 0)
    while time.thread_time() < end:
        pass
    return data


def nameless(data: bytes) -> bytes:
    raise CodecError("")


@pytest.mark.parametrize(
    ("decode", "encode", "problem"),
    [
        (crashing, None, "raises IndexError"),
        (bytes, lambda value: value.rstrip(b"\x00"), "is read, and written as"),
        (nameless, None, "without a code or a sentence"),
        (slow, None, "takes"),
    ],
)
def test_broken_decoders_are_noticed(
    decode: Callable[[bytes], bytes], encode: Callable[[bytes], bytes] | None, problem: str
) -> None:
    broken = Target(
        name="broken", open=lambda: nullcontext(decode), seeds=lambda: [b"abc"], encode=encode, guided=False
    )
    with pytest.raises(Finding, match=problem) as finding:
        run(broken, seed=1, inputs=2_000)
    assert isinstance(finding.value.data, bytes)
