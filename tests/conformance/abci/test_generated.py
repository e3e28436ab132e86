"""What is checked in of the ABCI messages is what abci.proto gives, and its numbers are CometBFT's."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from plait.engines.cometbft import abci_pb2

REPOSITORY = Path(__file__).resolve().parents[3]
MODULE = "github.com/cometbft/cometbft@v0.38.25"
RENAMED = {"RequestEcho": "Echo", "ResponseEcho": "Echo", "RequestFlush": "Flush", "ResponseFlush": "Flush"}
"""Published name -> ours, where one message serves two."""


def test_generating_again_gives_the_same_bytes() -> None:
    done = subprocess.run(
        [sys.executable, REPOSITORY / "tools" / "generate_abci.py", "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def _module() -> Path:
    try:
        cache = subprocess.run(["go", "env", "GOMODCACHE"], capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("Go is not installed")
    path = Path(cache) / MODULE
    if not path.exists():
        pytest.skip("the sources of CometBFT are not in Go's module cache")
    return path


def published_fields(text: str) -> dict[str, dict[str, int]]:
    """Message -> field -> number, read from a .proto file without a parser of its own grammar."""
    text = re.sub(r"//[^\n]*", "", text)
    text = re.sub(r"\[[^\]]*\]", "", text)
    found: dict[str, dict[str, int]] = {}
    for message in re.finditer(r"message (\w+) \{", text):
        depth, end = 1, message.end()
        while depth:
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            end += 1
        body = re.sub(r"enum \w+ \{[^}]*\}", "", text[message.end() : end - 1])
        fields = re.findall(r"(?:repeated\s+)?[\w.]+\s+(\w+)\s*=\s*(\d+)\s*;", body)
        found[message[1]] = {name: int(number) for name, number in fields}
    return found


def test_every_field_has_the_published_name_and_number() -> None:
    proto = _module() / "proto" / "tendermint"
    published: dict[str, dict[str, int]] = {}
    for name in ("types/params.proto", "crypto/keys.proto", "abci/types.proto"):
        published.update(published_fields((proto / name).read_text()))
    ours = abci_pb2.DESCRIPTOR.message_types_by_name
    compared = 0
    for name, message in ours.items():
        if name in ("Timestamp", "Duration"):
            assert {field.name: field.number for field in message.fields} == {"seconds": 1, "nanos": 2}
            continue
        original = next((key for key, value in RENAMED.items() if value == name), name)
        assert original in published, name
        for field in message.fields:
            assert published[original].get(field.name) == field.number, f"{name}.{field.name}"
            compared += 1
    assert compared > 100
    requests = {field.name for field in ours["Request"].fields}
    assert requests == set(published["Request"]), "every request of ABCI 2.0 is known"
    assert {field.name for field in ours["Response"].fields} == set(published["Response"])
