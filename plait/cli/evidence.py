"""`plait evidence`: look for faults of validators that only their messages prove, and report them."""

from pathlib import Path
from typing import Any

import click

from plait.cli.acting import acting_options, run, send
from plait.cli.output import EXIT_NO, json_option, out, print_json, url_option
from plait.client import Client
from plait.engines.cometbft.wal import DoubleProposal, double_proposals
from plait.errors import ConfigurationError
from plait.ledger.equivocation import encode_equivocation
from plait.ledger.slashing import EvidenceKind
from plait.types import Address, NetworkId
from plait.types.action import SubmitEvidence
from plait.types.consensus import comet_chain_id

home_option = click.option(
    "--home", type=click.Path(exists=True, file_okay=False, path_type=Path), required=True,
    help="Home of a node that took part; its consensus log is searched.",
)  # fmt: skip


@click.group()
def evidence() -> None:
    """Find and report validators that signed two proposals for one round."""


@evidence.command("find")
@home_option
@url_option
@json_option
def find(home: Path, url: str, *, as_json: bool) -> None:
    """Search a node's consensus log. Exits 1 when nothing is found."""
    log = _log_of(home)
    found = run(url, lambda client: _search(client, log))
    if as_json:
        print_json([_shown(operator, one) for operator, one in found])
    else:
        for operator, one in found:
            out.print(
                f"validator 0x{operator.hex()} signed two proposals for height {one.height}, round {one.round_number}",
                markup=False,
            )
        if not found:
            out.print("No validator signed two proposals for one round, as far as this log tells.")
    if not found:
        raise SystemExit(EXIT_NO)


@evidence.command("submit")
@home_option
@click.option("--height", type=int, help="Which of those found.  [default: the newest]")
@acting_options
def submit(home: Path, height: int | None, **options: Any) -> None:
    """Report what `plait evidence find` found; a share of what is slashed goes to the reporter."""

    log = _log_of(home)

    async def body(client: Client, _: Address) -> SubmitEvidence:
        found = [entry for entry in await _search(client, log) if height in {None, entry[1].height}]
        if not found:
            out.print("Nothing to report was found.")
            raise SystemExit(EXIT_NO)
        operator, one = found[-1]
        return SubmitEvidence(
            evidence_kind=EvidenceKind.PROPOSAL_EQUIVOCATION, validator=operator, payload=encode_equivocation(one.proof)
        )

    send(body, "reported", options)


def _log_of(home: Path) -> Path:
    """CometBFT's consensus log in a home. Raises ConfigurationError (`comet_home_missing`)."""
    log = home / "cometbft" / "data" / "cs.wal"
    if not log.is_dir():
        raise ConfigurationError(
            f"{home} has no consensus log: name the home of a node that has taken part.", code="comet_home_missing"
        )
    return log


async def _search(client: Client, log: Path) -> list[tuple[Address, DoubleProposal]]:
    """What the log holds, with the operators; ascending by height."""
    network = await client.call("plait_networkInfo")
    validators = await client.call("plait_getValidators")
    operators = {bytes.fromhex(one["publicKey"][2:]): Address(bytes.fromhex(one["operator"][2:])) for one in validators}
    chain_id = comet_chain_id(NetworkId(network["networkId"]))
    found = double_proposals(log, chain_id, list(operators))
    return [(operators[one.public_key], one) for one in found]


def _shown(operator: Address, one: DoubleProposal) -> dict[str, Any]:
    return {
        "validator": "0x" + operator.hex(),
        "height": one.height,
        "round": one.round_number,
        "payload": "0x" + encode_equivocation(one.proof).hex(),
    }


commands = {"evidence": evidence}
