"""`plait genesis`: a rollup's genesis file, as op-geth and Plait read it."""

import time
from pathlib import Path

import click

from plait.cli.output import json_option, out, print_json
from plait.errors import ConfigurationError
from plait.node.config import FIRST_CHAIN_ID, NetworkConfig, RollupConfig, decode_network, embedded_genesis
from plait.types import RollupId


@click.command()
@click.option(
    "--rollup", "chain_id", type=int, default=FIRST_CHAIN_ID, show_default=True, help="Chain id of the rollup."
)
@click.option(
    "--data-dir", type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Take the genesis of a network that exists (its node may run).",
)  # fmt: skip
@click.option("--time", "time_s", type=int, help="Genesis time of a new network, Unix seconds.  [default: now]")
@click.option(
    "--output", "-o", type=click.Path(dir_okay=False, path_type=Path), help="File to write.  [default: print it]"
)
@json_option
def genesis(chain_id: int, data_dir: Path | None, time_s: int | None, output: Path | None, as_json: bool) -> None:
    """Write a rollup's genesis in op-geth's format: `op-geth init` takes the same file.

    \b
    Examples:
      plait genesis --rollup 901 -o genesis.json                      of a new network
      plait genesis --rollup 902 --data-dir .plait/devnet -o g.json   of the one that runs
    """
    if data_dir is not None:
        network = decode_network((data_dir / "network.json").read_bytes(), str(data_dir / "network.json"))
        known = [rollup.chain_id for rollup in network.rollups]
        if chain_id not in known:
            raise ConfigurationError(
                f"The network in {data_dir} has no rollup {chain_id}; it has {', '.join(map(str, known))}.",
                code="rollup_unknown",
            )
        data = (data_dir / "genesis" / f"{chain_id}.json").read_bytes()
    else:
        network = NetworkConfig(
            genesis_time_s=int(time.time()) if time_s is None else time_s, rollups=(RollupConfig(chain_id=chain_id),)
        )
        network.check()
        data = embedded_genesis(network)[RollupId(chain_id)]
    if output is None:
        click.echo(data)
        return
    output.write_bytes(data)
    if as_json:
        print_json({"file": str(output), "bytes": len(data), "chainId": chain_id})
    else:
        out.print(f"Wrote the genesis of rollup {chain_id} to {output} ({len(data):,} bytes).")


commands = {"genesis": genesis}
