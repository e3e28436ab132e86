"""`plait status`, `plait block`, `plait tx`: what a running node says about itself, a block, a transaction."""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import click
from rich.table import Table

from plait.cli.output import EXIT_NO, fail, json_option, narrow, out, print_json, short, url_option
from plait.cli.parts import executed, part_of, rows_of
from plait.client import Client, RpcError
from plait.errors import InvalidInput

T = TypeVar("T")
HASH = re.compile(r"0x[0-9a-fA-F]{64}\Z")
_COLOURS = {"dropped": "red", "decided": "green", "sealed": "green", "posted": "green", "safe": "green"} | {
    "finalized": "green"
}
WAIT_LEVELS = ("decided", "sealed", "posted", "safe", "finalized")
"""Levels to wait for; those after sealed come only on rollups that derive from an L1."""


def answer(work: Coroutine[Any, Any, T], *, as_json: bool) -> T:
    """Runs one question; ends the program with the error's exit code when it fails."""
    try:
        return asyncio.run(work)
    except Exception as error:
        fail(error, as_json=as_json)


@click.command()
@url_option
@json_option
def status(url: str, as_json: bool) -> None:
    """Show what a running node is doing. Exits 1 when it is not ready."""
    found = answer(_status(url), as_json=as_json)
    if as_json:
        print_json(found)
    else:
        _print_status(found)
    if not found["health"]["ready"]:
        raise SystemExit(EXIT_NO)


async def _status(url: str) -> dict[str, Any]:
    async with Client(url) as client:
        names = ("plait_networkInfo", "plait_slot", "plait_poolStatistics", "plait_health")
        answers = await client.batch([(name, ()) for name in names])
        for one in answers:
            if isinstance(one, RpcError):
                raise one
        network, slot, pool, health = answers
        return {"url": client.url, "network": network, "slot": slot, "pool": pool, "health": health}


def _print_status(found: dict[str, Any]) -> None:
    network, slot, pool, health = found["network"], found["slot"], found["pool"], found["health"]
    state = "[green]ready[/]" if health["ready"] else "[red]not ready[/]"
    out.print(f"[bold]{found['url']}[/] {state}, Plait {network['version']}, network {network['networkId']}")
    for reason in health["reasons"]:
        out.print(f"  {reason}")
    out.print(
        f"height {slot['height']} · slot {slot['slot']} sub-block {slot['subIndex']} · "
        f"clock in slot {slot['clockSlot']} · slots of {network['slotMs']} ms with "
        f"{network['subBlocksPerSlot']} sub-blocks"
    )
    out.print(f"app hash {network['appHash']}\n")
    table = Table(box=None, pad_edge=False)
    headings = ["rollup", "sealed", "age", "open", "txs", "gas used", "base fee", "pool"]
    if not narrow():
        headings.insert(2, "hash")
    has_l1 = any(rollup.get("l1") for rollup in network["rollups"])
    if has_l1:
        headings.append("posted/safe/final")
    for heading in headings:
        table.add_column(heading, no_wrap=True)
    now_s = slot["clockMs"] / 1_000
    for rollup in network["rollups"]:
        lane = pool["rollups"].get(str(rollup["rollupId"]), {})
        open_block = rollup["openBlock"] or {}
        share = 100 * open_block.get("gasUsed", 0) / rollup["gasLimit"]
        hash_ = [] if narrow() else [short(rollup["head"]["hash"])]
        table.add_row(
            str(rollup["chainId"]),
            str(rollup["head"]["number"]),
            *hash_,
            f"{max(now_s - rollup['head']['timestamp'], 0):.0f} s",
            str(open_block.get("number", "-")),
            str(open_block.get("transactionCount", "-")),
            f"{share:.0f} %" if narrow() else f"{open_block.get('gasUsed', 0):,} ({share:.0f} %)",
            gwei(open_block.get("baseFee")),
            f"{lane.get('pending', 0)}+{lane.get('queued', 0)}",
            *([on_l1(rollup)] if has_l1 else []),
        )
    out.print(table)


