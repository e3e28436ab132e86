"""`plait derive`: rebuild an OP Stack rollup from L1 alone."""

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import click

from plait.cli.output import EXIT_NO, err, json_option, out, print_json
from plait.client import Client
from plait.derivation.rollup_config import OpStackConfig, decode_rollup_json
from plait.errors import ConfigurationError
from plait.l1.beacon import BeaconClient
from plait.l1.client import L1Client, Tag
from plait.native import Rollup, Store, keccak256
from plait.rollups.batcher.sidecars import commitment_of
from plait.rollups.opstack.derive import Derived, begin
from plait.rollups.opstack.derive import l1_end as end_of_l1

_TAGS: dict[str, Tag] = {"latest": "latest", "safe": "safe", "finalized": "finalized"}


@click.command("derive")
@click.option("--l1", "l1_url", required=True, envvar="PLAIT_L1_URL", help="JSON-RPC of an L1 node.")
@click.option("--beacon", "beacon_url", default="", help="Beacon API that has the blobs; not needed for calldata.")
@click.option(
    "--rollup-config", "config_path", required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The rollup's rollup.json, as op-node reads it.",
)  # fmt: skip
@click.option(
    "--genesis", "genesis_path", required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The rollup's genesis file, as op-geth reads it.",
)  # fmt: skip
@click.option("--to", "number_max", type=click.IntRange(min=0), help="Rollup block to stop at; all by default.")
@click.option(
    "--l1-end", default="latest", show_default=True, help="L1 block to end with: latest, safe, finalized or a number."
)
@click.option("--compare", "compare_url", help="JSON-RPC of a node of the rollup: say whether it has the same blocks.")
@click.option(
    "--store", "store_path", type=click.Path(file_okay=False, path_type=Path),
    help="Directory to keep the blocks in, which must not hold blocks yet; in memory by default.",
)  # fmt: skip
@json_option
def derive(  # noqa: PLR0917 - click's
    l1_url: str,
    beacon_url: str,
    config_path: Path,
    genesis_path: Path,
    number_max: int | None,
    l1_end: str,
    compare_url: str | None,
    store_path: Path | None,
    as_json: bool,
) -> None:
    """Rebuild a rollup from L1 alone: its batches, its deposits, its genesis, and nobody's word.

    Every block is executed, so its hash is computed rather than copied. What is on L1 and does not count is passed over
    as the OP Stack says, and listed. With --compare the exit code is 1 when the node has another block.
    """
    config = decode_rollup_json(config_path.read_bytes())
    rollup = _rollup(genesis_path, store_path)
    at = _TAGS.get(l1_end, int(l1_end) if l1_end.isdecimal() else None)
    if at is None:
        raise click.BadParameter("latest, safe, finalized or a number", param_hint="--l1-end")
    found = asyncio.run(_derive(config, rollup, (l1_url, beacon_url), at, number_max))
    difference = asyncio.run(_compare(compare_url, rollup)) if compare_url else None
    if as_json:
        print_json(_document(config, found, compare_url, difference))
    else:
        _print(config, found)
        if compare_url and difference is None:
            out.print(f"[bold green]The node has the same blocks[/] up to {found.head.number}.")
    if difference is not None:
        number, mine, theirs = difference
        if not as_json:
            out.print(f"[bold red]Difference[/] first at block {number}: L1 says {mine}, the node has {theirs}.")
        raise SystemExit(EXIT_NO)


def _rollup(genesis_path: Path, store_path: Path | None) -> Rollup:
    store = Store.in_memory() if store_path is None else Store.open(str(store_path))
    rollup = Rollup.from_genesis(genesis_path.read_bytes(), store)
    if store.head_number(rollup.chain_id):
        raise ConfigurationError(
            f"{store_path} holds blocks of this rollup already; name a directory that does not exist.",
            code="derive_store_not_empty",
        )
    return rollup


