"""The service that reads ahead: what it was given time for, a proposal finds; L1 blocks whose deposits it could not
read are not agreed, and then do not stop anything; remote rollups and engines of validators do not go together."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from plait.errors import ConfigurationError
from plait.execution.bundles import DecodedBundle
from plait.execution.messages import InteropSets
from plait.execution.relaying import Relayer
from plait.ledger.state import LedgerState
from plait.mempool import BundlePool, Pool
from plait.mempool.l1_items import L1Items
from plait.native import NativeError, Rollup, Session, Store
from plait.node.l1_view import l1_view
from plait.node.read_ahead import ReadAhead, require_one_operator
from plait.protocol.application import Application
from plait.protocol.requests import Accepted, FinalizeRequest, PrepareRequest, ProcessRequest
from plait.types import Address, Bundle, Height, Leg, Milliseconds, RollupId, Slot
from sim.bundling import decoded
from sim.l1 import Wish
from sim.l1_world import L1World
from sim.remote import KEEPER, LOCAL, REMOTE, STRANGERS, FailingNode, network_with_state, remote_rollup
from sim.wallet import Wallet
from sim.world import Network

USERS = [Wallet.of_index(index, "read ahead") for index in range(4)]


class Host:
    """A node's pools over one application."""

    def __init__(self, network: Network, application: Application) -> None:
        self.application = application
        self.pool, self.bundles = Pool(), BundlePool()
        self.l1_items = L1Items(network.ledger.parameters.network_id, l1_view(lambda: self.ledger))
        self.interop_sets: InteropSets = {}
        self.relayer: Relayer | None = None
        self.time_ms = Milliseconds(network.ledger.time_ms)
        self.follow()

    def follow(self) -> None:
        for record in self.application.ledger.rollups:
            rollup = self.application.rollups[record.rollup_id]
            self.pool.add_rollup(rollup, record.parameters)
            self.bundles.add_rollup(rollup, record.parameters)

    @property
    def ledger(self) -> LedgerState:
        return self.application.ledger

    def height(self, milliseconds: int, judge: Application | None = None, items: tuple[bytes, ...] = ()) -> int:
        """Decides a height with what the pools offer; how many transactions it has."""
        self.time_ms = Milliseconds(self.time_ms + milliseconds)
        height = Height(self.application.info().height + 1)
        prepared = self.application.prepare(
            PrepareRequest(
                height=height,
                time_ms=self.time_ms,
                candidates=self.pool.candidates(),
                bundles=self.bundles.candidates(Slot(self.application.info().slot)),
                l1_items=items,
            )
        )
        for one in (self.application, *(() if judge is None else (judge,))):
            asked = ProcessRequest(height=height, time_ms=self.time_ms, proposal=prepared.proposal)
            assert isinstance(one.process(asked), Accepted)
            effect = one.finalize(FinalizeRequest(height=height, time_ms=self.time_ms, proposal=prepared.proposal))
            one.commit()
        self.pool.on_decided(effect.effect)
        self.bundles.on_decided(effect.effect)
        return prepared.transactions


@contextlib.asynccontextmanager
async def ahead_of(host: Host) -> AsyncIterator[ReadAhead]:
    """The service while it runs; it reads in threads, and leaves the event loop free."""
    service = ReadAhead(host, lambda: host.application.rollups, lambda: host.time_ms)
    service.begin()
    task = asyncio.create_task(service.run())
    try:
        yield service
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def begun() -> tuple[Network, Host, FailingNode]:
    network = network_with_state([user.address for user in USERS])
    remote, node = remote_rollup(network)
    local = Rollup.from_genesis(network.genesis[LOCAL], Store.in_memory())
    host = Host(network, Application(network.ledger, {REMOTE: remote, LOCAL: local}, network.source))
    return network, host, node


def keep(user: int, nonce: int, slot: int) -> bytes:
    return USERS[user].sign_1559(
        REMOTE, nonce, to=KEEPER, data=slot.to_bytes(32, "big") + bytes(32), gas_limit=100_000, max_fee_per_gas=10**10
    )


def bundle(slot: int) -> DecodedBundle:
    paid = USERS[3].sign_1559(LOCAL, 0, to=STRANGERS[0], value=1, max_fee_per_gas=10**10)
    legs = (
        Leg(rollup_id=REMOTE, transactions=(keep(3, 0, slot),)),
        Leg(rollup_id=LOCAL, transactions=(paid,)),
    )
    return decoded(Bundle(legs=legs, not_before_slot=Slot(0), deadline_slot=Slot(60)))


async def until(condition: object, host: Host, seconds: float = 10.0) -> None:
    """Lets the service work, and the network's time pass, until a condition holds."""
    assert callable(condition)
    for _ in range(int(seconds / 0.02)):
        if condition():
            return
        host.time_ms = Milliseconds(host.time_ms + 20)
        await asyncio.sleep(0.02)
    pytest.fail("it did not come about")


