"""`plait l1`: checkpoints of the network's state on L1, as anybody may see, gather and pay them."""

import asyncio
import re
from pathlib import Path
from typing import Any, Final

import click

from plait.cli.output import json_option, out, print_json
from plait.errors import InvalidInput, Unavailable
from plait.l1.attestations import L1Contract
from plait.l1.client import L1Client
from plait.l1.registry import RegistryState, read_checkpoints, read_registry
from plait.node.l1_paying import CheckpointPayer
from plait.rollups.opstack.jwt import read_secret
from plait.types import Address, Height

_ADDRESS: Final = re.compile(r"0x[0-9a-fA-F]{40}\Z").match
_POLL_S: Final = 1.0

l1_option = click.option(
    "--l1", "l1_url", required=True, metavar="URL", envvar="PLAIT_L1", help="JSON-RPC of an L1 node."
)
registry_option = click.option("--registry", required=True, metavar="ADDRESS", help="PlaitRegistry on L1.")


def contract_address(text: str) -> Address:
    """An address of a contract. Raises InvalidInput `address_malformed`."""
    if not _ADDRESS(text):
        raise InvalidInput(f"{text!r} is no address: 0x and 40 hex digits.", code="address_malformed")
    return Address(bytes.fromhex(text[2:]))


@click.group()
def l1() -> None:
    """Checkpoints of the network's state on L1.

    \b
    Nodes with [attester] in opstack.toml sign and commit them by themselves; these commands are for looking at them,
    and for committing one from outside:
      plait l1 status --l1 URL --registry 0x...
      plait l1 checkpoint --l1 URL --registry 0x... --node http://10.0.0.1:8545 --payer payer.key
    """


@l1.command()
@l1_option
@registry_option
@click.option("--height", "heights", type=click.IntRange(1), multiple=True, help="Show the checkpoint of a height.")
@json_option
def status(l1_url: str, registry: str, heights: tuple[int, ...], as_json: bool) -> None:
    """Show the registry's set, how long it is trusted, and checkpoints."""

    async def work() -> dict[str, Any]:
        async with L1Client(l1_url) as client:
            state = await read_registry(client, L1Contract(await client.chain_id(), contract_address(registry)))
            held = await read_checkpoints(client, state, [Height(height) for height in heights])
        shown = {str(at): None if one is None else "0x" + one.hex() for at, one in zip(heights, held, strict=True)}
        return _answer(state) | {"checkpoints": shown}

    found = asyncio.run(work())
    if as_json:
        print_json(found)
        return
    trusted = found["trustedUntil"] - found["time"]
    out.print(f"network {found['networkId']}, set {found['epoch']} from height {found['setHeight']}", markup=False)
    out.print(f"  its hash {found['setHash']}", markup=False)
    if found["haltedByHeight"]:
        out.print(f"  HALTED: two states of height {found['haltedByHeight']} were signed", markup=False)
    elif trusted < 0:
        out.print(f"  EXPIRED {-trusted} s ago", markup=False)
    else:
        out.print(f"  trusted for {trusted} s more", markup=False)
    for height, app_hash in found["checkpoints"].items():
        out.print(f"  height {height}: {app_hash or 'no checkpoint'}", markup=False)


@l1.command()
@l1_option
@registry_option
@click.option(
    "--node", "nodes", multiple=True, required=True, metavar="URL", help="Node of a validator; once for each, a quorum."
)
@click.option(
    "--payer", "payer_file", required=True, metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Key file of the L1 account that pays, 64 hex digits.",
)  # fmt: skip
@click.option("--wait", "wait_s", type=float, default=120.0, show_default=True, help="Seconds to wait for a quorum.")
@json_option
def checkpoint(l1_url: str, registry: str, nodes: tuple[str, ...], *, as_json: bool, **options: Any) -> None:
    """Gather what validators have signed, and commit the newest checkpoint, or the next set, on L1."""
    key = read_secret(options["payer_file"])

    async def work() -> dict[str, Any]:
        async with L1Client(l1_url) as client:
            contract = L1Contract(await client.chain_id(), contract_address(registry))
            peers = [L1Client(url, attempts_max=1) for url in nodes]
            payer = CheckpointPayer(client, peers, key)
            try:
                return await _commit(client, contract, payer, options["wait_s"])
            finally:
                for peer in peers:
                    await peer.close()

    found = asyncio.run(work())
    if as_json:
        print_json(found)
    else:
        out.print(f"committed: {found['committed']}, in L1 block {found['l1Block']}", markup=False)


async def _commit(client: L1Client, contract: L1Contract, payer: CheckpointPayer, wait_s: float) -> dict[str, Any]:
    loop = asyncio.get_running_loop()
    until, sent = loop.time() + wait_s, None
    while loop.time() < until:
        state = await read_registry(client, contract)
        if sent is None:
            sent = await payer.pay(state, (), (), {})
        if sent is not None and await payer.follow():
            block = (await read_registry(client, contract)).block_number
            return {"committed": sent, "l1Block": int(block), "payer": "0x" + payer.address.hex()}
        await asyncio.sleep(_POLL_S)
    said = "nothing was signed" if not payer.signed else ", ".join(f"{k}: {v} %" for k, v in payer.signed.items())
    problem = "" if payer.problem is None else f" {payer.problem.message}"
    raise Unavailable(
        f"Nothing could be committed within {wait_s:g} s ({said}; {payer.missing_peers} nodes do not answer).{problem}",
        code="l1_quorum_missing",
    )


def _answer(state: RegistryState) -> dict[str, Any]:
    return {
        "networkId": int(state.network_id),
        "epoch": state.epoch,
        "setHash": "0x" + state.set_hash.hex(),
        "setHeight": int(state.set_height),
        "trustedUntil": int(state.trusted_until),
        "time": int(state.block_time),
        "haltedByHeight": state.conflict_height,
        "l1Block": int(state.block_number),
    }


commands = {"l1": l1}