def on_l1(rollup: dict[str, Any]) -> str:
    """The last blocks of a rollup that are posted, safe and finalized on L1."""
    found = rollup.get("l1")
    return "-" if found is None else f"{found['posted']}/{found['safe']}/{found['finalized']}"


def gwei(quantity: str | None) -> str:
    """A hex amount of wei for people."""
    return "-" if quantity is None else f"{int(quantity, 16) / 1e9:.6g} gwei"


@click.command()
@click.argument("block", default="latest")
@click.option("--rollup", "chain_id", type=int, help="Chain id of the rollup.  [default: the first]")
@click.option("--transactions", is_flag=True, help="List every transaction.")
@url_option
@json_option
def block(block: str, chain_id: int | None, transactions: bool, url: str, as_json: bool) -> None:
    """Show a rollup's block: a number, a hash, latest or pending.

    \b
    Examples:
      plait block                        the newest sealed block of the first rollup
      plait block 12 --rollup 902
      plait block pending --transactions
    """
    wanted = block if HASH.match(block) else _number(block)
    found = answer(_block(url, chain_id, wanted), as_json=as_json)
    if found is None:
        fail(InvalidInput(f"There is no block {block}.", code="block_unknown"), as_json=as_json)
    if as_json:
        print_json(found)
        return
    _print_block(found, transactions)


async def _block(url: str, chain_id: int | None, block: str) -> dict[str, Any] | None:
    async with Client(url) as client:
        rollups = await client.call("plait_rollups")
        rollup = client.at(str(_pick(rollups, chain_id)))
        if HASH.match(block):
            found = await rollup.call("eth_getBlockByHash", block, True)
        else:
            found = await rollup.call("eth_getBlockByNumber", block, True)
        return None if found is None else {"chainId": _pick(rollups, chain_id), **found}


def _pick(rollups: list[dict[str, Any]], chain_id: int | None) -> int:
    known = [int(rollup["chainId"]) for rollup in rollups]
    if chain_id is None:
        return known[0]
    if chain_id not in known:
        raise InvalidInput(
            f"This node has no rollup {chain_id}; it has {', '.join(map(str, known))}.", code="rollup_unknown"
        )
    return chain_id


def _number(text: str) -> str:
    if text in {"latest", "pending", "earliest", "safe", "finalized"}:
        return text
    try:
        return hex(int(text, 0))
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is not a block number, hash, latest or pending.") from error


def _print_block(found: dict[str, Any], transactions: bool) -> None:
    def number(name: str) -> int:
        return int(found.get(name) or "0x0", 16)

    when = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(number("timestamp")))
    state = "sealed" if found.get("hash") else "open"
    out.print(f"[bold]Block {number('number')}[/] of rollup {found['chainId']} ({state}), {when} UTC")
    gas_used, gas_limit = number("gasUsed"), max(number("gasLimit"), 1)
    listed = found["transactions"]
    rows = [
        ("hash", found.get("hash") or "-"),
        ("parent", found["parentHash"]),
        ("state root", found.get("stateRoot") or "-"),
        ("transactions", f"{len(listed)}, {sum(one.get('type') == '0x7e' for one in listed)} of them deposits"),
        ("gas used", f"{gas_used:,} of {gas_limit:,} ({100 * gas_used / gas_limit:.1f} %)"),
        ("base fee", gwei(found.get("baseFeePerGas"))),
        ("DA footprint", f"{number('blobGasUsed'):,}"),
    ]
    for name, value in rows:
        out.print(f"  {name:<13} {value}")
    if transactions:
        for one in listed:
            out.print(f"  {one['hash']}  {short(one['from'])} → {short(one.get('to'))}  nonce {int(one['nonce'], 16)}")


