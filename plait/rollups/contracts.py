"""Compiled contracts: reads plait/rollups/artifacts/<Name>.json, the one place where they are kept.

contracts/compile.mjs writes them; contracts/artifacts is a link to the folder; the wheel holds it as package data.
"""

from functools import cache
from importlib.resources import files
from typing import Any

import msgspec


class Artifact(msgspec.Struct, frozen=True):
    """A compiled contract: ABI as parsed JSON, creation code and runtime code as bytes."""

    name: str
    abi: list[dict[str, Any]]
    creation_code: bytes
    runtime_code: bytes


@cache
def artifact(name: str) -> Artifact:
    """Reads one compiled contract.

    Args:
        name: the contract's name in its source, such as "DemoToken".

    Raises:
        FileNotFoundError: no contract has that name.
    """
    raw = msgspec.json.decode(files("plait.rollups").joinpath("artifacts", f"{name}.json").read_bytes())
    return Artifact(name, raw["abi"], bytes.fromhex(raw["bytecode"][2:]), bytes.fromhex(raw["deployedBytecode"][2:]))
