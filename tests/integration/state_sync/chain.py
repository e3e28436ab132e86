"""A node's home without a running node: opened as at a start, and a chain decided in it as fast as the machine can.

What a solo engine does per height is done here without its clock: prepare, finalize, append, commit. `HastyFiles` does
not wait for the disk.
"""

from collections.abc import Iterable
from pathlib import Path
from random import Random

from plait.engines.decision import record_of
from plait.native import Transaction, decode_transactions
from plait.node.config import NetworkConfig, NodeConfig, RollupConfig, fingerprint
from plait.node.joined import source_of
from plait.node.network_snapshot import freeze
from plait.node.node import Stored, open_storage
from plait.node.restore import Restored, genesis_of, restore
from plait.node.state_sync import ApplyAnswer, ApplyResult, Home, OfferResult, SnapshotService
from plait.ordering.queues import Ready
from plait.protocol.requests import FinalizeRequest, PrepareRequest
from plait.rollups.embedded.accounts import DEVELOPMENT_ACCOUNTS
from plait.storage import DecidedLog, Files
from plait.types import Height, Milliseconds, RollupId
from sim.wallet import Wallet

GENESIS_TIME_S = 1_790_000_000
LOGGING_CODE = bytes.fromhex("5f5fa0602a60005360016000f3")
"""Init code: emits an empty log and leaves a contract of one byte."""
WALLETS = tuple(Wallet(account.private_key) for account in DEVELOPMENT_ACCOUNTS)


class HastyFiles(Files):
    """A disk that nobody waits for."""

    def sync_data(self, fd: int) -> None:
        """Returns at once."""

    def sync_directory(self, path: Path) -> None:
        """Returns at once."""


def two_rollups(genesis_time_s: int = GENESIS_TIME_S) -> NetworkConfig:
    """A network of two rollups that exchange messages."""
    return NetworkConfig(
        genesis_time_s=genesis_time_s, rollups=(RollupConfig(chain_id=901), RollupConfig(chain_id=902))
    )


class OpenHome:
    """A data directory, opened as a node opens it."""

    def __init__(self, path: Path, network: NetworkConfig | None = None, *, files: Files | None = None) -> None:
        self.files = files if files is not None else HastyFiles()
        self.config = NodeConfig(data_dir=path)
        self.stored: Stored = open_storage(network, self.config, files=self.files)
        assert self.stored.directory is not None
        try:
            self.restored: Restored = restore(
                self.stored.network,
                self.stored.genesis,
                source_of(self.stored.network),
                self.stored.log,
                snapshots=self.stored.snapshots,
                network_snapshots=self.stored.network_snapshots,
                store_path=self.stored.directory.store,
            )
        except BaseException:
            self.stored.log.close()
            self.stored.directory.close()
            raise
        self.application = self.restored.application
        self.service = SnapshotService(self.application, self._home())
        self._nonces: dict[tuple[int, int], int] = {}

    def _home(self) -> Home:
        stored = self.stored
        source = source_of(stored.network)
        assert stored.directory is not None
        assert stored.snapshots is not None
        assert stored.network_snapshots is not None
        assert isinstance(stored.log, DecidedLog)
        return Home(
            directory=stored.directory,
            network=fingerprint(stored.network, stored.genesis),
            log=stored.log,
            snapshots=stored.snapshots,
            network_snapshots=stored.network_snapshots,
            store=self.restored.store,
            genesis_of=lambda ledger: genesis_of(ledger, stored.genesis, source),
            source=source,
            files=self.files,
        )

    @property
    def height(self) -> int:
        """Of the committed state."""
        return self.application.info().height

    def decide(self, heights: int, *, transactions: int = 0, seed: int = 1, slot_every: int = 4) -> None:
        """Decides further heights: `transactions` per height, spread over rollups and accounts; every `slot_every`th
        height enters the next slot."""
        random = Random(seed)
        for _ in range(heights):
            info = self.application.info()
            height = Height(info.height + 1)
            within = 250 * (height % slot_every) % 1_000
            slot = info.slot + (1 if height % slot_every == 0 or info.height == 0 else 0)
            time_ms = Milliseconds(max(info.time_ms, (self.stored.network.genesis_time_s + slot) * 1_000 + within))
            self._decide(height, time_ms, self._transactions(random, transactions))

    def _decide(self, height: Height, time_ms: Milliseconds, raws: dict[int, list[bytes]]) -> None:
        candidates = {}
        for rollup_id, wanted in raws.items():
            decoded = decode_transactions(wanted, rollup_id)
            assert all(isinstance(one, Transaction) for one in decoded), decoded
            by_sender: dict[bytes, list[Ready]] = {}
            for one in decoded:
                assert isinstance(one, Transaction)
                by_sender.setdefault(one.sender, []).append(Ready(one, time_ms))
            candidates[RollupId(rollup_id)] = [tuple(queue) for queue in by_sender.values()]
        prepared = self.application.prepare(PrepareRequest(height=height, time_ms=time_ms, candidates=candidates))
        assert prepared.transactions == sum(map(len, raws.values())), prepared
        finalized = self.application.finalize(
            FinalizeRequest(height=height, time_ms=time_ms, proposal=prepared.proposal)
        )
        self.stored.log.append(record_of(finalized.effect))
        self.application.commit()

    def _transactions(self, random: Random, count: int) -> dict[int, list[bytes]]:
        raws: dict[int, list[bytes]] = {}
        for _ in range(count):
            rollup_id = random.choice((901, 902))
            raws.setdefault(rollup_id, []).append(self._raw(random, rollup_id))
        return raws

    def _raw(self, random: Random, rollup_id: int) -> bytes:
        """A transfer to an account of its own, now and then a deployment that logs."""
        user = random.randrange(len(WALLETS))
        nonce = self._nonces.get((rollup_id, user))
        if nonce is None:
            (found,) = self.application.rollups[RollupId(rollup_id)].accounts([WALLETS[user].address], -1)
            nonce = found[0]
        self._nonces[rollup_id, user] = nonce + 1
        if random.randrange(10) == 0:
            return WALLETS[user].sign_1559(rollup_id, nonce, data=LOGGING_CODE, gas_limit=120_000)
        to = random.randbytes(20)
        return WALLETS[user].sign_1559(rollup_id, nonce, to=to, value=1 + random.randrange(10**9))

    def take(self) -> None:
        """A network snapshot of the committed height."""
        self.service.take(freeze(self.application))

    def close(self) -> None:
        """As a process ends."""
        self.restored.store.close()
        self.stored.log.close()
        assert self.stored.directory is not None
        self.stored.directory.close()

    def __enter__(self) -> "OpenHome":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def join(
    giver: SnapshotService, taker: SnapshotService, app_hash: bytes, *, order: Iterable[int] | None = None
) -> ApplyAnswer:
    """The newest snapshot of one node offered to another and carried over, chunk by chunk; the last answer."""
    offered = giver.list()[0]
    result = taker.offer(offered, app_hash)
    assert result is OfferResult.ACCEPT, taker.refusals
    answer = ApplyAnswer(result=ApplyResult.ACCEPT)
    for index in range(offered.chunks) if order is None else order:
        answer = taker.apply_chunk(index, giver.load_chunk(offered.height, offered.format, index), "peer")
        if answer.result is not ApplyResult.ACCEPT:
            break
    return answer