@click.command()
@click.argument("hash_", metavar="HASH")
@click.option("--rollup", "chain_id", type=int, help="Look at this rollup only.")
@click.option("--wait", type=click.Choice(WAIT_LEVELS), help="Wait until it has got that far.")
@click.option("--timeout", "seconds", type=float, default=30.0, show_default=True, help="Seconds to wait.")
@url_option
@json_option
def tx(hash_: str, chain_id: int | None, wait: str | None, seconds: float, url: str, as_json: bool) -> None:  # noqa: PLR0917 - click's
    """Show a transaction and how far it has got: received, decided, sealed (and on L1
    posted, safe, finalized), or dropped and why.

    Exits 1 when nothing is known of it, when it was dropped, or when it has not got as far as --wait asks.
    """
    if not HASH.match(hash_):
        raise click.BadParameter("a transaction hash is 0x and 64 hex digits", param_hint="HASH")
    found = answer(_transaction(url, hash_, chain_id, wait, seconds), as_json=as_json)
    if found is None:
        fail(InvalidInput("No rollup of this node knows the transaction.", code="transaction_unknown"), as_json=as_json)
    if as_json:
        print_json(found)
    else:
        _print_transaction(found)
    if found["status"] == "dropped" or (wait is not None and not reached(found, wait)):
        raise SystemExit(EXIT_NO)


async def _transaction(
    url: str, hash_: str, chain_id: int | None, wait: str | None, seconds: float
) -> dict[str, Any] | None:
    parameters = (hash_,) if chain_id is None else (hash_, chain_id)
    async with Client(url) as client:
        if chain_id is not None:
            _pick(await client.call("plait_rollups"), chain_id)
        found = await follow(lambda: client.call("plait_getTransactionStatus", *parameters), wait, seconds)
        if found is None:
            return None
        detail = await client.at(str(found["rollupId"])).call("eth_getTransactionByHash", hash_)
        shown: dict[str, Any] = {**found, "transaction": detail}
        if found.get("height") is not None:
            proof = await client.call("plait_getInclusionProof", found["rollupId"], hash_)
            shown["partOf"] = None if proof is None else part_of(proof["item"])
        if detail is not None:
            shown["executes"] = executed(detail)
        return shown


async def follow(
    ask: Callable[[], Awaitable[dict[str, Any] | None]], wait: str | None, seconds: float
) -> dict[str, Any] | None:
    """The first answer that has reached a level or never will; the last one when the time is over."""
    deadline = time.monotonic() + seconds
    while True:
        found = await ask()
        done = wait is None or (found is not None and (reached(found, wait) or found["status"] == "dropped"))
        if done or time.monotonic() > deadline:
            return found
        await asyncio.sleep(0.1)


def reached(found: dict[str, Any], level: str) -> bool:
    """Whether a status is at this level or beyond."""
    order = ["received", *WAIT_LEVELS]
    return found["level"] in order and order.index(found["level"]) >= order.index(level)


def colour_of(found: dict[str, Any]) -> str:
    """Of a status on the terminal."""
    return _COLOURS.get(found["status"], "yellow")


def outcome_of(found: dict[str, Any]) -> str | None:
    """What a decided transaction came to; None before."""
    if found.get("succeeded") is None:
        return None
    return f"{'succeeded' if found['succeeded'] else 'reverted'}, gas used {found['gasUsed']:,}"


def _print_transaction(found: dict[str, Any]) -> None:
    out.print(f"[bold]{found['hash']}[/] on rollup {found['rollupId']}: [{colour_of(found)}]{found['status']}[/]")
    rows: list[tuple[str, str]] = []
    if found.get("reason"):
        rows.append(("reason", f"{found['reason']} ({found['code']})"))
    if found.get("height") is not None:
        rows.append(("decided in", f"sub-block {found['height']}"))
    if found.get("blockNumber") is not None:
        rows.append(
            ("block", f"{found['blockNumber']}, index {found['transactionIndex']}, {found.get('blockHash') or 'open'}")
        )
    outcome = outcome_of(found)
    if outcome is not None:
        rows.append(("outcome", outcome))
    rows += rows_of(found)
    detail = found.get("transaction")
    if detail is not None:
        rows.append(("from", detail["from"]))
        rows.append(("to", detail.get("to") or "creates a contract"))
        rows.append(("value", f"{int(detail['value'], 16) / 1e18:g} ETH"))
        rows.append(("nonce", str(int(detail["nonce"], 16))))
    for name, value in rows:
        out.print(f"  {name:<11} {value}")


commands = {"status": status, "block": block, "tx": tx}
