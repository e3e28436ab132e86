"""How `plait opstack` shows what its network is doing: a live table, or the same as lines of text."""

from __future__ import annotations

from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

LEVELS = ("unsafe", "safe", "finalized")
_AGREE = {True: "equal", False: "DIFFER", None: "-"}
_HASH_DIGITS = 8


def rows_of(found: dict[str, Any]) -> list[tuple[str, ...]]:
    """One row per rollup and level: rollup, level, Plait, the sequencer's op-geth, verifier, hash there, agreement."""
    rows: list[tuple[str, ...]] = []
    for rollup in found["rollups"]:
        for at, level in enumerate(LEVELS):
            heads = rollup["levels"][level]
            verifier = heads["verifier"]
            rows.append(
                (
                    str(rollup["chain_id"]) if at == 0 else "",
                    level,
                    _number(heads["plait"]),
                    _number(heads["engine"]),
                    _number(verifier),
                    "-" if verifier is None else verifier["hash"][: 2 + _HASH_DIGITS],
                    _AGREE[heads["agree"]],
                )
            )
    return rows


HEADINGS = ("rollup", "level", "Plait", "its op-geth", "verifier", "hash", "hashes")


def summary_of(found: dict[str, Any]) -> list[str]:
    """The L1, the batcher, programs that do not run, and what Plait's node says is wrong."""
    origins = {rollup["chain_id"]: rollup["origin"] for rollup in found["rollups"]}
    derived = ", ".join(f"{chain_id} to {'-' if at is None else at}" for chain_id, at in origins.items())
    lines = [
        f"L1 block {'-' if found['l1']['number'] is None else found['l1']['number']} · derived from it: {derived} · "
        f"{'-' if found['posted'] is None else found['posted']} batch transactions posted"
    ]
    for name, program in found["programs"].items():
        if program["state"] != "running":
            lines.append(f"{name}: {program['state']}" + (f", see {program['log']}" if "log" in program else ""))
    return [*lines, *found["reasons"]]


def lines_of(found: dict[str, Any]) -> list[str]:
    """As text whose columns are as wide as what is in them."""
    rows = [HEADINGS, *rows_of(found)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    table = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return [*summary_of(found), "", *table]


def table_of(found: dict[str, Any]) -> Group:
    """For a live view."""
    table = Table(box=None, pad_edge=False)
    for at, heading in enumerate(HEADINGS):
        table.add_column(heading, justify="right" if 2 <= at <= 4 else "left", no_wrap=True)
    for row in rows_of(found):
        agree = row[-1]
        style = {"equal": "green", "DIFFER": "bold red"}.get(agree, "dim")
        table.add_row(*row[:-1], Text(agree, style=style))
    notes = [Text(line, style="" if at == 0 else "yellow") for at, line in enumerate(summary_of(found))]
    return Group(*notes, table, Text("Ctrl-C stops everything and keeps it.", style="dim"))


def _number(head: dict[str, Any] | None) -> str:
    return "-" if head is None else str(head["number"])
