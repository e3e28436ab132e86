"""An unmodified op-node that sequences a rollup of a local OP Stack, as the chains do that exist."""

from __future__ import annotations

from plait.client import Client
from plait.testnet.layout import free_ports
from plait.testnet.opstack.processes import Process
from plait.testnet.opstack.supervisor import HOST, OpStack


def stock_sequencer(network: OpStack, at: int = 0) -> tuple[Process, str]:
    """op-node upon a rollup's engine, and its address. Not started."""
    entry, ports = network.layout.rollups[at], network.ports.programs[at]
    port = free_ports(1)[0]
    url = f"http://{HOST}:{port}"
    command = (
        str(network.programs.op_node), "--l1", network.l1_url, "--l1.rpckind", "standard",
        "--l1.http-poll-interval", "500ms", "--l1.epoch-poll-interval", "2s", "--l1.beacon.ignore=true",
        "--l2", f"http://{HOST}:{ports.engine_auth}", "--l2.jwt-secret", str(network.directory / "jwt.hex"),
        "--rollup.config", str(network.directory / str(entry.chain_id) / "rollup.json"),
        "--rollup.l1-chain-config", str(network.directory / "l1chain.json"), "--sequencer.enabled",
        "--sequencer.l1-confs", "0", "--verifier.l1-confs", "0", "--p2p.disable", "--rpc.addr", HOST,
        "--rpc.port", str(port), "--rpc.enable-admin",
    )  # fmt: skip

    async def ready() -> bool:
        async with Client(url) as client:
            await client.call("optimism_version")
        return True

    return Process(f"op-node-sequencer-{at}", command, network.directory, ready=ready), url
