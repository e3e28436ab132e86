"""`plait verify`: a light client. Proves, from one trusted block, that a rollup's ordered stream is complete."""

import asyncio
import contextlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import click
import msgspec

from plait.cli.output import err, json_option, out, print_json
from plait.client import RpcError
from plait.client.light import RpcProvider
from plait.codec.damage import DAMAGED
from plait.errors import ConfigurationError, LightConflict, Unavailable
from plait.light import Account, Client, Evidence, LightBlock, Policy, SubBlock, Trusted
from plait.light.blocks import format_time
from plait.light.protobuf import NANOSECONDS
from plait.limits import LIGHT_TRUSTING_PERIOD_S
from plait.types import Hash32, Height, RollupId, Slot

_HASH: Final = re.compile(r"(?:0x)?([0-9a-fA-F]{64})\Z")
_SLOTS: Final = re.compile(r"(\d{1,16})(?:-(\d{1,16}))?\Z", re.ASCII)
_EXAMPLE: Final = "--trusted-height 1 --trusted-hash 0x..."


class Range(NamedTuple):
    """What is to be proven."""

    rollup_id: RollupId
    first: Slot
    last: Slot


class Told(NamedTuple):
    """What was proven."""

    newest: LightBlock
    account: Account | None
    agreed: int
    faults: dict[str, str]


def hash_of(_context: click.Context, _parameter: click.Parameter, value: str | None) -> Hash32 | None:
    """A block's hash, with or without 0x."""
    found = _HASH.match(value) if value is not None else None
    if value is not None and found is None:
        raise click.BadParameter("a block's hash has 64 hex digits")
    return None if found is None else Hash32(bytes.fromhex(found.group(1)))


def slots_of(_context: click.Context, _parameter: click.Parameter, value: str | None) -> tuple[Slot, Slot] | None:
    """A slot, or the first and the last one of a range."""
    if value is None:
        return None
    found = _SLOTS.match(value)
    if found is None or int(found.group(2) or found.group(1)) < int(found.group(1)):
        raise click.BadParameter("slots are one number, or two like 120-180")
    return Slot(int(found.group(1))), Slot(int(found.group(2) or found.group(1)))


@click.command()
@click.argument("urls", metavar="URL...", nargs=-1, required=True)
@click.option("--trusted-height", type=click.IntRange(1), help="Height of a block that you trust.")
@click.option("--trusted-hash", callback=hash_of, metavar="HASH", help="Its hash, from a source that you believe.")
@click.option(
    "--trusted", "trusted_file", type=click.Path(dir_okay=False, path_type=Path),
    help="Read the trusted block from a file that --save wrote.",
)  # fmt: skip
@click.option("--rollup", "rollup_id", type=click.IntRange(1), help="The rollup's id.")
@click.option("--slots", callback=slots_of, metavar="A-B", help="The slots to prove, both ends included.")
@click.option("--list", "list_items", is_flag=True, help="Print every item of the rollup, in order.")
@click.option(
    "--trusting-period", "trusting_period_s", type=click.IntRange(1), default=LIGHT_TRUSTING_PERIOD_S,
    show_default=True, metavar="SECONDS", help="How old the trusted block may be; less than the unbonding period.",
)  # fmt: skip
@click.option(
    "--save", "save_file", type=click.Path(dir_okay=False, path_type=Path),
    help="Write the newest verified block to a file, to begin with next time.",
)  # fmt: skip
@click.option(
    "--evidence", "evidence_file", type=click.Path(dir_okay=False, path_type=Path),
    help="Where to write the evidence when nodes prove different blocks of one height.",
)  # fmt: skip
@click.option("--show-newest", is_flag=True, help="Only print the newest block that each node claims; verify nothing.")
@json_option
def verify(
    *,
    urls: Sequence[str],
    trusted_height: int | None,
    trusted_hash: Hash32 | None,
    trusted_file: Path | None,
    rollup_id: int | None,
    slots: tuple[Slot, Slot] | None,
    list_items: bool,
    trusting_period_s: int,
    save_file: Path | None,
    evidence_file: Path | None,
    show_newest: bool,
    as_json: bool,
) -> None:
    """Prove that a rollup's stream over a range of slots is complete, in order, and decided by the validators.

    The first URL is a node that shows everything; the others are witnesses that it is compared with. None of them is
    trusted: only the block that you name is. Without --rollup and --slots, the newest block is verified and no stream.
    Exits 1 when something is not as it must be.
    """
    if show_newest:
        _print_newest(asyncio.run(_newest(urls)), as_json=as_json)
        return
    trusted = _trusted(trusted_height, trusted_hash, trusted_file)
    if (rollup_id is None) != (slots is None):
        raise click.UsageError("--rollup and --slots go together.")
    wanted = None if rollup_id is None or slots is None else Range(RollupId(rollup_id), *slots)
    lines: list[dict[str, Any]] = []
    policy = Policy(trusting_period_ns=trusting_period_s * NANOSECONDS)
    try:
        with err.status("Verifying…") as status:

            def each(sub_block: SubBlock) -> None:
                status.update(f"Verified slot {sub_block.slot}, sub-block {sub_block.height}…")
                if list_items:
                    lines.extend(_lines(sub_block))

            told = asyncio.run(_verify(urls, trusted, wanted, policy, each))
    except LightConflict as conflict:
        if evidence_file is not None:
            evidence_file.write_bytes(msgspec.json.format(msgspec.json.encode(_evidence(conflict))))
        raise
    except Unavailable as error:
        raise RpcError(error.message, code=error.code) from error
    if save_file is not None:
        newest = {"height": told.newest.height, "hash": "0x" + told.newest.hash.hex()}
        save_file.write_bytes(msgspec.json.encode(newest) + b"\n")
    if as_json:
        print_json(_json(told, len(urls) - 1) | ({"stream": lines} if list_items else {}))
    else:
        _print(told, trusted, len(urls) - 1, lines)


