"""Brings what validators attested to PlaitRegistry, and pays for it.

Specification
    - At most one transaction is on its way. It is on disk before it is sent, sent again until it is included, offered
      at higher fees while it is not, and follows reorganisations: `plait.rollups.batcher.l1_sender` does that.
    - Nodes are asked only while something is missing in the registry. An answer that is malformed, of another registry
      or signed by nobody counts nothing; a node that does not answer holds nobody up.
    - Of what has a quorum the newest checkpoint goes first, since the set that signed it may be replaced next; then
      the newest set, and so on in turns. Signatures are those of the most powerful validators, no more than are needed.
    - An app hash that contradicts this node's own is never paid for.
Level 6.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final

import msgspec

from plait.errors import L1Refused, PlaitError
from plait.l1.attestations import AttestedValidator, is_quorum, pack, set_hash
from plait.l1.client import L1Client
from plait.l1.fields import as_quantity
from plait.l1.gathering import (
    Attestations,
    CheckpointVotes,
    Gathered,
    SetVotes,
    current_set,
    from_json,
    gather,
    has_quorum,
    signed_percent,
)
from plait.l1.registry import RegistryState, commit_call, read_attesters, read_checkpoints, update_call
from plait.limits import L1_CHECKPOINT_PEERS_AT_ONCE
from plait.rollups.batcher.client_access import ClientAccess
from plait.rollups.batcher.journal import Journal
from plait.rollups.batcher.l1_sender import HistoryLost, L1Sender, SenderSettings
from plait.rollups.batcher.l1_transactions import Content, address_of_key
from plait.types import Address, Hash32, Height

GAS_MARGIN_PERCENT: Final = 25
"""More gas than the estimate: signatures that follow cost the same, and the contract's state may have grown."""


class Problem(msgspec.Struct, frozen=True):
    """Why nothing was sent."""

    code: str
    message: str


