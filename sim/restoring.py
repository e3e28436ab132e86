"""Starting a simulated node: from its newest usable snapshot or from genesis, then the rest of its log.

As `plait.node.restore`, over a store in memory that a restart finds again (the native store's own crashes are tested
with real processes). What is asked beyond: no snapshot is of a height that the log lacks, and one that counts as
usable has the log's app hash.
"""

from plait.ledger.encoding import decode_ledger
from plait.native import Rollup, Store
from plait.node.install import LEDGER_PART, rollup_part, write_own
from plait.node.network_snapshot import freeze
from plait.node.restore import replay, require_same
from plait.protocol.application import Application
from plait.protocol.requests import FinalizeRequest
from plait.storage import DecidedLog, Snapshots
from plait.types import Height
from sim.checkers import Violation
from sim.world import Network


def restored(
    network: Network, store: Store, log: DecidedLog, snapshots: Snapshots, *, recheck_own: bool, with_senders: bool
) -> Application:
    """The application at the log's height.

    Args:
        network: of the node.
        store: what the node's earlier lives left of blocks and receipts.
        log: as the disk left it.
        snapshots: as the disk left them.
        recheck_own: for the application.
        with_senders: whether the log's senders are taken, as a node does; else all are recovered again.

    Raises:
        Violation: a snapshot is not the log's.
        InvariantBroken: what replay raises.
    """
    application = _of_snapshot(network, store, log, snapshots, recheck_own)
    if application is None:
        application = network.application(recheck_own=recheck_own, store=store)
    if with_senders:
        replay(application, log)
        return application
    for record in log.iterate(Height(application.info().height + 1)):
        request = FinalizeRequest(
            height=record.height, time_ms=record.time_ms, proposal=record.proposal, agreed=record.agreed
        )
        require_same(record, application.finalize(request).app_hash)
        application.commit()
    return application


def save(application: Application, snapshots: Snapshots) -> None:
    """Writes a snapshot of the committed state."""
    write_own(freeze(application), snapshots)


def _of_snapshot(
    network: Network, store: Store, log: DecidedLog, snapshots: Snapshots, recheck_own: bool
) -> Application | None:
    beyond = [height for height in snapshots.heights() if height > log.height]
    if beyond:
        raise Violation(f"snapshots of {beyond} were written before the log had these heights")
    for snapshot in snapshots.good(log.height):
        record = log.read(snapshot.height)
        if record is None or record.app_hash != snapshot.app_hash:
            raise Violation(f"the snapshot of height {snapshot.height} is not of the log's state")
        ledger = decode_ledger(snapshot.part(LEDGER_PART).read_bytes())
        rollups = {
            rollup_id: Rollup.from_snapshot(data, store, str(snapshot.part(rollup_part(rollup_id))))
            for rollup_id, data in sorted(network.genesis.items())
        }
        return Application(
            ledger, rollups, network.source, app_hash=snapshot.app_hash, recheck_own=recheck_own, store=store
        )
    return None
