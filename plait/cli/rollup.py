"""`plait rollup`: register a rollup, change it, pay for it, take it out."""

from typing import Any, Final

import click
import msgspec

from plait.cli.acting import AMOUNT, acting_options, run, send, tokens
from plait.cli.output import json_option, out, print_json, url_option
from plait.cli.rollup_chain import add, check, handover, import_
from plait.cli.rollup_chain import run as run_
from plait.cli.rollup_join import anchor, bind, unanchor
from plait.client import Client
from plait.errors import InvalidInput
from plait.ledger.registry import genesis_entry
from plait.ledger.rollup_records import FORKS, ORDERINGS, RollupGenesis
from plait.native import Rollup, Store
from plait.rollups.embedded.source import EmbeddedSource
from plait.types import Address, Amount, Gas, Hash32, NetworkParameters, RollupId, RollupParameters, Slot, Wei
from plait.types.action import Body, FundedAccount, FundRollup, LeaveRollup, RegisterRollup, UpdateRollup

_ORDERING_NAMES: Final = [str(ordering) for ordering in ORDERINGS]
_MARGIN_SLOTS: Final = 5
"""Beyond the notice, so that signing and deciding take their time."""


@click.group()
def rollup() -> None:
    """Bring a rollup to the network, change it, pay for it, take it out."""


@rollup.command("register")
@click.argument("rollup_id", metavar="CHAIN_ID", type=click.IntRange(1, 2**63 - 1))
@click.option("--block-time", type=click.IntRange(1, 60), default=1, show_default=True, help="Slots.")
@click.option("--gas-limit", type=click.IntRange(1_000_000), default=30_000_000, show_default=True)
@click.option("--policy", type=click.Choice(_ORDERING_NAMES), default=_ORDERING_NAMES[0], show_default=True)
@click.option("--fork", type=click.Choice(FORKS), default=FORKS[-1], show_default=True, help="OP Stack fork.")
@click.option("--interop-set", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="0: none.")
@click.option("--min-base-fee", type=click.IntRange(0), default=0, show_default=True, help="Wei.")
@click.option("--fund", "funded", multiple=True, metavar="ADDRESS=ETHER", help="Account of the genesis; repeat.")
@click.option("--fee-recipient", help="Who may withdraw the rollup's own fees; default: the signer.")
@click.option("--escrow", type=AMOUNT, help="PLAIT for slot and transaction fees; default: twice the least.")
@click.option("--start-slot", type=click.IntRange(0), help="Default: as soon as possible.")
@acting_options
def register(**options: Any) -> None:
    """Register a rollup: it joins at its start slot with a genesis that every node builds from this registration."""
    sent = {name: options.pop(name) for name in ("as_json", "url", "wait_s", "keys_dir", "key_name")}

    async def body(client: Client, sender: Address) -> Body:
        network = await client.call("plait_networkInfo")
        ledger = await client.call("plait_getLedgerParameters")
        return registration(options, sender, network, {k: int(v["value"]) for k, v in ledger["parameters"].items()})

    send(body, f"rollup {options['rollup_id']} is registered; `plait rollup list` says when it joins", sent)


