"""`plait gov`: propose, vote, and see what is decided."""

from typing import Any, Final

import click

from plait.cli.acting import AMOUNT, acting_options, run, send, tokens
from plait.cli.output import EXIT_NO, json_option, out, print_json, url_option
from plait.client import Client
from plait.types import Address, Amount, Hash32, RollupId
from plait.types.action import (
    Body,
    ParameterChange,
    Propose,
    ProposeParameters,
    ProposePause,
    ProposeResume,
    ProposeRollupOwner,
    ProposeRollupRemoval,
    ProposeText,
    ProposeUpgrade,
    Vote,
    VoteOption,
)

_OPTIONS: Final = {option.name.lower(): option for option in VoteOption}


@click.group()
def gov() -> None:
    """Propose changes of the network and vote on them."""


@gov.group("propose")
def propose() -> None:
    """Hand in a proposal; the deposit comes back when enough stake votes and it is not vetoed."""


def _proposal_options(function: Any) -> Any:
    for option in (
        click.option("--deposit", type=AMOUNT, help="PLAIT that is held until the vote ends; default: the least."),
        click.option("--details", default="", help="Up to 1,024 bytes, or an address where more is."),
        click.option("--title", required=True, help="One line."),
        acting_options,
    ):
        function = option(function)
    return function


def _hand_in(kind: type[Propose], content: dict[str, Any], options: dict[str, Any]) -> None:
    deposit, title, details = options.pop("deposit"), options.pop("title"), options.pop("details")

    async def body(client: Client, _: Address) -> Body:
        least = deposit
        if least is None:
            answer = await client.call("plait_getLedgerParameters")
            least = Amount(int(answer["parameters"]["proposal_deposit"]["value"]))
        return kind(title=title, details=details, deposit=least, **content)

    send(body, f"proposed {title!r}; `plait gov list` shows its number", options)


@propose.command("parameters")
@click.argument("changes", metavar="NAME=VALUE...", nargs=-1, required=True)
@_proposal_options
def parameters(changes: tuple[str, ...], **options: Any) -> None:
    """Change governed parameters; `plait gov parameters` lists them with their bounds."""
    read = []
    for change in sorted(changes):
        name, _, value = change.partition("=")
        if not name or not value.isascii() or not value.isdigit() or len(value) > 60:
            raise click.BadParameter(f"{change!r} is not NAME=VALUE with a whole number", param_hint="NAME=VALUE")
        read.append(ParameterChange(name=name, value=int(value)))
    _hand_in(ProposeParameters, {"changes": tuple(read)}, options)


@propose.command("upgrade")
@click.option("--name", required=True, help="Of the version.")
@click.option(
    "--height", type=click.IntRange(0), required=True, help="First height of the change; 0 takes a plan back."
)
@click.option("--hash", "hash_", default="0x" + "00" * 32, help="SHA-256 of the change, 0x hex.")
@_proposal_options
def upgrade(name: str, height: int, hash_: str, **options: Any) -> None:
    """Let all nodes run another version from a height on."""
    _hand_in(ProposeUpgrade, {"name": name, "height": height, "change_hash": Hash32(_hex(hash_, 32))}, options)


@propose.command("pause")
@click.option("--slots", type=click.IntRange(1), required=True, help="How long; `pause_slots_max` at most.")
@_proposal_options
def pause(slots: int, **options: Any) -> None:
    """Stop transactions and bundles at once when two thirds of the stake agree; deposits and actions go on."""
    _hand_in(ProposePause, {"slots": slots}, options)


@propose.command("resume")
@_proposal_options
def resume(**options: Any) -> None:
    """End a pause early."""
    _hand_in(ProposeResume, {}, options)


@propose.command("text")
@_proposal_options
def text(**options: Any) -> None:
    """A resolution that changes nothing by itself."""
    _hand_in(ProposeText, {}, options)


@propose.command("remove-rollup")
@click.argument("rollup_id", type=click.IntRange(1))
@_proposal_options
def remove_rollup(rollup_id: int, **options: Any) -> None:
    """Take a rollup out of the registry."""
    _hand_in(ProposeRollupRemoval, {"rollup_id": RollupId(rollup_id)}, options)


@propose.command("rollup-owner")
@click.argument("rollup_id", type=click.IntRange(1))
@click.argument("owner", metavar="ADDRESS")
@_proposal_options
def rollup_owner(rollup_id: int, owner: str, **options: Any) -> None:
    """Give a rollup another owner."""
    _hand_in(ProposeRollupOwner, {"rollup_id": RollupId(rollup_id), "owner": Address(_hex(owner, 20))}, options)


@gov.command("vote")
@click.argument("proposal_id", type=click.IntRange(1))
@click.argument("option", type=click.Choice(list(_OPTIONS)))
@acting_options
def vote(proposal_id: int, option: str, **options: Any) -> None:
    """Vote on a proposal with the stake of the account; a vote is final."""
    send(Vote(proposal_id=proposal_id, option=_OPTIONS[option]), f"voted {option} on proposal {proposal_id}", options)


@gov.command("list")
@url_option
@json_option
def list_(url: str, as_json: bool) -> None:
    """List open and recently ended proposals."""
    found = run(url, lambda client: client.call("plait_getProposals"))
    if as_json:
        print_json(found)
        return
    for entry in found:
        out.print(
            f"{entry['proposalId']:>5}  {entry['status']:<10} {entry['kind'][7:]:<14} {entry['title']}", markup=False
        )
    if not found:
        out.print("no proposals")


@gov.command("show")
@click.argument("proposal_id", type=click.IntRange(1))
@url_option
@json_option
def show(proposal_id: int, url: str, as_json: bool) -> None:
    """Show a proposal, its votes and its tally; exits 1 when there is none."""
    found = run(url, lambda client: client.call("plait_getProposal", proposal_id))
    if as_json:
        print_json(found)
    elif found is None:
        out.print("no such proposal")
    else:
        _print(found)
    if found is None:
        raise SystemExit(EXIT_NO)


@gov.command("parameters")
@url_option
@json_option
def list_parameters(url: str, as_json: bool) -> None:
    """List governed parameters with their bounds, the supply, pause and planned upgrade."""
    found = run(url, lambda client: client.call("plait_getLedgerParameters"))
    if as_json:
        print_json(found)
        return
    for name, entry in found["parameters"].items():
        bounds = f"{entry['minimum']} to {entry['maximum']}" if entry["governed"] else "fixed at genesis"
        out.print(f"{name:<34} {entry['value']:>24}   {bounds}", markup=False)


def _print(found: dict[str, Any]) -> None:
    out.print(f"proposal {found['proposalId']}: {found['title']}  [{found['status']}]", markup=False)
    if found["reason"]:
        out.print(f"  reason   {found['reason']}", markup=False)
    rows = [(name, str(value)) for name, value in found["content"].items()]
    rows += [("vote ends", f"slot {found['votingEndSlot']}"), ("deposit", tokens(found["deposit"]))]
    rows += [(name, tokens(amount)) for name, amount in found["tally"].items()]
    rows += [("vote", f"{vote['option']:<8} {vote['voter']}") for vote in found["votes"]]
    for name, value in rows:
        out.print(f"  {name:<12} {value}", markup=False)


def _hex(value: str, size: int) -> bytes:
    try:
        data = bytes.fromhex(value.removeprefix("0x"))
    except ValueError:
        data = b""
    if len(data) != size:
        raise click.BadParameter(f"{value!r} is not 0x and {2 * size} hex digits")
    return data


commands = {"gov": gov}