async def _derive(
    config: OpStackConfig, rollup: Rollup, urls: tuple[str, str], at: Tag | int, number_max: int | None
) -> Derived:
    """Derives from the L1 node and the beacon node at two URLs, of which the second may be empty."""
    async with contextlib.AsyncExitStack() as stack:
        client = await stack.enter_async_context(L1Client(urls[0]))
        beacon = BeaconClient(urls[1], commit=commitment_of) if urls[1] else None
        if beacon is not None:
            await stack.enter_async_context(beacon)
        derivation = await begin(config, rollup, client, beacon)
        last = await end_of_l1(client, at)
        with err.status("Reading L1…") as status:

            def show(found: Derived) -> None:
                if found.l1.number % 16 == 0 or found.l1.number == last:
                    status.update(f"L1 block {found.l1.number} of {last}: rollup block {found.head.number}")

            return await derivation.run(last, number_max=number_max, on_step=show)


async def _compare(url: str, rollup: Rollup) -> tuple[int, str, str] | None:
    """The first block that a node has otherwise, with both hashes; None when there is none.

    Each hash commits to all before it, so that equal heads are enough and a difference is found by halving.
    """
    async with Client(url) as client:

        async def other(number: int) -> tuple[str, str] | None:
            mine = _block_hash(rollup, number)
            answer = await client.call("eth_getBlockByNumber", hex(number), False)
            theirs = answer["hash"] if answer is not None else "none"
            return None if mine == theirs else (mine, theirs)

        low, high = 0, rollup.head.number
        found = await other(high)
        if found is None:
            return None
        while low < high:
            middle = (low + high) // 2
            at_middle = await other(middle)
            if at_middle is None:
                low = middle + 1
            else:
                high, found = middle, at_middle
        return (high, *found)


def _block_hash(rollup: Rollup, number: int) -> str:
    header = rollup.raw_header(number)
    assert header is not None
    return "0x" + keccak256(header).hex()


def _document(
    config: OpStackConfig, found: Derived, compare_url: str | None, difference: tuple[int, str, str] | None
) -> dict[str, Any]:
    document: dict[str, Any] = {
        "chain_id": config.chain_id,
        "head": {"number": found.head.number, "hash": "0x" + found.head.hash.hex(), "timestamp": found.head_time_s},
        "l1": {"number": found.l1.number, "hash": "0x" + found.l1.hash.hex()},
        "blocks": found.blocks,
        "transactions": found.transactions,
        "blocks_without_batch": found.empty_epochs_blocks,
        "replaced": [
            {"number": one.number, "hash": "0x" + one.hash.hex(), "problem": one.problem} for one in found.replaced
        ],
        "passed_over": dict(sorted(found.notice_counts.items())),
        "notices": [{"l1_number": one.l1_number, "code": one.code, "message": one.message} for one in found.notices],
        "seconds": round(found.seconds, 3),
    }
    if compare_url:
        document["equal"] = difference is None
        if difference is not None:
            document["difference"] = dict(zip(("number", "derived", "node"), difference, strict=True))
    return document


def _print(config: OpStackConfig, found: Derived) -> None:
    rate = found.blocks / found.seconds if found.seconds else 0.0
    out.print(
        f"Rollup {config.chain_id}: {found.blocks} blocks with {found.transactions} transactions from L1 blocks "
        f"{config.genesis_l1.number} to {found.l1.number} in {found.seconds:.2f} s ({rate:.0f} blocks/s)."
    )
    out.print(f"  head {found.head.number}  0x{found.head.hash.hex()}")
    out.print(f"  L1   {found.l1.number}  0x{found.l1.hash.hex()}")
    if found.empty_epochs_blocks:
        out.print(f"  {found.empty_epochs_blocks} blocks have no batch: the sequencing window of their epoch passed.")
    for block in found.replaced:
        out.print(f"  block {block.number} holds its deposits only: ", end="")
        out.print(block.problem, markup=False)
    if found.notice_counts:
        counts = ", ".join(f"{count} {code}" for code, count in sorted(found.notice_counts.items()))
        out.print(f"  passed over on L1: {counts}")
    for notice in found.notices:
        out.print(f"    L1 block {notice.l1_number} ({notice.code}): ", end="")
        out.print(notice.message, markup=False)


commands = {"derive": derive}
