"""Independent checkers: after every step of a world each asks one question of every live node and raises `Violation`
when the answer is no.

They use only what a node shows from outside (its info, its rollups' reads, the decided log) and share no code with
what they check: balances are summed, blocks are read back as JSON, items are counted in the log itself.
"""

from functools import lru_cache
from hashlib import sha256
from operator import itemgetter
from typing import Any, Protocol

import msgspec
import rlp  # type: ignore[import-untyped]

from plait.engines.simulated import Step, replay
from plait.limits import CANDIDATES_MAX
from plait.native import PENDING, keccak256
from plait.protocol.application import Application
from plait.types import Address, RollupId
from sim.bundling import BundleWorkload
from sim.wallet import Wallet
from sim.workload import Workload
from sim.world import Network, World

VAULTS = tuple(
    Address(bytes.fromhex("42000000000000000000000000000000000000" + last)) for last in ("11", "19", "1a", "1b")
)
"""Sequencer, base fee, L1 fee and operator fee vaults (OP Stack specs, predeploys)."""
ITEM_HEAD_BYTES = 7
LEG_HEAD_BYTES = 33
_balance_of = itemgetter(1)
"""Of an account as the core shows it; summed in C, because worlds have thousands of accounts."""


class Violation(AssertionError):
    """A checker's answer was no."""


def _require(holds: bool, sentence: str) -> None:
    if not holds:
        raise Violation(sentence)


def log_transactions(record: "Record") -> dict[RollupId, list[bytes]]:
    """Raw transactions of a decided proposal, read with the `rlp` library instead of Plait's own reader."""
    blocks = rlp.decode(record.proposal)[-1]
    return {
        RollupId(int.from_bytes(rollup_id, "big")): [raw for item in items for raw in _raws(item)]
        for rollup_id, items in blocks
    }


def _raws(item: bytes) -> list[bytes]:
    if item[0] in {1, 3}:  # a leg, deliveries
        return list(rlp.decode(item[LEG_HEAD_BYTES:]))
    return [item[1:] if item[0] == 2 else item[ITEM_HEAD_BYTES:]]


def log_bundles(record: "Record") -> dict[bytes, dict[RollupId, list[tuple[bytes, bool]]]]:
    """Bundles of a decided proposal by hash: per rollup the hash of each transaction and whether it may revert."""
    parts = rlp.decode(record.proposal)
    items = {
        int.from_bytes(rollup_id, "big"): [item for item in listed if item[0] != 3] for rollup_id, listed in parts[3]
    }
    found: dict[bytes, dict[RollupId, list[tuple[bytes, bool]]]] = {}
    for _, terms in parts[2]:
        bundle_hash = sha256(terms).digest()
        legs: dict[RollupId, list[tuple[bytes, bool]]] = {}
        for rollup_id, _, allowed in rlp.decode(terms)[3]:
            item = items[int.from_bytes(rollup_id, "big")].pop(0)
            _require(item[:LEG_HEAD_BYTES] == b"\x01" + bundle_hash, "a leg does not stand where its bundle says")
            indices = {int.from_bytes(index, "big") for index in allowed}
            legs[RollupId(int.from_bytes(rollup_id, "big"))] = [
                (keccak256(raw), index in indices) for index, raw in enumerate(_raws(item))
            ]
        found[bundle_hash] = legs
    return found


class Watched(Protocol):
    """What most questions are asked about: a world, or one node of a cluster."""

    network: Network
    workload: Workload
    bundles: BundleWorkload
    wallets: list[Wallet]

    @property
    def live(self) -> list[tuple[int, Application]]:
        """Running nodes and their applications."""
        ...


class Record(Protocol):
    """What a decided log holds of a height."""

    @property
    def height(self) -> int:
        """Of the sub-block."""
        ...

    @property
    def proposal(self) -> bytes:
        """As decided."""
        ...


class Happened(Protocol):
    """A step in which a height was decided."""

    @property
    def decided(self) -> Record:
        """What the log says of it."""
        ...


class Agreement:
    """Every live node stands at the last decided height with the log's app hash, in the same slot."""

    def after(self, world: World, step: Step) -> None:
        """Checks one step."""
        for index, application in world.live:
            info = application.info()
            _require(info.height == step.decided.height, f"node {index} stands at {info.height}")
            _require(info.app_hash == step.decided.app_hash, f"node {index} has another app hash at {info.height}")
            candidates = application.statistics()["candidates"]
            _require(candidates <= CANDIDATES_MAX, f"node {index} keeps {candidates} candidates")


