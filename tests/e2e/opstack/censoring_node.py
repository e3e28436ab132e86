"""A validator that censors deposits: run as a program by the tests, instead of `plait`.

    python censoring_node.py drop-deposits   node --home ...   its proposals open blocks without the deposits of their
                                                               origin; in all else it is honest, its votes included
    python censoring_node.py withhold-facts  node --home ...   its proposals bring no facts of the L1, and order items
                                                               also when those are overdue
    python censoring_node.py late-facts FILE node --home ...   honest, with an L1 node that is late: while FILE is
                                                               there its proposals bring no facts

What a proposer trusts of its own it votes for, so a censor is one in its votes for itself too. Nothing in `plait` knows
of this.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import msgspec

from plait.codec.l1_items import SignedReport, decode_l1_item
from plait.protocol import l1_blocks
from plait.protocol.application import Application
from plait.protocol.l1_work import L1Work
from plait.protocol.requests import PreparedProposal, PrepareRequest

honest = Application.prepare


def drop_deposits() -> None:
    attributes = l1_blocks.block_attributes

    def bare(*arguments, **fields):  # type: ignore[no-untyped-def]
        return attributes(*arguments, **{**fields, "deposits": ()})

    def prepare(self: Application, request: PrepareRequest) -> PreparedProposal:
        shared, self._advanced = self._advanced, None  # what it checks others' proposals with stays as it is
        l1_blocks.block_attributes = bare  # type: ignore[attr-defined]
        try:
            return honest(self, request)
        finally:
            l1_blocks.block_attributes = attributes  # type: ignore[attr-defined]
            self._advanced = shared

    Application.prepare = prepare  # type: ignore[method-assign]


def without_facts(request: PrepareRequest) -> PrepareRequest:
    reports = [raw for raw in request.l1_items if isinstance(decode_l1_item(raw), SignedReport)]
    return msgspec.structs.replace(request, l1_items=reports)


def withhold_facts() -> None:
    rule = L1Work.withholds_facts

    def prepare(self: Application, request: PrepareRequest) -> PreparedProposal:
        L1Work.withholds_facts = False  # type: ignore[method-assign, assignment]
        try:
            return honest(self, without_facts(request))
        finally:
            L1Work.withholds_facts = rule  # type: ignore[method-assign]

    Application.prepare = prepare  # type: ignore[method-assign]


def late_facts(late: Callable[[], bool]) -> None:
    def prepare(self: Application, request: PrepareRequest) -> PreparedProposal:
        return honest(self, without_facts(request) if late() else request)

    Application.prepare = prepare  # type: ignore[method-assign]


if __name__ == "__main__":
    kind, arguments = sys.argv[1], sys.argv[2:]
    match kind:
        case "drop-deposits":
            drop_deposits()
        case "withhold-facts":
            withhold_facts()
        case "late-facts":
            late_facts(Path(arguments.pop(0)).exists)
        case _:
            raise SystemExit(f"unknown: {kind}")
    from plait.cli.main import main

    main(arguments)
