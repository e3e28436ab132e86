"""A bundle as a program writes it: legs of signed transactions, conditions, a fee bid, pins, a window of slots.

    bundle = Bundle().leg(901, signed_here).leg(902, approve, swap).deadline(slot + 10)
    async with Client(url) as client:
        print(await client.simulate(bundle))
        await client.send(bundle)
        print(await bundle.wait("decided"))

Transactions are raw signed bytes, or objects with `raw_transaction` as eth-account makes them.
"""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, Self

from plait.errors import PlaitError, Unavailable
from plait.limits import CLIENT_BUNDLE_POLL_S, CLIENT_BUNDLE_WAIT_S

if TYPE_CHECKING:
    from plait.client.jsonrpc import Client

Comparison = Literal["eq", "ne", "lt", "gt", "le", "ge"]
_LEVELS: Final = ("received", "decided", "sealed", "posted", "safe", "finalized")
Level = Literal["decided", "sealed", "posted", "safe", "finalized"]
"""What a bundle can be waited for; those after `sealed` where its rollups derive from an L1."""


class BundleDropped(PlaitError):
    """The bundle left the node without taking place. `code` says why.

    `fields`: rollup_id, index (of the transaction in its leg), reason (code of what failed last), revert_reason.
    """

    default_code = "bundle_dropped"


class ReservedPin(NamedTuple):
    """The reserved top of a block: where it is, and what references to logs in it need to name."""

    rollup_id: int
    block_number: int
    timestamp: int
    """Of the block, Unix seconds."""
    log_index: int
    """Of the first log there."""


class Reservation(NamedTuple):
    """The tops of blocks of one slot, kept for whoever knows the id."""

    id: str
    slot: int
    expires_at_ms: int
    """Unix milliseconds."""
    pins: tuple[ReservedPin, ...]

    @classmethod
    def of(cls, answer: dict[str, Any]) -> "Reservation":
        """From the answer of plait_reserve."""
        pins = tuple(
            ReservedPin(pin["rollupId"], pin["blockNumber"], pin["timestamp"], pin["logIndex"])
            for pin in answer["pins"]
        )
        return cls(answer["reservationId"], answer["slot"], answer["expiresAtMs"], pins)


def reservation_text(rollups: Sequence[int], slot: int) -> str:
    """What the signer of a reservation signs (EIP-191): rollups ascending, and the earliest slot."""
    return f"Plait: reserve rollups {','.join(map(str, sorted(rollups)))} from slot {slot}"


