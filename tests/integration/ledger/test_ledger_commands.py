"""The commands of the ledger against a real node: keys, tokens, stake, validators, governance, the registry.

One network for all of them, with a validator of the genesis (development account 0) and votes of two slots.
"""

import json
import os
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
from eth_account import Account

from plait.cli.main import main
from plait.native import ed25519_public_key
from plait.node.config import AccountConfig, NetworkConfig, RollupConfig, ValidatorConfig
from plait.rollups.embedded.accounts import DEVELOPMENT_ACCOUNTS
from plait.rpc import RpcConfig
from sim.listening import Running, running

TOKEN = 10**18
PEOPLE = ["0x" + account.address.hex() for account in DEVELOPMENT_ACCOUNTS]
SEEDS = [bytes([number]) * 32 for number in (1, 2)]


class Done(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture(scope="module")
def node() -> Iterator[Running]:
    network = NetworkConfig(
        genesis_time_s=int(time.time()) - 1,
        sub_blocks_per_slot=10,
        rollups=(RollupConfig(chain_id=901), RollupConfig(chain_id=902)),
        accounts=tuple(AccountConfig(address=address, balance=10_000 * TOKEN) for address in PEOPLE[:4]),
        validators=(
            ValidatorConfig(
                operator=PEOPLE[0],
                public_key="0x" + ed25519_public_key(SEEDS[0]).hex(),
                stake=1_000 * TOKEN,
                name="alice",
            ),
        ),
        ledger={
            "voting_period_slots": 2,
            "timelock_slots": 1,
            "epoch_heights": 10,
            "rollup_join_notice_slots": 2,
            "rollup_leave_notice_slots": 2,
        },
    )
    yield from running(RpcConfig(port=0, rollup_port_base=None), network)


@pytest.fixture(scope="module")
def keys_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home") / "keys"


@pytest.fixture
def plait(
    capsys: pytest.CaptureFixture[str], node: Running, keys_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Done]:
    monkeypatch.setenv("PLAIT_URL", node.server.url)
    monkeypatch.setenv("PLAIT_KEYS", str(keys_dir))
    monkeypatch.setenv("COLUMNS", "120")

    def run(*arguments: str) -> Done:
        code: object = 0
        try:
            main(list(arguments))
        except SystemExit as end:
            code = end.code
        captured = capsys.readouterr()
        return Done(code if isinstance(code, int) else 0, captured.out, captured.err)

    for number, name in enumerate(("alice", "bob", "carol", "dave")):
        if not (keys_dir / f"{name}.json").exists():
            assert run("keys", "import", name, "--development", str(number)).code == 0
    return run


def until(found: Callable[[], Any], seconds: float = 20) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = found()
        if value:
            return value
        time.sleep(0.1)
    raise AssertionError("it did not happen in time")


def test_key_files_are_their_owners_alone_and_say_no_secret(plait: Callable[..., Done], keys_dir: Path) -> None:
    made = plait("keys", "create", "eve", "--json")
    assert made.code == 0
    path = keys_dir / "eve.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    secret = json.loads(path.read_text())["private_key"]
    listed = plait("keys", "list")
    assert made.json["address"] in listed.out
    assert secret[2:] not in made.out + listed.out + made.err + listed.err
    again = plait("keys", "create", "eve")
    assert (again.code, "key_exists" in again.err) == (4, True)
    path.chmod(0o644)
    exposed = plait("transfer", PEOPLE[1], "1", "--from", "eve")
    assert (exposed.code, "key_exposed" in exposed.err) == (4, True)
    os.remove(path)
    unknown = plait("transfer", PEOPLE[1], "1", "--from", "eve")
    assert (unknown.code, "key_unknown" in unknown.err) == (4, True)


def test_a_transfer_moves_tokens_to_the_unit(plait: Callable[..., Done], node: Running) -> None:
    stranger = "0x" + "5a" * 20
    done = plait("transfer", stranger, "2.000000000000000003", "--from", "bob", "--json")
    assert done.code == 0, done.err
    assert done.json["height"] > 0
    found = node.call("plait_getAccount", stranger)
    assert int(found["balance"], 16) == 2 * TOKEN + 3
    assert "2.000000000000000003 PLAIT" in plait("account", stranger).out
    too_much = plait("transfer", stranger, "1000000", "--from", "bob")
    assert too_much.code != 0
    assert "account_balance_insufficient" in too_much.err


def test_stake_is_bonded_by_name_and_shown(plait: Callable[..., Done], node: Running) -> None:
    assert plait("delegate", "alice", "10", "--from", "bob").code == 0
    found = node.call("plait_getDelegations", PEOPLE[1])
    assert [int(entry["amount"], 16) for entry in found["delegations"]] == [10 * TOKEN]
    assert plait("undelegate", "alice", "4", "--from", "bob").code == 0
    found = node.call("plait_getDelegations", PEOPLE[1])
    assert [int(entry["amount"], 16) for entry in found["unbonding"]] == [4 * TOKEN]
    assert plait("rewards", "alice", "--from", "bob").code == 0
    shown = plait("account", "bob")
    assert "6 PLAIT bonded" in shown.out
    assert "unbonding 4 PLAIT" in shown.out
    over = plait("undelegate", "alice", "7", "--from", "bob")
    assert "delegation_insufficient" in over.err


def test_a_validator_joins_with_its_nodes_key_is_seen_and_leaves(
    plait: Callable[..., Done], tmp_path: Path, node: Running
) -> None:
    home = tmp_path / "home"
    (home / "cometbft" / "config").mkdir(parents=True)
    key = SEEDS[1] + ed25519_public_key(SEEDS[1])
    content = {"address": "", "priv_key": {"type": "tendermint/PrivKeyEd25519", "value": key}}
    (home / "cometbft" / "config" / "priv_validator_key.json").write_bytes(msgspec.json.encode(content))
    joining = ("validator", "join", "--home", str(home), "--stake", "50", "--name", "carol", "--from", "carol")
    done = plait(*joining)
    assert done.code == 0, done.err
    assert key[:32].hex() not in done.out + done.err
    assert "validator_exists" in plait(*joining).err
    shown = plait("validator", "status", "carol", "--json").json["validators"]
    assert [entry["publicKey"] for entry in shown] == ["0x" + ed25519_public_key(SEEDS[1]).hex()]
    assert plait("validator", "edit", "--name", "carol 2", "--commission", "5.5", "--from", "carol").code == 0
    until(lambda: node.call("plait_getValidator", PEOPLE[2])["status"] == "active")
    leaders = node.call("plait_getLeader", 40)
    assert {entry["name"] for entry in leaders["next"]} == {"alice", "carol 2"}
    assert "validator_not_jailed" in plait("validator", "unjail", "--from", "carol").err
    assert plait("validator", "leave", "--from", "carol").code == 0
    assert plait("validator", "status", "nobody").code == 1
    assert "led by" in plait("validator", "status").out


def test_a_vote_changes_a_parameter(plait: Callable[..., Done], node: Running) -> None:
    done = plait("gov", "propose", "parameters", "delegation_min=5", "--title", "less dust", "--from", "bob")
    assert done.code == 0, done.err
    number = str(node.call("plait_getProposals")[0]["proposalId"])
    assert plait("gov", "vote", number, "yes", "--from", "alice").code == 0
    assert "vote_repeated" in plait("gov", "vote", number, "no", "--from", "alice").err
    assert "less dust" in plait("gov", "list").out
    assert "yes" in plait("gov", "show", number).out
    until(lambda: node.call("plait_getProposal", int(number))["status"] == "executed")
    values = node.call("plait_getLedgerParameters")["parameters"]
    assert values["delegation_min"]["value"] == "5"
    assert plait("gov", "show", "99").code == 1
    bad = plait("gov", "propose", "parameters", "epoch_heights=1", "--title", "x", "--from", "bob")
    assert "proposal_parameter_out_of_range" in bad.err


def test_a_registered_rollup_joins_makes_blocks_changes_and_leaves(plait: Callable[..., Done], node: Running) -> None:
    funded = f"{PEOPLE[5]}=3"
    done = plait("rollup", "register", "7001", "--fund", funded, "--escrow", "200", "--from", "dave")
    assert done.code == 0, done.err
    assert "7001" in plait("rollup", "list").out
    until(lambda: any(entry["rollupId"] == 7001 for entry in node.call("plait_rollups", rollup=None)), 30)
    entry = next(e for e in node.call("plait_getRollups")["rollups"] if e["rollupId"] == 7001)
    assert entry["status"] == "active"
    shown = until(
        lambda: [
            e for e in node.call("plait_rollups", rollup=None) if e["rollupId"] == 7001 and e["head"]["number"] > 1
        ]
    )
    assert shown[0]["genesisHash"] == entry["parameters"]["genesisHash"]
    assert "rollup_already_registered" in plait("rollup", "register", "7001", "--from", "dave").err
    assert plait("rollup", "update", "7001", "--gas-limit", "20000000", "--from", "dave").code == 0
    assert plait("rollup", "fund", "7001", "1", "--from", "bob").code == 0
    assert "rollup_owner_wrong" in plait("rollup", "leave", "7001", "--from", "bob").err
    until(
        lambda: (
            next(e for e in node.call("plait_rollups", rollup=None) if e["rollupId"] == 7001)["gasLimit"] == 20_000_000
        )
    )
    assert plait("rollup", "leave", "7001", "--from", "dave").code == 0
    gone = until(lambda: node.call("plait_getRollups")["departed"], 30)
    assert (gone[0]["rollupId"], gone[0]["reason"]) == (7001, "owner")
    assert "rollup_departed" in plait("rollup", "register", "7001", "--from", "dave").err


def test_a_wallet_signs_what_the_node_shows_it(node: Running) -> None:
    key = DEVELOPMENT_ACCOUNTS[3].private_key
    fields = {"to": PEOPLE[9], "amount": "12"}
    document = node.call("plait_getActionTypedData", "Transfer", fields, PEOPLE[3])
    signed = Account.sign_typed_data(key, full_message=document)
    signature = "0x" + bytes(signed.signature).hex()
    hash_ = node.call("plait_sendTypedAction", "Transfer", document["message"], signature)
    until(lambda: node.call("plait_getActionStatus", hash_)["status"] == "decided")
    assert node.call("plait_getAccount", PEOPLE[9])["balance"] == "0xc"


@pytest.mark.parametrize(
    ("method", "params", "code"),
    [
        ("plait_sendAction", ["0x"], "action_malformed"),
        ("plait_sendAction", ["0xc0"], "action_malformed"),
        ("plait_sendAction", ["0x" + "ff" * 20_000], "action_malformed"),
        ("plait_sendTypedAction", ["Transfer", {}, "0x"], "action_malformed"),
        ("plait_sendTypedAction", ["Transfer", {"nonce": "0", "maxFee": "-1"}, "0x"], "action_malformed"),
        ("plait_getActionTypedData", ["Steal", {}], "action_malformed"),
        ("plait_getLeader", [10**6], "count_out_of_range"),
    ],
)
def test_what_is_no_action_is_named_and_changes_nothing(
    node: Running, method: str, params: list[Any], code: str
) -> None:
    assert node.error(method, *params)["data"]["code"] == code


def test_an_action_for_another_network_is_nobodys(node: Running) -> None:
    from plait.crypto.actions import sign_action
    from plait.types.action import Transfer

    body = Transfer(to=bytes(20), amount=1)
    raw = sign_action(1, 0, 10**18, body, DEVELOPMENT_ACCOUNTS[1].private_key)
    assert node.error("plait_sendAction", "0x" + raw.hex())["data"]["code"] in {
        "account_balance_insufficient",
        "action_signature_invalid",
    }