class Reasons:
    """Refusals carry a code and a sentence, and only forgeries are refused. That they leave no trace shows in
    `Agreement` (nodes saw different forgeries and still agree) and in `Replayable` (the log alone, without them, gives
    the same)."""

    def after(self, world: World, step: Step) -> None:
        """Checks that every refusal has a code and a sentence, and that accepted ones were meant to be."""
        for shown in step.shown:
            for verdict in shown.verdicts.values():
                if not shown.valid:
                    code, sentence = getattr(verdict, "code", ""), getattr(verdict, "sentence", "")
                    _require(bool(code) and len(sentence) > 10, f"{shown.name} was refused without a reason: {verdict}")
                else:
                    _require(not hasattr(verdict, "code"), f"{shown.name} was refused: {verdict}")


class NothingLost:
    """Every decided transaction is in exactly one block of its rollup, in decided order, after the deposits; nothing
    else is."""

    def __init__(self) -> None:
        self._decided: dict[RollupId, list[bytes]] = {}

    def after(self, world: Watched, step: Happened) -> None:
        """Adds the step's transactions and compares all blocks every few steps."""
        for rollup_id, raws in log_transactions(step.decided).items():
            self._decided.setdefault(rollup_id, []).extend(keccak256(raw) for raw in raws)
        if step.decided.height % 5 == 0:
            self.at_end(world)

    def at_end(self, world: Watched) -> None:
        """Compares the log with the blocks of every node."""
        for rollup_id in world.network.ledger.rollup_ids:
            expected = self._decided.get(rollup_id, [])
            _require(len(set(expected)) == len(expected), f"rollup {rollup_id}: a transaction was decided twice")
            for index, application in world.live:
                found = _block_transactions(application, rollup_id)
                _require(
                    found == expected, f"node {index}, rollup {rollup_id}: blocks hold other transactions than the log"
                )


def _block_transactions(application: Application, rollup_id: RollupId) -> list[bytes]:
    """Hashes of all user transactions of all blocks, the open one last."""
    rollup = application.rollups[rollup_id]
    hashes: list[bytes] = []
    selectors = [*range(1, rollup.head.number + 1), *([PENDING] if rollup.open_block is not None else [])]
    for number in selectors:
        data = rollup.block_json(number, True)
        _require(data is not None, f"rollup {rollup_id} has no block {number}")
        block: dict[str, Any] = msgspec.json.decode(data or b"")
        user = [entry for entry in block["transactions"] if entry["type"] != "0x7e"]
        deposits = block["transactions"][: len(block["transactions"]) - len(user)]
        _require(all(entry["type"] == "0x7e" for entry in deposits), f"block {number}: a deposit after a transaction")
        _require(len(deposits) >= 1, f"block {number} of rollup {rollup_id} has no L1-attributes deposit")
        hashes.extend(bytes.fromhex(entry["hash"][2:]) for entry in user)
    return hashes


class ValueConserved:
    """The balances of all accounts of a rollup, vaults included, add up to genesis: fees move to vaults, nothing is
    burned or minted."""

    def __init__(self, world: Watched, *, nonces: int = 400) -> None:
        self._accounts: dict[RollupId, list[Address]] = {}
        self._minted: dict[RollupId, int] = {}
        self._vaults: dict[RollupId, list[int]] = {}
        for rollup_id, data in world.network.genesis.items():
            allocation: dict[str, dict[str, Any]] = msgspec.json.decode(data)["alloc"]
            listed = {Address(bytes.fromhex(address.removeprefix("0x"))) for address in allocation}
            self._minted[rollup_id] = sum(int(str(entry.get("balance", "0x0")), 16) for entry in allocation.values())
            self._accounts[rollup_id] = sorted(listed.union(VAULTS, world.workload.recipients, _created(world, nonces)))
            self._vaults[rollup_id] = [0] * len(VAULTS)

    def after(self, world: Watched, step: Happened) -> None:
        """Checks one step on every live node."""
        for index, application in world.live:
            for rollup_id, addresses in self._accounts.items():
                rollup = application.rollups[rollup_id]
                at = PENDING if rollup.open_block is not None else rollup.head.number
                total = sum(map(_balance_of, rollup.accounts(addresses, at)))
                _require(
                    total == self._minted[rollup_id],
                    f"node {index}, rollup {rollup_id}: balances add up to {total}, minted {self._minted[rollup_id]}",
                )
        self._vaults_never_fall(world)

    def _vaults_never_fall(self, world: Watched) -> None:
        """Nobody withdraws here, so what a vault holds only grows."""
        _, application = world.live[0]
        for rollup_id, rollup in application.rollups.items():
            at = PENDING if rollup.open_block is not None else rollup.head.number
            balances = [balance for _, balance, _ in rollup.accounts(VAULTS, at)]
            before = self._vaults[rollup_id]
            _require(
                all(now >= then for now, then in zip(balances, before, strict=True)),
                f"rollup {rollup_id}: a vault's balance fell from {before} to {balances}",
            )
            self._vaults[rollup_id] = balances

    def at_end(self, world: Watched) -> None:
        """The base fee vault holds exactly gas used times base fee over the receipts of all sealed blocks."""
        _, application = world.live[0]
        for rollup_id, rollup in application.rollups.items():
            expected = 0
            for number in range(1, rollup.head.number + 1):
                block: dict[str, Any] = msgspec.json.decode(rollup.block_json(number, False) or b"")
                receipts: list[dict[str, Any]] = msgspec.json.decode(rollup.block_receipts_json(number) or b"")
                gas = sum(int(receipt["gasUsed"], 16) for receipt in receipts if receipt["type"] != "0x7e")
                expected += gas * int(block["baseFeePerGas"], 16)
            found = rollup.accounts([VAULTS[1]], rollup.head.number)[0][1]
            _require(
                found == expected, f"rollup {rollup_id}: the base fee vault holds {found}, receipts say {expected}"
            )


