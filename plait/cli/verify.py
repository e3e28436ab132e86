"""`plait verify-log`: replay a data directory's decided log and compare every root."""

from pathlib import Path

import click
import msgspec

from plait.cli.devnet import DEFAULT_DATA_DIR
from plait.cli.output import EXIT_NO, err, json_option, out, print_json
from plait.node.config import NodeConfig
from plait.node.node import open_storage
from plait.node.verify import verify


@click.command("verify-log")
@click.option(
    "--data-dir", type=click.Path(exists=True, file_okay=False, path_type=Path), default=DEFAULT_DATA_DIR,
    show_default=True, help="Data directory of a node that is not running.",
)  # fmt: skip
@json_option
def verify_log(data_dir: Path, as_json: bool) -> None:
    """Replay the decided log from genesis with every check and compare every root, hash and snapshot.

    Senders are recovered anew and nothing is taken on trust. Exits 0 when everything is equal, 1 at a difference.
    """
    stored = open_storage(None, NodeConfig(data_dir=data_dir))
    try:
        with err.status("Replaying…") as status:
            found = verify(stored, lambda height: status.update(f"Replayed height {height} of {stored.log.height}…"))
    finally:
        stored.log.close()
        if stored.directory is not None:
            stored.directory.close()
    if as_json:
        print_json({"ok": found.difference is None, **msgspec.to_builtins(found)})
    else:
        if found.cut_bytes:
            out.print(f"An interrupted append of {found.cut_bytes} bytes at the end was cut off.")
        begun = f" after the snapshot of height {found.from_height}" if found.from_height else ""
        out.print(
            f"{found.heights - found.from_height} sub-blocks with {found.transactions} transactions{begun} replayed in "
            f"{found.seconds:g} s, app hash {found.app_hash}."
        )
        for rollup in found.rollups:
            out.print(f"  rollup {rollup.chain_id}: block {rollup.block_number} {rollup.block_hash}")
        if found.snapshots:
            out.print(f"  snapshots compared: heights {', '.join(map(str, found.snapshots))}")
        if found.difference is None:
            out.print("[bold green]Everything is equal.[/]")
        else:
            out.print(f"[bold red]Difference[/] ({found.code}): ", end="")
            out.print(found.difference, markup=False)
    if found.difference is not None:
        raise SystemExit(EXIT_NO)


commands = {"verify-log": verify_log}