class Bundle:
    """Legs that take place together or not at all. Methods return the bundle, so that calls can be chained."""

    def __init__(self) -> None:
        self._legs: dict[int, tuple[list[str], list[int]]] = {}
        self._conditions: list[dict[str, Any]] = []
        self._fee_bid: dict[str, Any] | None = None
        self._deliver = False
        self._pins: list[dict[str, int]] = []
        self._not_before: int | None = None
        self._deadline: int | None = None
        self._client: Client | None = None
        self.hash: str | None = None
        """Set by `Client.send`."""
        self.reservation: str | None = None
        """Id of the reservation that it makes use of; set by `pin_to`."""

    def leg(self, rollup_id: int, *transactions: Any, may_revert: bool = False) -> Self:
        """Adds transactions on a rollup, after those that are there already.

        Args:
            rollup_id: equal to its chain id.
            transactions: signed, as bytes or with `raw_transaction`.
            may_revert: these may revert without failing the bundle.
        """
        raws, allowed = self._legs.setdefault(rollup_id, ([], []))
        for transaction in transactions:
            if may_revert:
                allowed.append(len(raws))
            raws.append("0x" + bytes(getattr(transaction, "raw_transaction", transaction)).hex())
        return self

    def require_balance(self, rollup_id: int, address: str, comparison: Comparison, wei: int) -> Self:
        """Demands a relation of an account's balance to a value, on any rollup, right before the legs run."""
        return self._require(rollup_id, "balance", address, comparison, wei, {})

    def require_storage(self, rollup_id: int, address: str, slot: str, comparison: Comparison, value: int) -> Self:
        """The same of a contract's storage slot (0x hex), as an unsigned integer."""
        return self._require(rollup_id, "storage", address, comparison, value, {"slot": slot})

    def require_call(self, rollup_id: int, address: str, data: bytes | str, comparison: Comparison, value: int) -> Self:
        """The same of the first word that a read-only call returns; a call that fails makes the bundle fail.

        Args:
            rollup_id: of the contract.
            address: of the contract, 0x hex.
            data: calldata, as bytes or 0x hex.
            comparison, value: what the word, as an unsigned integer, must satisfy.
        """
        text = data if isinstance(data, str) else "0x" + data.hex()
        return self._require(rollup_id, "call", address, comparison, value, {"input": text})

    def _require(  # noqa: PLR0917 - a helper with two callers
        self, rollup_id: int, kind: str, address: str, comparison: str, value: int, more: dict[str, str]
    ) -> Self:
        condition = {"rollupId": rollup_id, "kind": kind, "address": address, "comparison": comparison}
        self._conditions.append(condition | {"value": hex(value)} | more)
        return self

    def fee_bid(self, rollup_id: int, wei: int) -> Self:
        """Promises that a rollup's sequencer fee vault gains at least so much through the bundle: a higher bid runs
        earlier in its sub-block, and a bundle that pays less does not take place. Priority fees count."""
        self._fee_bid = {"rollupId": rollup_id, "amount": hex(wei)}
        return self

    def deliver(self) -> Self:
        """Demands that every message which it sends to a rollup of the interop set is delivered with it, or nothing of
        it takes place."""
        self._deliver = True
        return self

    def pin(self, rollup_id: int, block_number: int, log_index: int) -> Self:
        """Lets it run only in this block of a rollup, and only when that block holds exactly so many logs."""
        self._pins.append({"rollupId": rollup_id, "blockNumber": block_number, "logIndex": log_index})
        return self

    def pin_to(self, reservation: "Reservation") -> Self:
        """Pins it to all blocks of a reservation; `Client.send` hands the reservation in with it."""
        for pin in reservation.pins:
            self.pin(pin.rollup_id, pin.block_number, pin.log_index)
        self.reservation = reservation.id
        return self

    def not_before(self, slot: int) -> Self:
        """First slot in which it may take place."""
        self._not_before = slot
        return self

    def deadline(self, slot: int) -> Self:
        """Last slot in which it may take place; without one the node chooses."""
        self._deadline = slot
        return self

    def request(self) -> dict[str, Any]:
        """The parameter of plait_sendBundle and plait_simulateBundle."""
        request: dict[str, Any] = {
            "legs": [
                {"rollupId": rollup_id, "transactions": raws, "allowedReverts": allowed}
                for rollup_id, (raws, allowed) in sorted(self._legs.items())
            ],
            "conditions": self._conditions,
        }
        if self._fee_bid is not None:
            request["feeBid"] = self._fee_bid
        if self._deliver:
            request["deliveryRequired"] = True
        if self._pins:
            request["pins"] = self._pins
        if self._not_before is not None:
            request["notBeforeSlot"] = self._not_before
        if self._deadline is not None:
            request["deadlineSlot"] = self._deadline
        return request

    def follow(self, client: "Client", bundle_hash: str) -> None:
        """Binds the bundle to the client that sent it."""
        self._client, self.hash = client, bundle_hash

    async def status(self) -> dict[str, Any] | None:
        """What the node knows of it. Raises RpcError, NodeUnreachable, Unavailable (`bundle_not_sent`)."""
        if self._client is None or self.hash is None:
            raise Unavailable("the bundle was not sent yet", code="bundle_not_sent")
        found: dict[str, Any] | None = await self._client.call("plait_getBundle", self.hash)
        return found

    async def wait(self, level: Level = "decided", *, timeout_s: float = CLIENT_BUNDLE_WAIT_S) -> dict[str, Any]:
        """Its status once it has come so far.

        Raises:
            BundleDropped: it never will.
            Unavailable: `bundle_wait_timeout`.
        """
        end = asyncio.get_running_loop().time() + timeout_s
        while True:
            status = await self.status()
            if status is not None and status["status"] == "dropped":
                why = status["dropped"]
                raise BundleDropped(
                    why["sentence"],
                    code=why["code"],
                    rollup_id=why["rollupId"],
                    index=why["index"],
                    reason=why["reason"],
                    revert_reason=why["revertReason"],
                )
            if status is not None and _LEVELS.index(status["status"]) >= _LEVELS.index(level):
                return status
            if asyncio.get_running_loop().time() > end:
                raise Unavailable(f"the bundle was not {level} within {timeout_s:g} s", code="bundle_wait_timeout")
            await asyncio.sleep(CLIENT_BUNDLE_POLL_S)