def test_what_was_read_ahead_is_executed_and_sealed_without_the_node() -> None:
    async def main() -> None:
        network, host, node = begun()
        host.height(1_000)
        async with ahead_of(host) as service:
            host.pool.submit(REMOTE, [keep(0, 0, 3), keep(0, 1, 4), keep(1, 0, 50)], host.time_ms)
            host.bundles.admit(bundle(70), host.time_ms, Slot(1))
            await until(lambda: host.pool.candidates().get(REMOTE) and host.bundles.candidates(Slot(1)), host)
            await until(lambda: service._known_to.get(REMOTE), host)
            asked, node.then = node.asked, "refuse"
            assert host.height(10) == 5
            for _ in range(3):
                host.height(1_000)
            assert node.asked == asked, "execution, sealing and opening asked nobody"
            assert service.statistics()["transactions"] == 3
            assert service.statistics()["bundles"] == 1
        assert host.application.rollups[REMOTE].transaction_location(bundle(70).legs[0][0].hash) is not None
        del network

    asyncio.run(main())


def test_what_cannot_be_read_waits_and_is_offered_when_the_node_is_back() -> None:
    async def main() -> None:
        _, host, node = begun()
        host.height(1_000)
        async with ahead_of(host):
            host.pool.submit(REMOTE, [keep(0, 0, 3)], host.time_ms)
            await until(lambda: host.pool.candidates().get(REMOTE), host)
            node.then = "refuse"
            (waiting, _) = host.pool.submit(REMOTE, [keep(0, 1, 90), keep(0, 2, 91)], host.time_ms)
            await until(lambda: host.pool.missing(REMOTE, keep_hash(waiting)) is not None, host)
            assert [len(queue) for queue in host.pool.candidates()[REMOTE]] == [1], "the one before them is offered"
            assert host.height(10) == 1
            node.then = "ok"
            await until(lambda: host.pool.candidates().get(REMOTE), host, 30)
            assert host.height(10) == 2

    asyncio.run(main())


def keep_hash(found: object) -> bytes:
    return found.hash  # type: ignore[attr-defined, no-any-return]


def is_hidden(session: Session, address: Address) -> bool:
    try:
        session.accounts([address])
    except NativeError:
        return True
    return False


def test_l1_blocks_are_not_agreed_before_their_deposits_were_read_and_other_blocks_go_on() -> None:
    async def main() -> None:
        world = L1World(rollups=1, embedded=1)
        whole = Rollup.from_genesis(world.network.genesis[RollupId(901)], Store.in_memory())
        node = FailingNode(whole)
        header = whole.raw_header(0)
        assert header is not None
        rollups = {
            RollupId(901): Rollup.remote(
                world.network.genesis[RollupId(901)],
                Store.in_memory(),
                header,
                node,
                genesis_hash=whole.genesis_hash,
                undo_blocks=64,
            ),
            RollupId(902): Rollup.from_genesis(world.network.genesis[RollupId(902)], Store.in_memory()),
        }
        host = Host(world.network, Application(world.network.ledger, rollups, world.network.source))
        judge = world.nodes[0]
        items = host.l1_items
        host.height(1_000, judge)
        host.height(1_000, judge)
        async with ahead_of(host) as service:
            await until(lambda: service._known_to.get(RollupId(901)), host)
            node.then = "refuse"
            session = host.application.rollups[RollupId(901)].session()
            rich = next(wallet.address for wallet in world.wallets if is_hidden(session, wallet.address))
            world.l1.grow([Wish(rollup_id=RollupId(901), to=rich, amount=5)])
            world.report(facts=False)
            assert items.offer_report(world.items[-1])
            items.offer_facts(world.l1.head)
            assert service.holds(world.l1.head.number)
            assert items.candidates() == []
            head = host.application.rollups[RollupId(901)].head.number
            for _ in range(4):
                host.height(1_000, judge, tuple(items.candidates()))
                await asyncio.sleep(0.05)
            assert host.application.rollups[RollupId(901)].head.number == head + 4, "blocks go on, without the deposit"
            assert service.holds(world.l1.head.number)
            (reason,) = service.reasons()
            assert reason.startswith(f"L1 block {world.l1.head.number} is not agreed: its deposits to rollup 901 need")
            assert "remote_unavailable" in reason
            node.then = "ok"
            await until(lambda: not service.holds(world.l1.head.number), host, 30)
            assert service.reasons() == ()
            await until(items.candidates, host)
            node.then = "refuse"
            for _ in range(6):
                host.height(1_000, judge, tuple(items.candidates()))
                items.on_decided()
            before = whole.accounts([rich], 0)[0][1]
            assert host.application.rollups[RollupId(901)].session().accounts([rich])[0][1] == before + 5

    asyncio.run(main())


def test_a_network_of_validators_cannot_order_a_rollup_whose_state_is_elsewhere() -> None:
    _, host, _ = begun()
    rollups = dict(host.application.rollups)
    require_one_operator(rollups, "solo")
    with pytest.raises(ConfigurationError) as refused:
        require_one_operator(rollups, "cometbft")
    assert refused.value.code == "remote_needs_one_operator"
    assert str(REMOTE) in str(refused.value)
    del rollups[REMOTE]
    require_one_operator(rollups, "cometbft")
