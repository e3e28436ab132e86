"""A running local network: every node process, every link between two of them, and the commands that change them.

`Supervisor.running` starts all nodes and stops them at the end of its block, whatever ended it. Commands are
coroutines that either take place or raise; they run one at a time, except those that wait for time to pass, which are
tasks of their own and bounded by the number of commands that may wait.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from plait.errors import RequestRefused, Unavailable
from plait.limits import TESTNET_FAULT_S_MAX, TESTNET_FAULTS_TIMED_MAX
from plait.node.node_file import NODE_FILE, NodeSettings, encode_settings, read_settings
from plait.testnet.chaos import Faults
from plait.testnet.layout import Layout, NodeEntry, Ports
from plait.testnet.links import HOST, Link, LinkState
from plait.testnet.member import Member

PLAIT = (sys.executable, "-m", "plait.cli.main")


def node_command(home: Path, log_level: str) -> tuple[str, ...]:
    """How a node of a local network is run."""
    return (*PLAIT, "node", "--home", str(home), "--json", "--until-stdin-closes", "--log-level", log_level)


class Supervisor:
    """All nodes of a local network. Made by `Supervisor.running`.

    Args:
        data_dir: of the network.
        layout: its nodes.
        settings: of every node, before names, ports and peers are filled in.
        log_level: of the nodes.
        trace: nodes note every request of CometBFT.
        command: how a node is run, given its home; tests give another program.
        environment: variables of a node's process besides ours, by the node's name; for tests.
    """

    def __init__(
        self,
        data_dir: Path,
        layout: Layout,
        *,
        settings: NodeSettings | None = None,
        log_level: str = "info",
        trace: bool = False,
        command: Callable[[Path], Sequence[str]] | None = None,
        environment: Mapping[str, Mapping[str, str]] | None = None,
    ) -> None:
        self.data_dir = data_dir
        self.layout = layout
        self.members: dict[str, Member] = {}
        self.links: dict[tuple[str, str], Link] = {}
        self.faults = Faults()
        self.changed = asyncio.Event()
        """Set whenever the state of a node changes."""
        self.settings = settings or NodeSettings(pex=False)
        self._trace = trace
        self._command = command or (lambda home: node_command(home, log_level))
        self._environment = environment or {}
        self._ports: dict[str, Ports] = {}
        self._lock = asyncio.Lock()
        self._timed: set[asyncio.Task[None]] = set()

    @classmethod
    @contextlib.asynccontextmanager
    async def running(cls, data_dir: Path, layout: Layout, **options: Any) -> AsyncIterator[Supervisor]:
        """Starts all nodes; stops them and closes the links at the end of the block.

        Raises:
            Unavailable: `node_did_not_start` and what else `Member.start` raises; the others are stopped then.
        """
        network = cls(data_dir, layout, **options)
        try:
            for entry in layout.nodes:
                await network._join(entry)
            results = await asyncio.gather(*(network._start(name) for name in network.members), return_exceptions=True)
            for result in results:
                if isinstance(result, BaseException):
                    raise result
            yield network
        finally:
            await asyncio.shield(network._end())

    # ------------------------------------------------------------ commands
    async def start(self, node: str) -> None:
        """Starts a node that does not run, with the settings that its home holds."""
        async with self._lock:
            await self._start(self._name(node))

    async def stop(self, node: str) -> None:
        """Stops a node after its current height."""
        async with self._lock:
            await self.members[self._name(node)].stop()

    async def restart(self, node: str) -> None:
        """Stops a node and starts it again."""
        async with self._lock:
            member = self.members[self._name(node)]
            await member.stop()
            await self._start(member.name)

    async def kill(self, node: str, seconds: float | None = None) -> None:
        """SIGKILL to a node and its CometBFT. With `seconds`, starts it again after so long."""
        member = self.members[self._name(node)]
        self._check_time(seconds)
        member.kill()
        await member.ended()
        self._later(seconds, lambda: self.start(node))

    async def pause(self, node: str, seconds: float | None = None) -> None:
        """SIGSTOP to both processes of a node. With `seconds`, lets them go on after so long."""
        self._check_time(seconds)
        self.members[self._name(node)].pause()
        self._later(seconds, lambda: self.resume(node))

    async def resume(self, node: str) -> None:
        """Lets a paused node go on."""
        self.members[self._name(node)].resume()

    async def disconnect(self, node: str, seconds: float | None = None, silent: bool = False) -> None:
        """Breaks all links of a node. `silent`: connections stay and nothing passes."""
        self._check_time(seconds)
        self.faults.disconnect(self._name(node), "silent" if silent else "cut")
        self._apply()
        self._later(seconds, lambda: self.connect(node))

    async def connect(self, node: str) -> None:
        """Mends the links that `disconnect` broke."""
        self.faults.disconnect(self._name(node), "open")
        self._apply()

    async def partition(
        self, groups: Sequence[Sequence[str]], seconds: float | None = None, silent: bool = False
    ) -> None:
        """Breaks all links between groups of nodes; those in no group are one more."""
        self._check_time(seconds)
        self.faults.partition(groups, self.members, "silent" if silent else "cut")
        self._apply()
        self._later(seconds, self.heal)

    async def heal(self) -> None:
        """Mends all links and lets paused nodes go on."""
        self.faults.heal()
        self._apply()
        for member in self.members.values():
            member.resume()

    async def add(self, entry: NodeEntry) -> None:
        """Takes in a node whose home is there, and starts it."""
        async with self._lock:
            layout = self.layout.adding(entry)
            layout.write(self.data_dir)
            self.layout = layout
            await self._join(entry)
            await self._start(entry.name)

    async def remove(self, node: str) -> None:
        """Stops a node and removes its home for good."""
        async with self._lock:
            name = self._name(node)
            if len(self.members) == 1:
                raise RequestRefused("The last node of a network is not removed.", code="node_count")
            await self.members.pop(name).stop()
            for pair in [pair for pair in self.links if name in pair]:
                await self.links.pop(pair).close()
            self.faults.forget(name)
            self.layout = self.layout.without(name)
            self.layout.write(self.data_dir)
            shutil.rmtree(self.data_dir / name, ignore_errors=True)

    def ports(self, name: str) -> Ports:
        """Of a node, by its name."""
        return self._ports[name]

    def comet_url(self, name: str) -> str:
        """Of the RPC of a node's CometBFT."""
        return f"http://{HOST}:{self._ports[name].comet_rpc}"

    def any_name(self, *, but: str = "") -> str:
        """A node that runs. Raises Unavailable (`node_not_running`)."""
        for name, member in self.members.items():
            if member.state == "running" and name != but:
                return name
        raise Unavailable("No node runs that could be asked.", code="node_not_running")

    def any_url(self, *, but: str = "") -> str:
        """RPC of a node that runs. Raises Unavailable (`node_not_running`)."""
        return str(self.members[self.any_name(but=but)].description["url"])

    def broken_links(self) -> list[tuple[str, str, LinkState]]:
        """Pairs of nodes that do not reach each other."""
        return [
            (*pair, link.state)
            for pair, link in sorted(self.links.items())
            if link.state != "open" and pair[0] < pair[1]
        ]

    # ------------------------------------------------------------ inside
    async def _join(self, entry: NodeEntry) -> None:
        """Ports, process and links of a node. Nodes that run already are dialled by the new one only."""
        name = entry.name
        self._ports[name] = Ports.of(self.layout.ports, entry.place)
        for other in self.members:
            for source, target in ((name, other), (other, name)):
                link = Link(source, target, self._ports[target].p2p)
                await link.open()
                link.set(self.faults.state_of(source, target))
                self.links[source, target] = link
        home = self.data_dir / name
        self.members[name] = Member(
            name, home, self._command(home), changed=self.changed.set, environment=self._environment.get(name)
        )

    async def _start(self, name: str) -> None:
        home = self.data_dir / name
        ids = {entry.name: entry.node_id for entry in self.layout.nodes}
        ports = self._ports[name]
        own = read_settings(home) if (home / NODE_FILE).exists() else self.settings
        settings = msgspec.structs.replace(
            own,
            name=name,
            port=ports.rpc,
            rollup_port_base=ports.rollups,
            p2p_port=ports.p2p,
            comet_rpc_port=ports.comet_rpc,
            peers=tuple(
                f"{ids[target]}@{HOST}:{link.port}"
                for (source, target), link in sorted(self.links.items())
                if source == name
            ),
            pex=False,
            trace=self._trace,
        )
        (home / NODE_FILE).write_text(encode_settings(settings))
        await self.members[name].start()

    def _apply(self) -> None:
        for (source, target), link in self.links.items():
            link.set(self.faults.state_of(source, target))
        self.changed.set()

    def _name(self, name: str) -> str:
        return self.layout.node(name).name

    def _check_time(self, seconds: float | None) -> None:
        if seconds is None:
            return
        if not 0 < seconds <= TESTNET_FAULT_S_MAX:
            raise RequestRefused(f"A fault lasts more than 0 and at most {TESTNET_FAULT_S_MAX} s.", code="fault_time")
        if len(self._timed) >= TESTNET_FAULTS_TIMED_MAX:
            raise Unavailable("Too many faults wait for their end; heal first.", code="fault_count")

    def _later(self, seconds: float | None, work: Callable[[], Awaitable[None]]) -> None:
        if seconds is None:
            return

        async def wait() -> None:
            await asyncio.sleep(seconds)
            with contextlib.suppress(Unavailable, RequestRefused):  # meanwhile somebody else did it, or removed it
                await work()

        task = asyncio.create_task(wait())
        self._timed.add(task)
        task.add_done_callback(self._timed.discard)

    async def _end(self) -> None:
        for task in tuple(self._timed):
            task.cancel()
        self.faults.heal()
        self._apply()  # nodes that stop finish their height with the others
        await asyncio.gather(*(member.stop() for member in self.members.values()))
        await asyncio.gather(*(link.close() for link in self.links.values()))
