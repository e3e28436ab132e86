"""A node whose CometBFT cannot run, or is another network's, ends with an error that names the reason."""

from __future__ import annotations

import asyncio
import json
import socket
from pathlib import Path

import msgspec
import pytest
from comet_network import make_network, require_cometbft, running_of_home

from plait.engines.cometbft.binary import find_cometbft
from plait.engines.cometbft.home import create_keys, public_key_of, write_genesis
from plait.errors import ConfigurationError, InvariantBroken, PlaitError
from plait.node.config import NodeConfig
from plait.node.engine import comet_genesis
from plait.node.node import Node, open_storage

pytestmark = [pytest.mark.cometbft, pytest.mark.timeout(90)]


async def failure_of(config: NodeConfig) -> PlaitError:
    """What a node ends with that is left to itself."""
    with pytest.raises(PlaitError) as failed:
        async with asyncio.timeout(40), Node.start(None, config) as node:
            await node.stopped()
    assert config.data_dir is not None
    assert running_of_home(config.data_dir) == []
    return failed.value


async def test_cometbft_that_was_started_from_another_genesis_is_refused(tmp_path: Path) -> None:
    require_cometbft()
    (config,) = make_network(tmp_path, 1)
    assert config.data_dir is not None
    path = config.data_dir / "cometbft" / "config" / "genesis.json"
    document = json.loads(path.read_text())
    document["app_state"]["fingerprint"] = "0x" + "11" * 32
    path.write_text(json.dumps(document))
    error = await failure_of(config)
    assert isinstance(error, ConfigurationError)
    assert error.code == "comet_genesis_mismatch"
    assert "the application's genesis" in error.message


async def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    require_cometbft()
    (config,) = make_network(tmp_path, 1)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", config.p2p_port))
        taken.listen()
        error = await failure_of(config)
    assert error.code == "cometbft_failed"
    assert "address already in use" in error.message
    assert str(config.p2p_port) in error.message


async def test_a_home_without_keys_and_a_network_without_validators_are_refused(tmp_path: Path) -> None:
    require_cometbft()
    (config,) = make_network(tmp_path, 1)
    assert config.data_dir is not None
    (config.data_dir / "cometbft" / "config" / "node_key.json").unlink()
    assert (await failure_of(config)).code == "comet_home_missing"
    (other,) = make_network(tmp_path / "none", 1)
    assert other.data_dir is not None
    stored = open_storage(None, NodeConfig(data_dir=other.data_dir))
    stored.log.close()
    assert stored.directory is not None
    stored.directory.close()
    document = msgspec.structs.replace(stored.network, validators=())
    (other.data_dir / "network.json").write_bytes(document.encode())
    for segment in (other.data_dir / "log").iterdir():
        segment.unlink()
    assert (await failure_of(other)).code == "validators_missing"


async def test_a_signer_that_forgot_what_it_signed_does_not_start(tmp_path: Path) -> None:
    require_cometbft()
    (config,) = make_network(tmp_path, 1)
    assert config.data_dir is not None
    async with Node.start(None, config) as node:
        await anext(node.bus.subscribe())
    (config.data_dir / "cometbft" / "data" / "priv_validator_state.json").unlink()
    error = await failure_of(config)
    assert isinstance(error, InvariantBroken)
    assert error.code == "signer_memory_lost"


def test_a_missing_or_older_program_is_named_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLAIT_COMETBFT", str(tmp_path / "nowhere"))
    with pytest.raises(ConfigurationError) as missing:
        find_cometbft()
    assert missing.value.code == "cometbft_missing"
    monkeypatch.delenv("PLAIT_COMETBFT")
    monkeypatch.setenv("PLAIT_CACHE", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigurationError) as missing:
        find_cometbft()
    assert "go install github.com/cometbft/cometbft/cmd/cometbft@v0.38.25" in missing.value.message
    program = tmp_path / "cometbft"
    for version, usable in (("0.38.24", False), ("0.37.18", False), ("1.0.1", False), ("0.38.26", True), ("no", False)):
        program.write_text(f"#!/bin/sh\necho {version}\n")
        program.chmod(0o755)
        if usable:
            assert find_cometbft() == program
            continue
        with pytest.raises(ConfigurationError) as old:
            find_cometbft()
        assert old.value.code == "cometbft_version"
        assert version in old.value.message or version == "no"


def test_keys_are_made_once_and_a_genesis_of_another_network_is_refused(tmp_path: Path) -> None:
    require_cometbft()
    (config,) = make_network(tmp_path, 1)
    assert config.data_dir is not None
    first = create_keys(config.data_dir)
    assert create_keys(config.data_dir) == first
    assert public_key_of(config.data_dir) == first[0]
    assert len(first[1]) == 40
    stored = open_storage(None, NodeConfig(data_dir=config.data_dir))
    stored.log.close()
    assert stored.directory is not None
    stored.directory.close()
    genesis = comet_genesis(stored.network, stored.genesis)
    write_genesis(config.data_dir, genesis)
    with pytest.raises(ConfigurationError) as refused:
        write_genesis(config.data_dir, msgspec.structs.replace(genesis, validators=()))
    assert refused.value.code == "comet_genesis_mismatch"