def _trusted(height: int | None, block_hash: Hash32 | None, file: Path | None) -> Trusted:
    if file is not None:
        if height is not None or block_hash is not None:
            raise click.UsageError("--trusted already names a block; leave out --trusted-height and --trusted-hash.")
        try:
            found = msgspec.json.decode(file.read_bytes())
            match = _HASH.match(found["hash"])
            if match is None or not isinstance(found["height"], int) or found["height"] < 1:
                raise ValueError
        except (*DAMAGED, KeyError, TypeError):
            raise ConfigurationError(
                f"{file} does not hold a trusted block; `plait verify --save` writes such a file.",
                code="trusted_file_invalid",
            ) from None
        return Trusted(Height(found["height"]), Hash32(bytes.fromhex(match.group(1))))
    if height is None or block_hash is None:
        raise click.UsageError(
            f"A light client begins with a block that you trust: {_EXAMPLE}, or --trusted FILE. Ask several people who "
            "run nodes, or compare what `plait verify --show-newest URL...` prints with what they say."
        )
    return Trusted(Height(height), block_hash)


async def _verify(urls: Sequence[str], trusted: Trusted, wanted: Range | None, policy: Policy, each: Any) -> Told:
    async with contextlib.AsyncExitStack() as stack:
        primary, *witnesses = [await stack.enter_async_context(RpcProvider(url)) for url in urls]
        client = Client(primary, trusted, witnesses=witnesses, policy=policy)
        account = None
        if wanted is not None:
            account = await client.account(wanted.rollup_id, wanted.first, wanted.last, each=each)
        newest = await client.verify(client.newest.height if account is not None else None)
        agreed = len(witnesses) - len(client.witness_faults)
        return Told(newest, account, agreed, client.witness_faults)


async def _newest(urls: Sequence[str]) -> list[tuple[str, LightBlock]]:
    shown: list[tuple[str, LightBlock]] = []
    for url in urls:
        async with RpcProvider(url) as provider:
            try:
                shown.append((url, await provider.light_block(None)))
            except Unavailable as error:
                raise RpcError(error.message, code=error.code) from error
    return shown


# ---------------------------------------------------------------- output
def _lines(sub_block: SubBlock) -> list[dict[str, Any]]:
    place = {"height": sub_block.height, "slot": sub_block.slot, "subIndex": sub_block.sub_index}
    return [
        place
        | {"index": index, "kind": str(item.kind), "transactions": [_hex(one) for one in item.transactions]}
        | ({} if item.bundle is None else {"bundle": _hex(item.bundle)})
        for index, item in enumerate(sub_block.read_items())
    ]


