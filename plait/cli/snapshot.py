"""`plait snapshot`: the snapshots that a node offers to nodes that join."""

from pathlib import Path
from typing import Any

import click

from plait.cli.output import EXIT_NO, err, json_option, out, print_json
from plait.errors import ConfigurationError
from plait.ledger.encoding import ledger_root
from plait.node.config import NodeConfig, fingerprint
from plait.node.joined import source_of
from plait.node.network_snapshot import decode_head, freeze, write_network_snapshot
from plait.node.node import Stored, open_storage
from plait.node.remotes import IMPORTS
from plait.node.restore import Restored, restore
from plait.protocol.proposal import app_hash_of, header_hash_of
from plait.storage import NETWORK_FILE
from plait.storage.manifest import HEAD
from plait.storage.network_snapshots import NetworkSnapshot, find_snapshots, read_chunk

_DIRECTORY = "network-snapshots"

home_option = click.option(
    "--home", "--data-dir", "home", type=click.Path(exists=True, file_okay=False, path_type=Path), required=True,
    help="Home of the node.",
)  # fmt: skip


@click.group("snapshot")
def snapshot() -> None:
    """The snapshots that a node offers to nodes that join.

    A node of a network writes one at every multiple of network_snapshot_every_heights (node.toml) and keeps two. Who
    joins checks all of it against the app hash that the validators signed.
    """


@snapshot.command("list")
@home_option
@json_option
def list_snapshots(home: Path, as_json: bool) -> None:
    """List a node's snapshots, newest first. The node may be running."""
    found, skipped = find_snapshots(_require_home(home) / _DIRECTORY)
    if as_json:
        print_json({"snapshots": [_summary(one) for one in found], "unusable": skipped})
        return
    for one in found:
        shown = _summary(one)
        out.print(f"height {shown['height']}  {shown['chunks']} chunks  {shown['bytes']:,} bytes  {shown['hash']}")
    for sentence in skipped:
        err.print(sentence, markup=False)
    if not found:
        out.print("There are no snapshots.")


@snapshot.command("inspect")
@click.argument("height", type=click.IntRange(min=1))
@home_option
@json_option
def inspect(height: int, home: Path, as_json: bool) -> None:
    """Check every chunk of a snapshot and show what it holds. The node may be running.

    Exits 1 when there is no such snapshot or it is damaged.
    """
    found, skipped = find_snapshots(_require_home(home) / _DIRECTORY)
    held = next((one for one in found if one.manifest.height == height), None)
    if held is None:
        known = ", ".join(str(one.manifest.height) for one in found) or "none"
        raise click.ClickException(
            " ".join([f"There is no usable snapshot of height {height}; there are: {known}.", *skipped])
        )
    shown = _inspected(held)
    if as_json:
        print_json(shown)
    else:
        _print(shown)
    if shown["damagedChunks"]:
        raise SystemExit(EXIT_NO)


@snapshot.command("create")
@home_option
@json_option
def create(home: Path, as_json: bool) -> None:
    """Write a snapshot of the last decided height of a node that is not running."""
    stored = open_storage(None, NodeConfig(data_dir=_require_home(home)))
    restored: Restored | None = None
    try:
        with err.status("Restoring the state…"):
            restored = _restored(stored)
        state = freeze(restored.application)
        if state.height == 0:
            raise ConfigurationError(f"{home} has decided nothing yet.", code="snapshot_empty")
        assert stored.network_snapshots is not None, "a node on disk"
        with err.status(f"Writing the snapshot of height {state.height}…"):
            written = write_network_snapshot(
                state, stored.log, stored.network_snapshots, fingerprint(stored.network, stored.genesis)
            )
    finally:
        if restored is not None:
            restored.store.close()
        stored.log.close()
        if stored.directory is not None:
            stored.directory.close()
    if as_json:
        print_json(_summary(written))
    else:
        manifest = written.manifest
        out.print(f"Snapshot of height {manifest.height}: {manifest.chunks} chunks, {manifest.total_bytes:,} bytes.")


def _require_home(home: Path) -> Path:
    if not (home / NETWORK_FILE).exists():
        raise ConfigurationError(f"{home} holds no network.", code="network_missing", path=str(home))
    return home


def _restored(stored: Stored) -> Restored:
    assert stored.directory is not None, "a node on disk"
    return restore(
        stored.network,
        stored.genesis,
        source_of(stored.network, stored.directory.path / IMPORTS),
        stored.log,
        snapshots=stored.snapshots,
        network_snapshots=stored.network_snapshots,
        store_path=stored.directory.store,
        imports=stored.directory.path / IMPORTS,
    )


def _summary(held: NetworkSnapshot) -> dict[str, Any]:
    manifest = held.manifest
    return {
        "height": manifest.height,
        "hash": "0x" + manifest.hash.hex(),
        "chunks": manifest.chunks,
        "bytes": manifest.total_bytes,
    }


def _inspected(held: NetworkSnapshot) -> dict[str, Any]:
    manifest = held.manifest
    damaged = [index for index in range(manifest.chunks) if read_chunk(held, index) is None]
    shown = _summary(held) | {
        "parts": [{"name": part.name, "bytes": part.size_bytes} for part in manifest.parts],
        "damagedChunks": damaged,
    }
    if damaged:
        return shown
    header, ledger = decode_head((held.path / HEAD).read_bytes())
    app_hash = app_hash_of(ledger.height, header_hash_of(header), ledger_root(ledger))
    return shown | {
        "appHash": "0x" + app_hash.hex(),
        "slot": ledger.slot,
        "timeMs": ledger.time_ms,
        "rollups": [
            {
                "chainId": record.rollup_id,
                "head": record.head_number,
                "headHash": "0x" + record.head_hash.hex(),
                "openTransactions": 0 if record.open_block is None else record.open_block.transaction_count,
            }
            for record in ledger.rollups
        ],
    }


def _print(shown: dict[str, Any]) -> None:
    out.print(f"height {shown['height']}  hash {shown['hash']}")
    if "appHash" in shown:
        out.print(f"app hash {shown['appHash']}  slot {shown['slot']}")
        for one in shown["rollups"]:
            block = f"block {one['head']} {one['headHash']}"
            out.print(f"rollup {one['chainId']}: {block}, transactions in the open block: {one['openTransactions']}")
    for part in shown["parts"]:
        out.print(f"  {part['name']:<20} {part['bytes']:>14,} bytes")
    if shown["damagedChunks"]:
        out.print(f"[bold red]Damaged chunks:[/] {', '.join(map(str, shown['damagedChunks']))}")
    else:
        out.print(f"[bold green]All {shown['chunks']} chunks are as the manifest says.[/]")


commands = {"snapshot": snapshot}
