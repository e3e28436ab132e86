"""`plait rollup bind|anchor|unanchor`: bring an OP Stack chain that exists into a network that runs.

plait rollup bind --rollup-config rollup.json --from owner        from now on its deposits are agreed on
plait rollup import ... --into HOME/imports/<chain id>            on every node, while the chain goes on
plait rollup handover take ... --into HOME/imports/<chain id>     stops op-node; on the other nodes import again
plait rollup anchor HOME/imports/<chain id> --from owner          the network goes on from that block
"""

from pathlib import Path
from typing import Any, Final

import click

from plait.cli.acting import AMOUNT, acting_options, send
from plait.client import Client
from plait.derivation.rollup_config import decode_rollup_json, encode_config
from plait.ledger.rollup_records import ORDERINGS
from plait.rollups.opstack.importing import read_anchor
from plait.types import Address, Amount, RollupId, Slot
from plait.types.action import AnchorRollup, BindRollup, Body, WithdrawAnchor

_ORDERING_NAMES: Final = [str(ordering) for ordering in ORDERINGS]
_MARGIN_SLOTS: Final = 5
"""Beyond the notice, so that signing and deciding take their time."""


@click.command("bind")
@click.option(
    "--rollup-config", type=click.Path(exists=True, dir_okay=False, path_type=Path), required=True, metavar="FILE",
    help="rollup.json of the chain, as op-node reads it.",
)  # fmt: skip
@click.option("--policy", type=click.Choice(_ORDERING_NAMES), default=_ORDERING_NAMES[0], show_default=True)
@click.option("--escrow", type=AMOUNT, help="PLAIT for slot and transaction fees; default: twice the least.")
@acting_options
def bind(rollup_config: Path, policy: str, escrow: Amount | None, **options: Any) -> None:
    """Begin to bring in a chain that exists: what L1 says to it is agreed on. Its own sequencer goes on."""
    config = decode_rollup_json(rollup_config.read_bytes())

    async def body(client: Client, sender: Address) -> Body:
        answer = await client.call("plait_getLedgerParameters")
        ledger = {name: int(row["value"]) for name, row in answer["parameters"].items()}
        return BindRollup(
            rollup_id=RollupId(config.chain_id),
            config=encode_config(config),
            ordering=_ORDERING_NAMES.index(policy),
            revenue_recipient=sender,
            escrow=Amount(2 * ledger["rollup_escrow_min"] if escrow is None else escrow),
            fee_per_slot_max=Amount(ledger["rollup_fee_per_slot"]),
            fee_per_transaction_max=Amount(ledger["rollup_fee_per_transaction"]),
        )

    send(
        body, f"chain {config.chain_id} is bound; take it over from its sequencer, then `plait rollup anchor`", options
    )


@click.command("anchor")
@click.argument("directory", type=click.Path(exists=True, file_okay=False, path_type=Path), metavar="DIRECTORY")
@click.option("--join-slot", type=click.IntRange(1), help="Default: as soon as possible.")
@acting_options
def anchor(directory: Path, join_slot: int | None, **options: Any) -> None:
    """Let the network go on from the last block in DIRECTORY, which `plait rollup handover take` wrote.

    Every validator needs that folder as imports/CHAIN_ID of its data directory before the slot. Where too few have it
    the anchor is given back, and the chain stays bound.
    """
    found = read_anchor(directory)

    async def body(client: Client, _: Address) -> Body:
        slot = join_slot
        if slot is None:
            ledger = await client.call("plait_getLedgerParameters")
            notice = int(ledger["parameters"]["rollup_join_notice_slots"]["value"])
            slot = (await client.call("plait_slot"))["slot"] + notice + _MARGIN_SLOTS
        return AnchorRollup(rollup_id=RollupId(found.config.chain_id), anchor=found.encode(), join_slot=Slot(slot))

    send(body, f"chain {found.config.chain_id} joins; `plait rollup list` says when", options)


@click.command("unanchor")
@click.argument("rollup_id", metavar="CHAIN_ID", type=click.IntRange(1))
@acting_options
def unanchor(rollup_id: int, **options: Any) -> None:
    """Take an anchor back before its slot: the chain stays bound, and its own sequencer may go on."""
    send(WithdrawAnchor(rollup_id=RollupId(rollup_id)), f"chain {rollup_id} does not join now", options)