def _created(world: Watched, nonces: int) -> list[Address]:
    """Addresses of contracts that users may create: keccak(rlp([sender, nonce]))[12:] (Yellow Paper, 7)."""
    return [created_address(bytes(wallet.address), nonce) for wallet in world.wallets for nonce in range(nonces)]


@lru_cache(maxsize=10_000)
def created_address(sender: bytes, nonce: int) -> Address:
    """Of the contract that a sender's transaction creates."""
    return Address(keccak256(rlp.encode([sender, nonce]))[12:])


class Replayable:
    """Replaying the decided log over genesis gives the live hashes, with senders recovered anew and with stored
    ones."""

    def at_end(self, world: World) -> None:
        """Replays twice; `replay` compares every app hash. Every rollup's head and pending accounts must then be
        equal."""
        live = world.live[0][1]
        for with_senders in (False, True):
            again = replay(world.network.application(), world.engine.log, with_senders=with_senders)
            _require(again.info() == live.info(), "the replayed application stands elsewhere")
            for rollup_id, rollup in live.rollups.items():
                other = again.rollups[rollup_id]
                _require(other.head.header_rlp == rollup.head.header_rlp, f"rollup {rollup_id}: another head by replay")
                at = PENDING if rollup.open_block is not None else rollup.head.number
                addresses = [wallet.address for wallet in world.wallets]
                _require(
                    other.accounts(addresses, at) == rollup.accounts(addresses, at),
                    f"rollup {rollup_id}: other accounts by replay",
                )


class AllOrNothing:
    """Every transaction of a decided bundle took place and succeeded or was allowed to revert; of every other bundle
    that a user ever sent, no transaction is in any block."""

    def __init__(self) -> None:
        self._decided: set[bytes] = set()

    def after(self, world: Watched, step: Happened) -> None:
        """Checks the step's bundles on every live node."""
        for bundle_hash, legs in log_bundles(step.decided).items():
            _require(bundle_hash not in self._decided, "a bundle was decided twice")
            self._decided.add(bundle_hash)
            for index, application in world.live:
                for rollup_id, transactions in legs.items():
                    rollup = application.rollups[rollup_id]
                    for hash_, may_revert in transactions:
                        outcome = rollup.pending_outcome(hash_)
                        _require(outcome is not None, f"node {index}: a transaction of a decided bundle is missing")
                        held = outcome is not None and (outcome[0] == 1 or may_revert)
                        _require(held, f"node {index}: a transaction of a decided bundle failed")

    def at_end(self, world: Watched) -> None:
        """Looks for traces of bundles that were not decided, and for all of those that were."""
        for index, application in world.live:
            for bundle in world.bundles.sent:
                there = {
                    application.rollups[leg.rollup_id].transaction_location(transaction.hash) is not None
                    for leg, transactions in zip(bundle.terms.legs, bundle.legs, strict=True)
                    for transaction in transactions
                }
                _require(
                    there == {bundle.hash in self._decided},
                    f"node {index}: bundle 0x{bundle.hash.hex()} left a trace, or only a part of it is there",
                )


class Checkers:
    """All checkers over one world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._nothing_lost = NothingLost()
        self._value = ValueConserved(world)
        self._bundles = AllOrNothing()
        self._each = (Agreement(), Reasons(), self._nothing_lost, self._value, self._bundles)

    def after(self, step: Step) -> None:
        """Every question that is asked after a step. Raises Violation."""
        for checker in self._each:
            checker.after(self._world, step)

    def at_end(self) -> None:
        """The dearer questions. Raises Violation."""
        self._nothing_lost.at_end(self._world)
        self._value.at_end(self._world)
        self._bundles.at_end(self._world)
        Replayable().at_end(self._world)
