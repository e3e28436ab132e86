"""`plait watch`: a live view of a running node in the terminal."""

import asyncio
import time
from collections import deque
from typing import Any

import click
from rich.console import Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from plait.cli.inspect import gwei, on_l1
from plait.cli.output import fail, json_option, narrow, out, print_json, short, url_option
from plait.client import Client, NodeUnreachable, RpcError
from plait.limits import WATCH_SUB_BLOCKS_KEPT

_REFRESH_PER_S = 8
_POLL_S = 0.5


class View:
    """What has been seen, and how it is drawn."""

    def __init__(self, network: dict[str, Any]) -> None:
        self.network = network
        self.pool: dict[str, Any] = {}
        self.health: dict[str, Any] = {"ready": True, "reasons": []}
        self.recent: deque[dict[str, Any]] = deque(maxlen=WATCH_SUB_BLOCKS_KEPT)
        self.delays_ms: deque[float] = deque(maxlen=WATCH_SUB_BLOCKS_KEPT)
        self.transactions = 0
        self.began = time.monotonic()
        self.note = ""

    def add(self, sub_block: dict[str, Any]) -> None:
        """Takes a decided sub-block."""
        self.recent.append(sub_block)
        self.delays_ms.append(max(time.time() * 1_000 - sub_block["timeMs"], 0.0))
        self.transactions += count_of(sub_block)

    def draw(self) -> Group:
        """The whole screen."""
        return Group(self._head(), self._rollups(), self._sub_blocks(), Text("Ctrl-C ends the view.", style="dim"))

    def _head(self) -> Panel:
        network = self.network
        newest = self.recent[-1] if self.recent else None
        seconds = max(time.monotonic() - self.began, 0.001)
        delays = sorted(self.delays_ms)
        state = (
            "[green]ready[/]" if self.health["ready"] else f"[red]{' '.join(self.health['reasons']) or 'not ready'}[/]"
        )
        lines = [
            f"{state}  network {network['networkId']}, slots of {network['slotMs']} ms, "
            f"{network['subBlocksPerSlot']} sub-blocks each",
            "height -"
            if newest is None
            else f"height {newest['height']}  slot {newest['slot']}  "
            f"sub-block {newest['subIndex']}  app hash {short(newest['appHash'])}",
            f"{self.transactions:,} transactions seen, {self.transactions / seconds:,.1f} per second; pool "
            f"{self.pool.get('transactions', 0):,}; sub-block seen "
            + ("-" if not delays else f"{delays[len(delays) // 2]:.0f} ms after its time (p50)"),
        ]
        if self.health["ready"]:
            lines.extend(f"[yellow]{reason}[/]" for reason in self.health["reasons"])
        if self.note:
            lines.append(f"[yellow]{self.note}[/]")
        return Panel("\n".join(lines), title=f"Plait {network['version']}", title_align="left")

    def _rollups(self) -> Table:
        table = Table(expand=True, box=None)
        headings = ["rollup", "sealed", "open", "txs", "gas", "base fee", "pool"]
        if not narrow():
            headings.insert(2, "hash")
        has_l1 = any(rollup.get("l1") for rollup in self.network["rollups"])
        if has_l1:
            headings.append("posted/safe/final")
        for heading in headings:
            table.add_column(heading, no_wrap=True)
        for rollup in self.network["rollups"]:
            lane = self.pool.get("rollups", {}).get(str(rollup["rollupId"]), {})
            block = rollup["openBlock"] or {}
            share = block.get("gasUsed", 0) / rollup["gasLimit"]
            hash_ = [] if narrow() else [short(rollup["head"]["hash"])]
            table.add_row(
                str(rollup["chainId"]),
                str(rollup["head"]["number"]),
                *hash_,
                str(block.get("number", "-")),
                str(block.get("transactionCount", "-")),
                f"{100 * share:.0f} %" if narrow() else f"{bar(share)} {100 * share:4.0f} %",
                gwei(block.get("baseFee")),
                f"{lane.get('pending', 0)}+{lane.get('queued', 0)}",
                *([on_l1(rollup)] if has_l1 else []),
            )
        return table

    def _sub_blocks(self) -> Table:
        table = Table(expand=True, box=None, title="decided sub-blocks, newest first", title_justify="left")
        headings = ["height", "slot", "sub", "bundles", "relayed", "transactions per rollup", "sealed blocks"]
        if narrow():
            headings.remove("relayed")
        for heading in headings:
            table.add_column(heading, no_wrap=True)
        for one in list(self.recent)[-12:][::-1]:
            counts = [
                f"{part['rollupId']}: {len(part['transactions'])}" for part in one["rollups"] if part["transactions"]
            ]
            sealed = [
                f"{part['rollupId']}: {part['sealed'][-1]['number']}"
                + ("" if narrow() else f" {short(part['sealed'][-1]['hash'], 6)}")
                for part in one["rollups"]
                if part["sealed"]
            ]
            cells = [one["height"], one["slot"], one["subIndex"], len(one["bundles"]) or "-"]
            cells += [] if narrow() else [relayed_of(one) or "-"]
            table.add_row(*map(str, cells), "  ".join(counts) or "-", "  ".join(sealed))
        return table