def registration(
    options: dict[str, Any], sender: Address, network: dict[str, Any], ledger: dict[str, int]
) -> RegisterRollup:
    """The registration that the options describe, with the hash of the genesis block that it gives.

    Args:
        options: of `plait rollup register`, by name.
        sender: owner.
        network: answer of plait_networkInfo.
        ledger: governed parameters by name.
    """
    block_time = options["block_time"]
    start_slot = options["start_slot"]
    if start_slot is None:
        earliest = network["slot"] + ledger["rollup_join_notice_slots"] + _MARGIN_SLOTS
        start_slot = -(-earliest // block_time) * block_time
    balances = tuple(sorted((_funded(entry) for entry in options["funded"]), key=lambda entry: entry.account))
    recipient = sender if options["fee_recipient"] is None else _address(options["fee_recipient"])
    escrow = options["escrow"]
    parameters = RollupParameters(
        rollup_id=RollupId(options["rollup_id"]),
        genesis_hash=Hash32(bytes(32)),
        block_time_slots=block_time,
        gas_limit=Gas(options["gas_limit"]),
        ordering=ORDERINGS[_ORDERING_NAMES.index(options["policy"])],
        da_footprint_gas_scalar=0,
        eip1559_denominator=250,
        eip1559_elasticity=6,
        min_base_fee=Wei(options["min_base_fee"]),
        operator_fee_scalar=0,
        operator_fee_constant=0,
        base_fee_scalar=0,
        blob_base_fee_scalar=0,
        interop_set=options["interop_set"],
        start_slot=Slot(start_slot),
    )
    genesis = RollupGenesis(
        fork=options["fork"], base_fee=Wei(1_000_000_000), fee_recipient=recipient, balances=balances
    )
    found = _genesis_hash(network, parameters, genesis)
    shared = set(RegisterRollup.__struct_fields__) & set(RollupParameters.__struct_fields__) - {"ordering"}
    values = {name: getattr(parameters, name) for name in shared} | {"genesis_hash": found}
    return RegisterRollup(
        **values,
        ordering=_ORDERING_NAMES.index(options["policy"]),
        fork=FORKS.index(options["fork"]),
        base_fee=genesis.base_fee,
        fee_recipient=recipient,
        balances=balances,
        revenue_recipient=sender,
        escrow=Amount(2 * ledger["rollup_escrow_min"] if escrow is None else escrow),
        fee_per_slot_max=Amount(ledger["rollup_fee_per_slot"]),
        fee_per_transaction_max=Amount(ledger["rollup_fee_per_transaction"]),
    )


def _genesis_hash(network: dict[str, Any], parameters: RollupParameters, genesis: RollupGenesis) -> Hash32:
    grid = NetworkParameters(
        network_id=network["networkId"],
        genesis_time_s=network["genesisTime"],
        slot_ms=network["slotMs"],
        sub_blocks_per_slot=network["subBlocksPerSlot"],
    )
    entry = msgspec.structs.replace(genesis_entry(parameters, genesis.fee_recipient), genesis=genesis)
    built = Rollup.from_genesis(EmbeddedSource.of(grid).genesis_json(entry), Store.in_memory())
    return Hash32(built.genesis_hash)


@rollup.command("update")
@click.argument("rollup_id", metavar="CHAIN_ID", type=click.IntRange(1))
@click.option("--gas-limit", type=click.IntRange(1_000_000))
@click.option("--policy", type=click.Choice(_ORDERING_NAMES))
@click.option("--min-base-fee", type=click.IntRange(0), help="Wei.")
@click.option("--revenue-recipient", help="Ledger account that gets the rollup's part of transaction fees.")
@click.option("--at-slot", type=click.IntRange(0), help="Default: as soon as possible.")
@acting_options
def update(rollup_id: int, at_slot: int | None, **options: Any) -> None:
    """Change a rollup from its next block at or after a slot on; what is not named stays as it is."""
    changes = {name: options.pop(name) for name in ("gas_limit", "policy", "min_base_fee", "revenue_recipient")}

    async def body(client: Client, _: Address) -> Body:
        entry, current = await _registered(client, rollup_id)
        now = entry["parameters"]
        names = set(UpdateRollup.__struct_fields__) & set(RollupParameters.__struct_fields__) - {"ordering"}
        values = {name: now[_camel(name)] for name in names}
        values |= {name: changes[name] for name in ("gas_limit", "min_base_fee") if changes[name] is not None}
        recipient = changes["revenue_recipient"] or entry["revenueRecipient"]
        return UpdateRollup(
            **values,
            at_slot=Slot(current + _MARGIN_SLOTS if at_slot is None else at_slot),
            ordering=_ORDERING_NAMES.index(changes["policy"] or now["ordering"]),
            revenue_recipient=_address(recipient),
        )

    send(body, f"rollup {rollup_id} changes", options)


@rollup.command("leave")
@click.argument("rollup_id", metavar="CHAIN_ID", type=click.IntRange(1))
@click.option("--at-slot", type=click.IntRange(0), help="Default: as soon as possible.")
@acting_options
def leave(rollup_id: int, at_slot: int | None, **options: Any) -> None:
    """Take a rollup out: its last block is sealed at the slot, what is left of the escrow comes back."""

    async def body(client: Client, _: Address) -> Body:
        slot = (await _registered(client, rollup_id))[1]
        ledger = await client.call("plait_getLedgerParameters")
        notice = int(ledger["parameters"]["rollup_leave_notice_slots"]["value"])
        chosen = slot + notice + _MARGIN_SLOTS if at_slot is None else at_slot
        return LeaveRollup(rollup_id=RollupId(rollup_id), at_slot=Slot(chosen))

    send(body, f"rollup {rollup_id} leaves; `plait rollup list` says when", options)


@rollup.command("fund")
@click.argument("rollup_id", metavar="CHAIN_ID", type=click.IntRange(1))
@click.argument("amount", type=AMOUNT)
@acting_options
def fund(rollup_id: int, amount: Amount, **options: Any) -> None:
    """Add AMOUNT of PLAIT to a rollup's escrow; anyone may."""
    send(FundRollup(rollup_id=RollupId(rollup_id), amount=amount), f"added {tokens(amount)}", options)


@rollup.command("list")
@url_option
@json_option
def list_(url: str, as_json: bool) -> None:
    """List the registry: rollups with owner, escrow and schedule, and who left."""
    found = run(url, lambda client: client.call("plait_getRollups"))
    if as_json:
        print_json(found)
        return
    terms = found["publishedTerms"]
    fees = f"{tokens(terms['feePerSlot'])} per slot, {tokens(terms['feePerTransaction'])} per transaction"
    out.print(f"{found['mode']}: {fees}", markup=False)
    for entry in found["rollups"]:
        when = f" leaves at slot {entry['leaveSlot']}" if entry["leaveSlot"] is not None else ""
        if entry["status"] == "pending":
            joining = entry["joining"] or {}
            when = f" joins at slot {joining.get('joinSlot', entry['parameters']['startSlot'])}"
        if entry["status"] == "bound":
            when = f" waits for an anchor until slot {entry['joining']['lapseSlot']}"
        escrow = tokens(entry["escrow"])
        out.print(
            f"{entry['rollupId']:>12}  {entry['status']:<8} {entry['owner']}  escrow {escrow}{when}", markup=False
        )
    for entry in found["departed"]:
        out.print(f"{entry['rollupId']:>12}  left at slot {entry['leftSlot']} ({entry['reason']})", markup=False)


async def _registered(client: Client, rollup_id: int) -> tuple[dict[str, Any], int]:
    """A rollup's entry and the current slot."""
    registry = await client.call("plait_getRollups")
    found = [entry for entry in registry["rollups"] if entry["rollupId"] == rollup_id]
    if not found:
        raise InvalidInput(f"no rollup {rollup_id} is registered", code="rollup_unknown")
    return found[0], (await client.call("plait_slot"))["slot"]


def _funded(text: str) -> FundedAccount:
    address, _, ether = text.partition("=")
    return FundedAccount(account=_address(address), balance=Wei(AMOUNT.convert(ether, None, None)))


def _address(text: str) -> Address:
    try:
        data = bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        data = b""
    if len(data) != 20:
        raise click.BadParameter(f"{text!r} is no address")
    return Address(data)


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(part.capitalize() for part in others)


for _command in (check, import_, add, run_, handover, bind, anchor, unanchor):
    rollup.add_command(_command)

commands = {"rollup": rollup}
