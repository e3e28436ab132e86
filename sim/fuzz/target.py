"""One thing to fuzz: a decoder, the refusals it may answer with, valid inputs to begin from, and where there is one the
encoder that must give back the same bytes for whatever was read.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import msgspec

from plait.errors import CodecError

Decode = Callable[[bytes], Any]


class Target(msgspec.Struct, kw_only=True, frozen=True):
    """One thing to fuzz."""

    name: str
    open: Callable[[], AbstractContextManager[Decode]]
    seeds: Callable[[], Sequence[bytes]]
    """Inputs to begin from, at least one."""
    refusals: tuple[type[Exception], ...] = (CodecError,)
    encode: Callable[[Any], bytes] | None = None
    seeds_may_fail: bool = False
    guided: bool = True
    """False where the work is done by other threads or by the native core, which the trace hook does not see."""


def decoder(
    name: str,
    decode: Decode,
    seeds: Callable[[], Sequence[bytes]],
    *,
    encode: Callable[[Any], bytes] | None = None,
    refusals: tuple[type[Exception], ...] = (CodecError,),
    seeds_may_fail: bool = False,
    guided: bool = True,
) -> Target:
    """A target that keeps nothing between inputs."""
    return Target(
        name=name,
        open=lambda: nullcontext(decode),
        seeds=seeds,
        refusals=refusals,
        encode=encode,
        seeds_may_fail=seeds_may_fail,
        guided=guided,
    )
