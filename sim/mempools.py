"""One node's real pools over one application: plain transactions, bundles, ledger actions, and messages to relay. A
restart forgets all of it."""

from collections.abc import Mapping, Sequence

from plait.errors import BundleRefused
from plait.execution.bundles import BundleCandidate, DecodedBundle
from plait.ledger.accounts_view import EconomyAccounts
from plait.mempool import BundlePool, Pool
from plait.mempool.actions import ActionPool
from plait.native import Transaction
from plait.node.message_book import MessageBook
from plait.ordering.queues import SenderQueue
from plait.protocol.application import Application
from plait.protocol.effects import SubBlockDecided
from plait.protocol.requests import PreparedProposal
from plait.types import Milliseconds, RollupId, Slot


class Mempools:
    """Pools as `plait.node` wires them."""

    def __init__(self, application: Application) -> None:
        self.transactions = Pool()
        self.bundles = BundlePool()
        self.messages = MessageBook()
        self.actions = ActionPool(
            application.ledger.parameters.network_id, lambda: EconomyAccounts(application.ledger.economy)
        )
        self._now_ms = Milliseconds(0)
        for record in application.ledger.rollups:
            native = application.rollups[record.rollup_id]
            self.transactions.add_rollup(native, record.parameters)
            self.bundles.add_rollup(native, record.parameters)

    def receive(self, rollup_id: RollupId, transactions: Sequence[Transaction], now_ms: Milliseconds) -> None:
        """A batch arrives; what is not admitted is forgotten."""
        self._now_ms = max(self._now_ms, now_ms)
        self.transactions.admit(rollup_id, transactions, self._now_ms)

    def receive_bundle(self, bundle: DecodedBundle, now_ms: Milliseconds, slot: Slot) -> None:
        """A bundle arrives; one that is not admitted is forgotten."""
        try:
            self.bundles.admit(bundle, now_ms, slot)
        except BundleRefused:
            return

    def receive_actions(self, raws: Sequence[bytes], now_ms: Milliseconds) -> None:
        """Signed actions arrive; what is not admitted is forgotten."""
        self._now_ms = max(self._now_ms, now_ms)
        self.actions.admit(raws, self._now_ms)

    def candidates(self) -> Mapping[RollupId, Sequence[SenderQueue]]:
        """What a proposer offers."""
        return self.transactions.candidates()

    def bundle_candidates(self, slot: Slot) -> Sequence[BundleCandidate]:
        """What a proposer tries."""
        return self.bundles.candidates(slot)

    def on_prepared(self, prepared: PreparedProposal, slot: Slot, now_ms: Milliseconds) -> None:
        """What building a proposal showed about the pools' content."""
        self._now_ms = max(self._now_ms, now_ms)
        self.transactions.drop(prepared.dropped, self._now_ms)
        self.bundles.on_failed(prepared.bundles_failed, slot)
        self.actions.drop((failed.hash, failed.code, failed.sentence) for failed in prepared.actions_failed)

    def on_decided(self, effect: SubBlockDecided) -> None:
        """Follows a height."""
        self.transactions.on_decided(effect)
        self.bundles.on_decided(effect)
        self.messages.on_decided(effect)
        self.actions.on_decided((action.hash for action in effect.actions), effect.height, effect.time_ms)
