"""The commands of docs/guides/ledger.md, in their order, against a real node."""

import shlex
from pathlib import Path

import pytest

from plait.cli.main import main
from plait.native import ed25519_public_key
from plait.node.config import AccountConfig, NetworkConfig, RollupConfig, ValidatorConfig
from plait.rollups.embedded.accounts import DEVELOPMENT_ACCOUNTS
from plait.rpc import RpcConfig
from sim.listening import running

GUIDE = Path(__file__).resolve().parents[3] / "docs/guides/ledger.md"


def commands() -> list[str]:
    """Every line that begins with `plait ` in the guide's shell blocks."""
    blocks = GUIDE.read_text().split("```sh\n")[1:]
    return [line for block in blocks for line in block.split("```")[0].splitlines() if line.startswith("plait ")]


def test_the_guide_has_commands() -> None:
    assert len(commands()) > 10


def test_every_command_of_the_guide_does_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import time

    people = ["0x" + account.address.hex() for account in DEVELOPMENT_ACCOUNTS]
    network = NetworkConfig(
        genesis_time_s=int(time.time()) - 1,
        sub_blocks_per_slot=10,
        rollups=(RollupConfig(chain_id=901),),
        accounts=tuple(AccountConfig(address=address, balance=10_000 * 10**18) for address in people[:2]),
        validators=(
            ValidatorConfig(
                operator=people[0],
                public_key="0x" + ed25519_public_key(bytes(31) + b"\x01").hex(),
                stake=1_000 * 10**18,
                name="alice",
            ),
        ),
    )
    for node in running(RpcConfig(port=0, rollup_port_base=None), network):
        monkeypatch.setenv("PLAIT_URL", node.server.url)
        monkeypatch.setenv("PLAIT_KEYS", str(tmp_path / "keys"))
        monkeypatch.setenv("COLUMNS", "120")
        for line in commands():
            code: object = 0
            try:
                main(shlex.split(line)[1:])
            except SystemExit as end:
                code = end.code
            said = capsys.readouterr()
            assert code in (0, None), f"{line}\n{said.out}{said.err}"
        assert node.call("plait_getProposal", 1)["votes"], "the vote of the guide was counted"
        assert [entry["rollupId"] for entry in node.call("plait_getRollups")["rollups"]] == [901, 7001]
