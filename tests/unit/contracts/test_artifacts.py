"""The checked-in contract artifacts are exactly what the sources compile to, and usable as they are."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
ARTIFACTS = REPOSITORY / "plait" / "rollups" / "artifacts"


def test_recompiling_gives_the_same_bytes() -> None:
    """`node compile.mjs --check` finds no difference between sources and artifacts."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        if os.environ.get("CI"):
            pytest.fail("CI must have Node.js and npm, and has not")
        pytest.skip("Node.js or npm is not installed; the artifacts cannot be recompiled here")
    subprocess.run([sys.executable, "tools/build_tools.py", "contracts"], cwd=REPOSITORY, check=True)
    result = subprocess.run(
        ["node", "compile.mjs", "--check"], cwd=REPOSITORY / "contracts", capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr


def test_contracts_folder_links_to_the_one_copy() -> None:
    """contracts/artifacts is the package's folder, not a second copy of it."""
    assert (REPOSITORY / "contracts" / "artifacts").resolve() == ARTIFACTS


def test_every_artifact_names_an_existing_source_and_has_no_unlinked_code() -> None:
    """An artifact is usable as it is: its source exists and its bytecode is complete hex."""
    names = sorted(path.stem for path in ARTIFACTS.glob("*.json"))
    assert {"L1Block", "GasPriceOracle", "L2ToL1MessagePasser", "FeeVault", "DemoToken", "DemoExchange"} <= set(names)
    for name in names:
        artifact = json.loads((ARTIFACTS / f"{name}.json").read_text())
        assert (REPOSITORY / artifact["source"]).exists()
        assert bytes.fromhex(artifact["bytecode"][2:])
        assert bytes.fromhex(artifact["deployedBytecode"][2:])


def test_no_predeploy_uses_immutables() -> None:
    """Genesis places runtime code as it is, where an immutable would read zero; only code deployed later has them."""
    for path in sorted(ARTIFACTS.glob("*.json")):
        source = REPOSITORY / json.loads(path.read_text())["source"]
        deployed_later = path.stem in {"DemoExchange", "OptionDesk", "RemoteAccount"} or source.parent.name == "l1"
        assert deployed_later or "immutable" not in source.read_text()
