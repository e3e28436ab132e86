"""`plait bundle`: how far a bundle has got, what became of each of its transactions, and why it failed."""

from collections.abc import Sequence
from typing import Any, Final

import click

from plait.cli.inspect import HASH, WAIT_LEVELS, answer, colour_of, follow, outcome_of, reached
from plait.cli.output import EXIT_NO, fail, json_option, out, print_json, url_option
from plait.client import Client, RpcError
from plait.errors import InvalidInput

OUTPUT_DIGITS_MAX: Final = 136
"""Of revert data: a selector and two words."""


@click.command()
@click.argument("hash_", metavar="HASH")
@click.option("--wait", type=click.Choice(WAIT_LEVELS), help="Wait until it has got that far.")
@click.option("--timeout", "seconds", type=float, default=30.0, show_default=True, help="Seconds to wait.")
@url_option
@json_option
def bundle(hash_: str, wait: str | None, seconds: float, url: str, as_json: bool) -> None:
    """Show a bundle: how far it has got, its legs and deliveries, and why it failed last or was dropped.

    Exits 1 when nothing is known of it, when it was dropped, or when it has not got as far as --wait asks. A node
    that was started again knows a decided bundle by its transactions only: plait tx says which bundle one is of.
    """
    if not HASH.match(hash_):
        raise click.BadParameter("a bundle hash is 0x and 64 hex digits", param_hint="HASH")
    found = answer(_bundle(url, hash_, wait, seconds), as_json=as_json)
    if found is None:
        sentence = "The node knows no such bundle: it was sent elsewhere, before the node started, or long ago."
        fail(InvalidInput(sentence, code="bundle_unknown"), as_json=as_json)
    if as_json:
        print_json(found)
    else:
        _print_bundle(found)
    if found["status"] == "dropped" or (wait is not None and not reached(found, wait)):
        raise SystemExit(EXIT_NO)


async def _bundle(url: str, hash_: str, wait: str | None, seconds: float) -> dict[str, Any] | None:
    async with Client(url) as client:
        found = await follow(lambda: client.call("plait_getBundle", hash_), wait, seconds)
        if found is None:
            return None
        places = [(part["rollupId"], one) for part in _parts(found) for one in part["transactions"]]
        statuses: Sequence[Any] = []
        if found["height"] is not None:
            calls = [("plait_getTransactionStatus", (one, rollup_id)) for rollup_id, one in places]
            statuses = await client.batch(calls)
        told = {place: one for place, one in zip(places, statuses, strict=False) if not isinstance(one, RpcError)}
        for part in _parts(found):
            part["transactions"] = [
                _transaction(one, told.get((part["rollupId"], one))) for one in part["transactions"]
            ]
        return found


def _parts(found: dict[str, Any]) -> list[dict[str, Any]]:
    return [*found["legs"], *found["deliveries"]]


def _transaction(hash_: str, status: dict[str, Any] | None) -> dict[str, Any]:
    known = status or {}
    return {"hash": hash_, "succeeded": known.get("succeeded"), "gasUsed": known.get("gasUsed")}


def _print_bundle(found: dict[str, Any]) -> None:
    out.print(f"[bold]Bundle {found['bundleHash']}[/]: [{colour_of(found)}]{found['status']}[/]")
    rows: list[tuple[str, str]] = []
    if found.get("dropped"):
        rows += failure_rows("reason", found["dropped"])
    if found["height"] is not None:
        rows.append(("decided in", f"sub-block {found['height']}"))
    rows.append(("window", f"slots {found['notBeforeSlot']} to {found['deadlineSlot']}"))
    for name, parts in (("leg", found["legs"]), ("deliveries", found["deliveries"])):
        for part in parts:
            block = "" if part["blockNumber"] is None else f", block {part['blockNumber']}"
            rows.append((name, f"rollup {part['rollupId']}{block}"))
            rows += [("", "  " + _line(one)) for one in part["transactions"]]
    if found["failedTrials"]:
        rows.append(("trials", f"failed {found['failedTrials']} times" if found["failedTrials"] > 1 else "failed once"))
    if found.get("lastFailure"):
        rows += failure_rows("failed last", found["lastFailure"])
    for name, value in rows:
        out.print(f"  {name:<11} ", end="")
        out.print(value, markup=False)


def _line(transaction: dict[str, Any]) -> str:
    outcome = outcome_of(transaction)
    return f"{transaction['hash']}" + ("" if outcome is None else f"  {outcome}")


def failure_rows(name: str, failure: dict[str, Any]) -> list[tuple[str, str]]:
    """Why a bundle failed: the sentence and its code, what the contract said, and the data of a custom error."""
    rows = [(name, f"{failure['sentence']} ({failure['code']})")]
    said, output = failure.get("revertReason"), failure.get("output") or "0x"
    if said:
        rows.append(("", f"reverted with: {said}"))
    if failure.get("errorSelector") and len(output) > len(failure["errorSelector"]):
        rows.append(("", f"its data: {output[:OUTPUT_DIGITS_MAX]}" + ("…" if len(output) > OUTPUT_DIGITS_MAX else "")))
    return rows


commands = {"bundle": bundle}