def count_of(sub_block: dict[str, Any]) -> int:
    """Transactions of a sub-block over all rollups."""
    return sum(len(part["transactions"]) for part in sub_block["rollups"])


def relayed_of(sub_block: dict[str, Any]) -> int:
    """How many of them deliver messages between rollups, or claim fees for that."""
    return sum(part["relayed"] for part in sub_block["rollups"])


def bar(share: float, width: int = 8) -> str:
    """A share of 1 as a bar."""
    filled = min(round(share * width), width)
    return "█" * filled + "░" * (width - filled)


@click.command()
@click.option("--sub-blocks", "limit", type=click.IntRange(1), help="End after this many sub-blocks.")
@url_option
@json_option
def watch(limit: int | None, url: str, as_json: bool) -> None:
    """Watch slots, sub-blocks, blocks, pool and latencies live.

    With --json it prints every decided sub-block as one line instead, for pipes.
    """
    try:
        asyncio.run(_print_lines(url, limit) if as_json else _show(url, limit))
    except KeyboardInterrupt:
        raise SystemExit(0) from None
    except BaseExceptionGroup as group:
        fail(group.exceptions[0], as_json=as_json)
    except (NodeUnreachable, RpcError) as error:
        fail(error, as_json=as_json)


async def _print_lines(url: str, limit: int | None) -> None:
    seen = 0
    async with Client(url) as client:
        async for sub_block in client.subscribe("plait_subscribe", "subBlocks"):
            print_json(sub_block)
            seen += 1
            if seen == limit:
                return


async def _show(url: str, limit: int | None) -> None:
    async with Client(url) as client:
        view = View(await client.call("plait_networkInfo"))
        with Live(view.draw(), console=out, refresh_per_second=_REFRESH_PER_S, screen=out.is_terminal) as live:
            async with asyncio.TaskGroup() as group:
                polling = group.create_task(_poll(client, view, live))
                seen = 0
                async for sub_block in client.subscribe("plait_subscribe", "subBlocks"):
                    view.add(sub_block)
                    live.update(view.draw())
                    seen += 1
                    if seen == limit:
                        break
                polling.cancel()
        if not out.is_terminal:
            return
        out.print(view.draw())


async def _poll(client: Client, view: View, live: Live) -> None:
    """Refreshes what no stream tells: heads, open blocks, pool, health."""
    names = ("plait_networkInfo", "plait_poolStatistics", "plait_health")
    while True:
        network, pool, health = await client.batch([(name, ()) for name in names])
        if isinstance(network, dict) and isinstance(pool, dict) and isinstance(health, dict):
            view.network, view.pool, view.health = network, pool, health
            live.update(view.draw())
        await asyncio.sleep(_POLL_S)


commands = {"watch": watch}
