"""`plait validator`: join the set, look at it, change, leave, come back from jail."""

from pathlib import Path
from typing import Any, Final

import click

from plait.cli.acting import AMOUNT, acting_options, run, send, tokens
from plait.cli.output import EXIT_NO, json_option, narrow, out, print_json, url_option
from plait.client import Client
from plait.ledger.stake import possession_message
from plait.native import ed25519_public_key, ed25519_sign
from plait.types import Address, Amount
from plait.types.action import PPM, Body, CreateValidator, EditValidator, LeaveValidator, Unjail

_COLOURS: Final = {"active": "green", "waiting": "yellow", "jailed": "red", "tombstoned": "red", "leaving": "yellow"}


@click.group()
def validator() -> None:
    """Join the validators, see how they do, leave them."""


@validator.command("join")
@click.option(
    "--home", type=click.Path(exists=True, file_okay=False, path_type=Path), required=True,
    help="Home of the node whose consensus key joins (`plait init`).",
)  # fmt: skip
@click.option("--stake", type=AMOUNT, required=True, help="PLAIT that the operator bonds itself.")
@click.option("--name", required=True, help="What others see; up to 64 bytes.")
@click.option("--commission", type=click.FloatRange(0, 100), default=5.0, show_default=True, help="Percent.")
@click.option("--commission-max", type=click.FloatRange(0, 100), default=20.0, show_default=True, help="Percent.")
@click.option(
    "--commission-step", type=click.FloatRange(0, 100), default=1.0, show_default=True, help="Percent per epoch."
)
@acting_options
def join(
    *,
    home: Path,
    stake: Amount,
    name: str,
    commission: float,
    commission_max: float,
    commission_step: float,
    **options: Any,
) -> None:
    """Become a validator: bonds --stake and brings the node's consensus key, which proves that it is there.

    The node should be running and have caught up before: a validator that does not sign is jailed.
    """
    from plait.node.home import consensus_seed

    seed = consensus_seed(home)

    async def body(_: Client, operator: Address) -> Body:
        return CreateValidator(
            public_key=ed25519_public_key(seed),
            commission_ppm=_ppm(commission),
            commission_max_ppm=_ppm(commission_max),
            commission_step_ppm=_ppm(commission_step),
            self_stake=stake,
            name=name,
            possession=ed25519_sign(seed, possession_message(operator)),
        )

    send(body, f"{name} bonds {tokens(stake)} and joins with the next epoch", options)


@validator.command("edit")
@click.option("--name", required=True, help="What others see; up to 64 bytes.")
@click.option("--commission", type=click.FloatRange(0, 100), required=True, help="Percent.")
@acting_options
def edit(name: str, commission: float, **options: Any) -> None:
    """Change the name and the commission of the own validator."""
    send(EditValidator(name=name, commission_ppm=_ppm(commission)), "changed the validator", options)


@validator.command("leave")
@acting_options
def leave(**options: Any) -> None:
    """Take the own validator out of the set; keep the node running until `plait validator status` says it is out."""
    send(LeaveValidator(), "the validator leaves with the next epoch", options)


@validator.command("unjail")
@acting_options
def unjail(**options: Any) -> None:
    """Ask for the own validator to stand again after its jail time."""
    send(Unjail(), "the validator stands for the set again", options)


@validator.command("status")
@click.argument("who", metavar="[OPERATOR|NAME]", required=False)
@url_option
@json_option
def status(who: str | None, url: str, as_json: bool) -> None:
    """Show all validators and who leads, or one of them; exits 1 when there is no such validator."""

    async def work(client: Client) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        return await client.call("plait_getValidators"), await client.call("plait_getLeader", 4)

    found, leader = run(url, work)
    if who is not None:
        found = [entry for entry in found if who in (entry["operator"], entry["operator"].lower(), entry["name"])]
    if as_json:
        print_json({"validators": found, "leader": leader})
    else:
        _print(found, leader, whole=who is not None)
    if who is not None and not found:
        raise SystemExit(EXIT_NO)


def _ppm(percent: float) -> int:
    return round(percent * PPM / 100)


def _print(found: list[dict[str, Any]], leader: dict[str, Any], *, whole: bool) -> None:
    if not found:
        out.print("no validators" if not whole else "no such validator")
        return
    for entry in found:
        colour = _COLOURS.get(entry["status"], "white")
        out.print(f"[{colour}]{entry['status']:<10}[/] ", end="")
        line = f"{entry['name']:<20} power {entry['power']:>8}  {entry['commissionPpm'] / 10_000:g} % commission"
        out.print(line if narrow() else f"{line}  {entry['operator']}", markup=False)
        if whole:
            signed, missed = entry["heightsSigned"], entry["heightsMissed"]
            out.print(f"  bonded {tokens(entry['tokens'])}, signed {signed} heights, missed {missed}", markup=False)
            led, skipped = entry["blocksLed"], entry["leadsMissed"]
            out.print(f"  led {led} heights, missed the lead of {skipped}", markup=False)
    if leader["leader"] is not None:
        following = ", ".join(_who(entry) for entry in leader["next"])
        text = f"height {leader['height']} is led by {_who(leader['leader'])}; next {following}"
        out.print(text, markup=False)


def _who(entry: dict[str, Any]) -> str:
    return str(entry["name"] or entry["operator"] or entry["consensusAddress"])


commands = {"validator": validator}
