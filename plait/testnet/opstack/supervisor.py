"""A running local network of OP Stack rollups: every program, started and stopped in the order that they need.

Order of the start: anvil and its beacon face; the network is founded when there is none; both op-geth of every rollup;
Plait's node, which sequences and posts; op-node of every rollup, which derives from L1 and nothing else. The end goes
the other way round, anvil last, so that nobody misses whom it asks. Programs that died are named by `status` and not
restarted behind anybody's back.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from plait.client import Client, NodeUnreachable, RpcError
from plait.errors import ConfigurationError, Unavailable
from plait.l1.client import L1Client
from plait.limits import OPSTACK_ASK_TIMEOUT_S
from plait.testnet.member import Member
from plait.testnet.opstack.beacon import BeaconFace
from plait.testnet.opstack.founding import Founding, found
from plait.testnet.opstack.heads import Endpoints, head_number, heads_of
from plait.testnet.opstack.layout import Layout, Ports, RollupEntry, RollupPorts, read_layout
from plait.testnet.opstack.processes import Process, end_left_over
from plait.testnet.opstack.programs import Programs

HOST: Final = "127.0.0.1"
NODE: Final = "plait"
L1: Final = "l1"


class OpStack:
    """All programs of a network. Made by `OpStack.running`.

    Args:
        directory: of the network.
        programs: the executables.
        founding: what a new network is to be; one that exists keeps its own.
        log_level: of Plait's node.
    """

    def __init__(self, directory: Path, programs: Programs, founding: Founding, *, log_level: str = "info") -> None:
        self.directory = directory.resolve()
        self.programs = programs
        self.is_new = False
        layout = read_layout(directory)
        self._founding = founding
        self._layout = layout
        self._log_level = log_level
        count = len(layout.rollups) if layout is not None else founding.rollups
        self.ports = Ports.of(founding.ports, count)
        self.l1_url = f"http://{HOST}:{self.ports.l1}"
        self.beacon_url = f"http://{HOST}:{self.ports.beacon}"
        self.l1 = self._anvil()
        self.beacon = BeaconFace(self.l1_url, self.directory / "l1" / "blobs", port=self.ports.beacon)
        self.processes: dict[str, Process] = {L1: self.l1}
        self.node: Member | None = None

    @property
    def layout(self) -> Layout:
        """Of the network, once it is founded."""
        assert self._layout is not None, "founded before anybody asks"
        return self._layout

    @classmethod
    @contextlib.asynccontextmanager
    async def running(
        cls,
        directory: Path,
        programs: Programs,
        founding: Founding,
        *,
        sequencer: bool = True,
        log_level: str = "info",
        say: Callable[[str], object] = str,
    ) -> AsyncIterator[OpStack]:
        """Starts everything; stops it at the end of the block.

        Args:
            sequencer: whether Plait's node is started too.
            say: told what is being done.

        Raises:
            Unavailable: `program_did_not_start` and the like; what was started is stopped then.
        """
        network = cls(directory, programs, founding, log_level=log_level)
        for name in end_left_over(network.directory):
            say(f"Ended {name}, left behind by a start that was interrupted.")
        try:
            await network._start(sequencer=sequencer, say=say)
            yield network
        finally:
            await asyncio.shield(network._end(say))

    # ------------------------------------------------------------ commands
    async def start(self, name: str) -> None:
        """Starts a program that does not run."""
        if name == NODE:
            await self._start_node()
        else:
            await self._process(name).start()

    async def stop(self, name: str) -> None:
        """Asks a program to end."""
        if name == NODE:
            if self.node is not None:
                await self.node.stop()
        else:
            await self._process(name).stop()

    async def kill(self, name: str) -> None:
        """SIGKILL to a program."""
        victim = self.node if name == NODE else self._process(name)
        if victim is not None:
            victim.kill()
            await victim.ended()

    async def status(self) -> dict[str, Any]:
        """Every rollup's heads on both sides, the L1's head, every program's state."""
        rollups, l1_head, posted, reasons = await asyncio.gather(
            asyncio.gather(*(heads_of(self.endpoints(at)) for at in range(len(self.layout.rollups)))),
            head_number(self.l1_url),
            self._posted(),
            self._reasons(),
        )
        return {
            "l1": {"number": l1_head, "url": self.l1_url},
            "rollups": [msgspec.to_builtins(one) | {"agree": one.agree} for one in rollups],
            "posted": posted,
            "reasons": reasons,
            "programs": {
                name: {"state": one.state, "pid": one.pid} | ({"log": str(one.log)} if one.state == "died" else {})
                for name, one in self.processes.items()
            }
            | ({} if self.node is None else {NODE: {"state": self.node.state, "pid": self.node.pid}}),
        }

    # ------------------------------------------------------------ addresses
    def endpoints(self, at: int) -> Endpoints:
        """Where the rollup at a place is asked."""
        ports, chain_id = self.ports.programs[at], self.layout.rollups[at].chain_id
        return Endpoints(
            chain_id=chain_id,
            plait=f"{self.node_url}/{chain_id}",
            engine=f"http://{HOST}:{ports.engine_http}",
            verifier=f"http://{HOST}:{ports.verifier_http}",
            op_node=f"http://{HOST}:{ports.op_node}",
        )

    @property
    def node_url(self) -> str:
        """Of Plait's node."""
        return f"http://{HOST}:{self.ports.rpc}"

    def describe(self) -> dict[str, Any]:
        """What a program needs to know about the started network."""
        return {
            "event": "ready",
            "directory": str(self.directory),
            "isNew": self.is_new,
            "cast": self.programs.cast,
            "plait": self.node_url,
            "l1": {"url": self.l1_url, "beaconUrl": self.beacon_url, "chainId": self.layout.l1_chain_id},
            "rollups": [
                {
                    "chainId": entry.chain_id,
                    "portal": entry.portal,
                    "systemConfig": entry.system_config,
                    **{
                        f"{name}Url": getattr(self.endpoints(at), name)
                        for name in ("plait", "engine", "verifier", "op_node")
                    },
                    "engineApiUrl": f"http://{HOST}:{self.ports.programs[at].engine_auth}",
                }
                for at, entry in enumerate(self.layout.rollups)
            ],
        }

    # ------------------------------------------------------------ inside
    async def _start(self, *, sequencer: bool, say: Callable[[str], object]) -> None:
        (self.directory / "l1" / "blobs").mkdir(parents=True, exist_ok=True)
        say("Starting the L1 (anvil).")
        await self.l1.start()
        await self.beacon.start()
        if self._layout is None:
            say("Deploying the rollups' contracts and writing their genesis.")
            async with L1Client(self.l1_url) as client:
                self._layout = await found(self.directory, self._founding, client)
            self.is_new = True
        engines, nodes = [], []
        for entry, ports in zip(self.layout.rollups, self.ports.programs, strict=True):
            engines += [self._geth(entry, ports, "engine"), self._geth(entry, ports, "verifier")]
            nodes.append(self._op_node(entry, ports))
        self.processes |= {one.name: one for one in (*engines, *nodes)}
        say("Starting op-geth twice for every rollup.")
        await _all(*(self._init_geth(one) for one in engines))
        await _all(*(one.start() for one in engines))
        if sequencer:
            say("Starting Plait's node.")
            await self._start_node()
        say("Starting op-node for every rollup.")
        await _all(*(one.start() for one in nodes))

    async def _end(self, say: Callable[[str], object]) -> None:
        if self.l1.pid is not None:
            say("Stopping all programs.")
        if self.node is not None:
            await self.node.stop()
        later = [one for name, one in self.processes.items() if name != L1]
        await asyncio.gather(*(one.stop() for one in later if one.name.startswith("op-node")))
        await asyncio.gather(*(one.stop() for one in later))
        await self.beacon.stop()
        await self.l1.stop()

    async def _start_node(self) -> None:
        if self.node is None:
            self.node = Member(
                NODE, self.directory / "node",
                (*(sys.executable, "-m", "plait.cli.main", "opstack", "node", "--data-dir", str(self.directory)),
                 *("--ports", msgspec.json.encode(self.ports).decode(), "--log-level", self._log_level)),
            )  # fmt: skip
        await self.node.start()

    def _anvil(self) -> Process:
        layout = self._layout
        block_time = layout.l1_block_time_s if layout is not None else self._founding.l1_block_time_s
        epoch = layout.l1_epoch_blocks if layout is not None else self._founding.l1_epoch_blocks
        chain_id = layout.l1_chain_id if layout is not None else 900
        command = (
            str(self.programs.anvil), "--host", HOST, "--port", str(self.ports.l1), "--chain-id", str(chain_id),
            "--block-time", str(block_time), "--slots-in-an-epoch", str(epoch),
            "--state", str(self.directory / "l1" / "state.json"), "--preserve-historical-states", "--quiet",
        )  # fmt: skip
        return Process(
            L1, command, self.directory, ready=lambda: _answers(self.l1_url), stop_signal=signal.SIGINT
        )  # anvil writes its state when it is interrupted

    def _geth(self, entry: RollupEntry, ports: RollupPorts, role: str) -> Process:
        http, auth = (
            (ports.engine_http, ports.engine_auth) if role == "engine" else (ports.verifier_http, ports.verifier_auth)
        )
        command = (
            str(self.programs.op_geth), "--datadir", str(self.directory / str(entry.chain_id) / role),
            "--networkid", str(entry.chain_id), "--syncmode", "full", "--gcmode", "archive", "--cache", "64",
            "--http", "--http.addr", HOST, "--http.port", str(http), "--http.api", "eth,net,web3,debug,txpool,miner",
            "--authrpc.addr", HOST, "--authrpc.port", str(auth), "--authrpc.jwtsecret", str(self.directory / "jwt.hex"),
            "--port", "0", "--nodiscover", "--maxpeers", "0", "--ipcdisable", "--rollup.disabletxpoolgossip=true",
        )  # fmt: skip
        return Process(
            f"op-geth-{entry.chain_id}-{role}", command, self.directory,
            ready=lambda: _answers(f"http://{HOST}:{http}"),
        )  # fmt: skip

    async def _init_geth(self, geth: Process) -> None:
        """Writes the genesis block into a database that has none."""
        home = Path(geth.command[2])
        if (home / "geth").exists():
            return
        geth.log.parent.mkdir(parents=True, exist_ok=True)
        with geth.log.open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                str(self.programs.op_geth), "init", "--state.scheme=hash", "--datadir", str(home),
                str(home.parent / "genesis.json"), stdout=log, stderr=log,
            )  # fmt: skip
        if await process.wait() != 0:
            raise Unavailable(f"op-geth refuses its genesis: {geth.last_words()}", code="program_did_not_start")

    def _op_node(self, entry: RollupEntry, ports: RollupPorts) -> Process:
        command = [
            str(self.programs.op_node),
            "--l1", self.l1_url, "--l1.rpckind", "standard", "--l1.http-poll-interval", "500ms",
            "--l1.epoch-poll-interval", "2s", "--l1.beacon", self.beacon_url,
            "--l2", f"http://{HOST}:{ports.verifier_auth}", "--l2.jwt-secret", str(self.directory / "jwt.hex"),
            "--rollup.config", str(self.directory / str(entry.chain_id) / "rollup.json"),
            "--rollup.l1-chain-config", str(self.directory / "l1chain.json"),
            "--sequencer.enabled=false", "--verifier.l1-confs", "0", "--p2p.disable",
            "--rpc.addr", HOST, "--rpc.port", str(ports.op_node), "--rpc.enable-admin",
        ]  # fmt: skip
        if self.layout.posting == "blob":
            # anvil's root of a block's transactions takes in the blobs, which no other L1's does: op-node refuses it.
            command.append("--l1.trustrpc=true")
        return Process(
            f"op-node-{entry.chain_id}", command, self.directory,
            ready=lambda: _answers(f"http://{HOST}:{ports.op_node}", "optimism_version"),
        )  # fmt: skip

    def _process(self, name: str) -> Process:
        if name not in self.processes:
            names = ", ".join((*self.processes, NODE))
            raise ConfigurationError(f"There is no program {name!r}; there are {names}.", code="program_unknown")
        return self.processes[name]

    async def _reasons(self) -> list[str]:
        """What Plait's node says is not as it should be."""
        with contextlib.suppress(NodeUnreachable, RpcError):
            async with Client(self.node_url, timeout_s=OPSTACK_ASK_TIMEOUT_S) as client:
                return list((await client.call("plait_health"))["reasons"])
        return []

    async def _posted(self) -> int | None:
        """How many transactions the batcher has on L1."""
        from plait.testnet.opstack.founding import BATCHER

        with contextlib.suppress(NodeUnreachable, RpcError):
            async with Client(self.l1_url, timeout_s=OPSTACK_ASK_TIMEOUT_S) as client:
                return int(await client.call("eth_getTransactionCount", BATCHER.address_text, "latest"), 16)
        return None


async def _answers(url: str, method: str = "eth_chainId") -> bool:
    async with Client(url, timeout_s=OPSTACK_ASK_TIMEOUT_S) as client:
        await client.call(method)
    return True


async def _all(*work: Any) -> None:
    """Everything at once; the first failure is raised when all have ended."""
    for result in await asyncio.gather(*work, return_exceptions=True):
        if isinstance(result, BaseException):
            raise result


__all__ = ["HOST", "L1", "NODE", "OpStack"]