class CheckpointPayer:
    """Gathers and sends. Methods belong to one task.

    Args:
        client: of the L1, open.
        peers: JSON-RPC clients of the nodes that serve attestations, open; this node's own is not among them.
        private_key: of the account that pays, used by nothing else.
        directory: where what was signed is kept; None keeps it in memory.
        pay_after_s: waits so long for somebody else to commit.
        fee_cap_max_wei: offered per gas at most; 0 for no bound.
        clock: Unix time in seconds.
    """

    def __init__(
        self,
        client: L1Client,
        peers: Sequence[L1Client],
        private_key: bytes,
        *,
        directory: Path | None = None,
        pay_after_s: int = 0,
        fee_cap_max_wei: int = 0,
        clock: Callable[[], float] = time.time,
        settings: SenderSettings | None = None,
    ) -> None:
        self.address = address_of_key(private_key)
        self._client = client
        self._peers = tuple(peers)
        self._journal = Journal(None if directory is None else directory / self.address.hex())
        self._access = ClientAccess(client)
        terms = settings or SenderSettings(resend_after_s=12, fee_cap_max_wei=fee_cap_max_wei)
        self._sender = L1Sender(self._access, self._journal, private_key, terms, now_s=clock)
        self._pay_after_s = pay_after_s
        self._clock = clock
        self._ready: dict[str, float] = {}
        """Since when a call could be sent, by what it commits."""
        self._last = ""
        """What was sent last."""
        self.problem: Problem | None = None
        self.contradiction: Height | None = None
        """A height for which a quorum signed another app hash than this node's."""
        self.sent = 0
        self.missing_peers = 0
        self.signed: dict[str, int] = {}
        """Per cent of the power that signed what is wanted, as last gathered."""

    async def follow(self) -> bool:
        """Looks after what was sent. Returns whether nothing is on its way any more.

        Raises:
            Unavailable, L1Refused: the L1 gives no answer.
            OSError: the disk does not take what was signed.
        """
        for event in await self._sender.step():
            if isinstance(event, HistoryLost):
                await asyncio.to_thread(self._journal.rewind, {}, await self._access.nonce(self.address))
        refusal = self._sender.refusal
        self.problem = None if refusal is None else _refused(self.address, refusal)
        return self._sender.in_flight() == 0

    async def pay(
        self,
        state: RegistryState,
        own: Sequence[Attestations],
        known: Sequence[AttestedValidator],
        expected: Mapping[Height, Hash32],
    ) -> str | None:
        """Sends the next call for which there is a quorum, when nothing is on its way; returns what was sent.

        Args:
            state: of the registry now.
            own: what this node attests itself.
            known: the registry's current set, as far as this node knows it.
            expected: app hashes that this node decided.
        """
        if not await self.follow():
            return None
        answers = [*own, *await self._ask()]
        validators = tuple(known) or current_set(state, answers)
        if not validators:
            self.problem = Problem(
                "l1_set_unknown",
                f"No node that was asked knows the validator set 0x{state.set_hash.hex()} that PlaitRegistry holds; "
                "name a node in attester.peers that has been there since it was current.",
            )
            return None
        keys = await read_attesters(self._client, state, [one.operator for one in validators])
        places = {key: place for place, key in enumerate(keys)}
        gathered = gather(state, validators, places, answers)
        found = await self._choose(state, validators, gathered, expected)
        if found is None:
            return None
        what, data = found
        since = self._ready.setdefault(what, self._clock())
        if self._clock() - since < self._pay_after_s:
            return None
        if not await self._send(state, data):
            return None
        self._ready.clear()
        self._last = what
        self.sent += 1
        return what

    # ------------------------------------------------------------ inside
    async def _ask(self) -> list[Attestations]:
        places = asyncio.Semaphore(L1_CHECKPOINT_PEERS_AT_ONCE)

        async def ask(peer: L1Client) -> Attestations | None:
            async with places:
                try:
                    answer = await peer.call("plait_getL1Attestations")
                    return None if answer is None else from_json(answer)
                except PlaitError:
                    return None

        found = await asyncio.gather(*map(ask, self._peers))
        self.missing_peers = sum(one is None for one in found)
        return [one for one in found if one is not None]

    async def _choose(
        self,
        state: RegistryState,
        validators: Sequence[AttestedValidator],
        gathered: Gathered,
        expected: Mapping[Height, Hash32],
    ) -> tuple[str, bytes] | None:
        self.contradiction = None
        self.signed = {}
        for votes in reversed(gathered.checkpoints):
            self.signed[f"checkpoint {votes.height}"] = signed_percent(validators, votes)
        for following in reversed(gathered.sets):
            self.signed[f"set {following.height}"] = signed_percent(validators, following)
        usable = [one for one in gathered.checkpoints if one.height >= state.set_height and has_quorum(validators, one)]
        for one in usable:
            if expected.get(one.height, one.app_hash) != one.app_hash:
                self.contradiction = one.height
                return None
        calls: list[tuple[str, bytes]] = []
        for newest in usable[:1]:
            (held,) = await read_checkpoints(self._client, state, [newest.height])
            if held is None:
                data = commit_call(newest.height, newest.app_hash, validators, _packed(validators, newest))
                calls.append((f"checkpoint {newest.height}", data))
            elif held != newest.app_hash:
                self.contradiction = newest.height
                return None
        ready = (one for one in gathered.sets if one.height > state.set_height and has_quorum(validators, one))
        for next_set in islice(ready, 1):
            data = update_call(validators, next_set.validators, next_set.height, _packed(validators, next_set))
            calls.append((f"set {next_set.height} {set_hash(next_set.validators).hex()}", data))
        # with short intervals there is always a newer checkpoint; sets would never have their turn
        return next((call for call in calls if not self._last or call[0][0] != self._last[0]), next(iter(calls), None))

    async def _send(self, state: RegistryState, data: bytes) -> bool:
        target = state.contract.address
        call = {"from": "0x" + self.address.hex(), "to": "0x" + target.hex(), "data": "0x" + data.hex()}
        try:
            gas = as_quantity(await self._client.call("eth_estimateGas", call), "an estimate of gas")
        except L1Refused as error:
            if error.code != "l1_call_refused":
                raise
            reason = str(error.fields.get("reason") or error.message)
            self.problem = _refused(self.address, reason)
            return False
        content = Content(
            chain_id=state.contract.chain_id, to=target, data=data, gas=gas * (100 + GAS_MARGIN_PERCENT) // 100
        )
        await self._sender.post([content], ())
        await self.follow()
        return True

    def statistics(self) -> dict[str, int | float]:
        """Numbers for metrics."""
        return {
            "sent": self.sent,
            "in_flight": self._sender.in_flight(),
            "fee_bumps": self._sender.bumps,
            "resends": self._sender.resends,
            "peers": len(self._peers),
            "peers_missing": self.missing_peers,
        }

    def status(self) -> dict[str, Any]:
        """For people."""
        return {
            "address": "0x" + self.address.hex(),
            "inFlight": self._sender.in_flight(),
            "sent": self.sent,
            "signedPercent": dict(self.signed),
            "peersMissing": self.missing_peers,
        }


def _packed(validators: Sequence[AttestedValidator], votes: CheckpointVotes | SetVotes) -> tuple[int, bytes]:
    """As few signatures as make a quorum: each costs gas."""
    chosen: dict[int, bytes] = {}
    for place in sorted(votes.signatures, key=lambda one: (-validators[one].power, one)):
        chosen[place] = votes.signatures[place]
        if is_quorum(validators, chosen):
            break
    return pack(chosen)


def _refused(address: Address, words: str) -> Problem:
    if "insufficient funds" in words.lower():
        return Problem(
            "l1_payer_funds_missing",
            f"The account 0x{address.hex()} cannot pay for checkpoints: send it ether on L1.",
        )
    return Problem("l1_payer_refused", f"L1 does not take the call of PlaitRegistry ({words}); it is tried again.")


__all__ = ["CheckpointPayer", "Problem"]
