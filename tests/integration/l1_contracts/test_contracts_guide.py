"""docs/opstack/contracts.md is right: its examples run as they stand, its table of gas is what things take."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import msgspec
import pytest
from contracts_l1 import GAS_TABLE, GAS_TOLERANCE, L1, REPOSITORY, documented_gas, foundry_path
from sub_blocks import account, ledger
from test_deposit_portal import deposits, raw
from validators import Registry, checksummed, members

from plait.l1.contract_proofs import ledger_shape
from plait.rollups.embedded.accounts import DEVELOPMENT_ACCOUNTS

pytestmark = pytest.mark.node_js


def examples(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", GAS_TABLE.read_text(), re.MULTILINE | re.DOTALL)


def program(word: str) -> str:
    """The one program of the document that has this word."""
    (found,) = [text for text in examples("python") if word in text]
    return found


def test_the_example_of_a_deployment_deploys_a_network(l1: L1) -> None:
    """The program deploys what belongs together: a registry under its timelock that knows the validators."""
    some = members([5, 3, 3])
    environment = {
        "L1": l1.url,
        "WALLET": l1.accounts[0],
        "PROPOSER": l1.accounts[1],
        "NETWORK_ID": "77",
        "VALIDATORS": json.dumps(
            [[operator, "0x" + key.hex(), power] for operator, key, power in checksummed(some, l1)]
        ),
        "PATH": os.environ["PATH"],
        "HOME": os.environ.get("HOME", "/"),
    }
    command = [sys.executable, "-c", program("def deploy")]
    done = subprocess.run(
        command, env=environment, cwd=REPOSITORY, check=True, capture_output=True, text=True, timeout=60
    )
    where = json.loads(done.stdout)
    registry = l1.at("PlaitRegistry", where["registry"])
    assert registry.functions.isCurrentSet(checksummed(some, l1)).call()
    assert registry.functions.timelock().call() == where["timelock"]
    assert l1.at("ForcedInclusion", where["forced"]).functions.registry().call() == where["registry"]
    vault = l1.at("StakeVault", where["vault"])
    assert (vault.functions.registry().call(), vault.functions.token().call()) == (where["registry"], where["token"])
    shape = ledger_shape(ledger({account(1): 1}))
    assert tuple(registry.functions.ledgerShapeOf().call()) == msgspec.structs.astuple(shape)


def test_the_examples_make_the_deposits_they_say(l1: L1) -> None:
    """Both commands and the program, copied into a shell, make one deposit each, as described."""
    portal = l1.deploy("DepositPortal")
    wallet = DEVELOPMENT_ACCOUNTS[4]
    environment = {
        "L1": l1.url,
        "PORTAL": portal.address,
        "TARGET": l1.accounts[7],
        "WALLET": l1.accounts[4],
        "KEY": "0x" + wallet.private_key.hex(),
        "PATH": f"{foundry_path('cast').parent}:{os.environ['PATH']}",
        "HOME": os.environ.get("HOME", "/"),
    }
    commands = [["bash", "-euc", text] for text in examples("sh")]
    commands.append([sys.executable, "-c", program("DepositPortal")])
    assert len(commands) == 3
    for command in commands:
        subprocess.run(command, env=environment, cwd=REPOSITORY, check=True, capture_output=True, timeout=60)
    blocks = [l1.web3.eth.get_block(l1.web3.eth.block_number - back) for back in (2, 1, 0)]
    found = [deposits(l1.web3.eth.get_transaction_receipt(block["transactions"][0])) for block in blocks]
    (plain,), (command_made,), (program_made,) = found
    own, target = raw(l1.accounts[4]), raw(l1.accounts[7])
    assert (plain.sender, plain.to, plain.mint, plain.value) == (own, own, 10**16, 10**16)
    for made in (command_made, program_made):
        assert (made.sender, made.to, made.mint, made.value) == (own, target, 10**18, 10**18)
        assert (made.gas_limit, made.data) == (100_000, b"")


def test_the_example_of_a_checkpoint_commits_it(l1: L1) -> None:
    """The program that attests and commits does both, with three of four keys."""
    registry = Registry(l1)
    app_hash = b"\x5a" * 32
    environment = {
        "L1": l1.url,
        "REGISTRY": registry.contract.address,
        "VALIDATORS": json.dumps([[operator, "0x" + key.hex(), power] for operator, key, power in registry.listed()]),
        "KEYS": json.dumps({place: registry.set[place].key.hex() for place in (0, 2, 3)}),
        "HEIGHT": "40",
        "APP_HASH": app_hash.hex(),
        "WALLET": l1.accounts[6],
        "PATH": os.environ["PATH"],
        "HOME": os.environ.get("HOME", "/"),
    }
    command = [sys.executable, "-c", program("commitCheckpoint")]
    done = subprocess.run(
        command, env=environment, cwd=REPOSITORY, check=True, capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "1\n"
    assert registry.functions.appHashOf(40).call() == app_hash


def test_the_documented_deployments_take_what_is_said(l1: L1) -> None:
    """Every deployment of the table is within its tolerance."""
    registry = Registry(l1)
    token = l1.deploy("PlaitToken", l1.accounts[1], 10_000 * 10**18)
    l1.deploy("StakeVault", token.address, registry.contract.address, 86_400)
    l1.deploy("ForcedInclusion", registry.contract.address, 600, 3_600, 10**17)
    portal = l1.deploy("DepositPortal")
    start = (l1.accounts[9], 1_368, 810_949, 30_000_000, l1.accounts[7], l1.accounts[6], portal.address, 901)
    l1.deploy("SystemConfig", l1.accounts[8], start)
    rows = {what: gas for what, gas in documented_gas().items() if what.startswith("deploy ")}
    assert len(rows) == 7
    for what, gas in rows.items():
        used = l1.deployment_gas[what.removeprefix("deploy ").split(",")[0]]
        assert abs(used - gas) <= GAS_TOLERANCE * gas, f"{what} takes {used:,} gas"


def test_every_documented_action_is_measured() -> None:
    """No row of the table is left over: each is the name of an action in these tests."""
    sources = "".join(path.read_text() for path in (REPOSITORY / "tests/integration/l1_contracts").glob("test_*.py"))
    for what in documented_gas():
        measured = what.split(": ")[0] if "headers" in what else what.split("(")[0]
        generated = what.startswith(("deploy ", "SystemConfig."))
        assert generated or measured in sources, what