def _json(told: Told, witnesses: int) -> dict[str, Any]:
    block = told.newest
    shown: dict[str, Any] = {
        "ok": True,
        "chainId": block.header.chain_id,
        "newest": {"height": block.height, "hash": _hex(block.hash), "time": format_time(block.header.time_ns)},
        "witnesses": {"asked": witnesses, "agreed": told.agreed, "faults": told.faults},
    }
    account = told.account
    if account is None:
        return shown
    sealed = account.last_sealed
    return shown | {
        "networkId": account.network_id,
        "rollupId": account.rollup_id,
        "firstSlot": account.first_slot,
        "lastSlot": account.last_slot,
        "firstHeight": account.first_height,
        "lastHeight": account.last_height,
        "subBlocks": account.sub_blocks,
        "slotsWithoutSubBlock": account.slots_without_sub_block,
        "activeSubBlocks": account.active_sub_blocks,
        "items": account.items,
        "transactions": account.transactions,
        "legs": account.legs,
        "deliveries": account.relays,
        "sealedBlocks": account.sealed_blocks,
        "lastSealed": None if sealed is None else {"number": sealed[0], "hash": _hex(sealed[1])},
        "rollupIds": list(account.rollup_ids),
        "rollupChanges": account.rollup_changes,
        "appHash": _hex(account.app_hash),
        "streamHash": _hex(account.stream_hash),
        "anchors": [
            {"height": one.height, "hash": _hex(one.hash), "signed": one.signed_power, "total": one.total_power}
            for one in account.anchors
        ],
    }


def _print(told: Told, trusted: Trusted, witnesses: int, lines: Sequence[dict[str, Any]]) -> None:
    for line in lines:
        where = f"slot {line['slot']} sub-block {line['height']} item {line['index']}"
        out.print(f"{where}  {line['kind']}  {' '.join(line['transactions'])}", markup=False)
    block, account = told.newest, told.account
    rows = [("trusted", f"height {trusted.height}, block {_hex(trusted.hash)}")]
    if account is None:
        out.print(f"[bold green]Verified[/]: {block.header.chain_id} has decided height {block.height}.")
        rows.append(("newest", f"block {_hex(block.hash)} of {format_time(block.header.time_ns)}"))
    else:
        out.print(
            f"[bold green]Verified[/]: the stream of rollup {account.rollup_id} over slots {account.first_slot} to "
            f"{account.last_slot} is complete and in order."
        )
        rows += _rows(account)
    if witnesses:
        rows.append(("witnesses", f"{told.agreed} of {witnesses} agree"))
        rows += [("", f"{name}: {reason}") for name, reason in sorted(told.faults.items())]
    for name, value in rows:
        out.print(f"  {name:<13} ", end="")
        out.print(value, markup=False)


def _rows(account: Account) -> list[tuple[str, str]]:
    empty = account.slots_without_sub_block
    heights = f" (heights {account.first_height} to {account.last_height})" if account.sub_blocks else ""
    changes = f"; the set changed {account.rollup_changes} times" if account.rollup_changes else ""
    rows = [
        ("sub-blocks", f"{account.sub_blocks}{heights}" + (f"; {empty} slots have none" if empty else "")),
        (
            "items",
            f"{account.items} with {account.transactions} transactions; {account.legs} legs of bundles, "
            f"{account.relays} deliveries of messages",
        ),
        ("rollups", f"{', '.join(map(str, account.rollup_ids))}: none is left out{changes}"),
    ]
    if account.active_sub_blocks < account.sub_blocks:
        rows.append(("active", f"in {account.active_sub_blocks} of the sub-blocks; not registered in the others"))
    if account.last_sealed is not None:
        number, block_hash = account.last_sealed
        rows.append(("sealed", f"{account.sealed_blocks} blocks, the last one {number} {_hex(block_hash)}"))
    newest = account.anchors[-1]
    decided = (
        f"at least {newest.signed_power} of {newest.total_power} voting power (more than two thirds), "
        f"checked at {len(account.anchors)} block{'s'[: len(account.anchors) - 1]} up to height {newest.height}"
    )
    return [*rows, ("decided by", decided), ("stream hash", _hex(account.stream_hash))]


def _print_newest(shown: Sequence[tuple[str, LightBlock]], *, as_json: bool) -> None:
    if as_json:
        print_json(
            [
                {"url": url, "height": one.height, "hash": _hex(one.hash), "time": format_time(one.header.time_ns)}
                for url, one in shown
            ]
        )
        return
    for url, one in shown:
        out.print(f"{url}  --trusted-height {one.height} --trusted-hash {_hex(one.hash)}", markup=False)
    out.print("Nothing of this was verified: compare it with what others say before you trust it.")


def _evidence(conflict: LightConflict) -> dict[str, Any]:
    """Both accusations in CometBFT's JSON; which of the two blocks is the false one, the reader must find out."""
    evidence = conflict.fields["evidence"]
    assert isinstance(evidence, Evidence)
    return {
        "kind": str(evidence.kind),
        "commonHeight": evidence.common_height,
        "againstPrimary": evidence.against(evidence.primary),
        "againstWitness": evidence.against(evidence.witness),
    }


def _hex(data: bytes) -> str:
    return "0x" + data.hex()


commands = {"verify": verify}
