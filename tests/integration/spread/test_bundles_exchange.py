"""Bundles between pools: the same payer answers everywhere, replacements and cancellations act everywhere, and nobody
but their senders can cause either."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

import pytest
from eth_account import Account
from eth_account.messages import encode_defunct

from plait.codec.batch import Batch, BundleEntry, Cancellation, LabelCancellation, LabelRequest, encode_batch
from plait.mempool import Label
from plait.mempool.bundles import signed_text
from plait.mempool.label_requests import signer_of_body
from plait.native import keccak256
from plait.node.spread import BatchCode
from plait.types import Bundle, Hash32, Height, Leg, RollupId, Slot
from sim.pooling import USERS
from sim.spreading import Exchange, SpreadNode
from sim.wallet import Wallet

ONE, OTHER = RollupId(901), RollupId(902)
KEY, STRANGER_KEY = b"\x41" * 32, b"\x42" * 32
SIGNER = Wallet(KEY)


def played(work: Callable[[Exchange], Awaitable[None]], nodes: int = 3) -> None:
    async def main() -> None:
        exchange = Exchange(Random(1), [*USERS, SIGNER], nodes=nodes)
        await exchange.decide(0, after_ms=1_000)
        await work(exchange)

    asyncio.run(main())


def bundle(exchange: Exchange, *, value: int = 1, nonce: int = 0, slots: int = 9, legs: int = 2) -> Bundle:
    return Bundle(
        legs=tuple(
            Leg(
                rollup_id=rollup_id,
                transactions=(SIGNER.sign_1559(rollup_id, nonce, to=b"\x09" * 20, value=value),),
            )
            for rollup_id in (ONE, OTHER)[:legs]
        ),
        not_before_slot=Slot(0),
        deadline_slot=Slot(exchange.slot + slots),
    )


def sign(text: str, key: bytes = KEY) -> bytes:
    return bytes(Account.sign_message(encode_defunct(text=text), key).signature)


def admit(exchange: Exchange, node: SpreadNode, one: Bundle, **options: Any) -> Hash32:
    decoded = node.bundles.decode(one)
    if "sign" in options:
        options["signature"] = sign(options.pop("sign").format(decoded.hash.hex()))
    return node.bundles.admit(decoded, exchange.time_ms, exchange.slot, **options)


def held(node: SpreadNode) -> set[Hash32]:
    return set(node.bundles._entries)


def payers(exchange: Exchange, hash_: Hash32) -> set[bytes]:
    return {node.bundles._entries[hash_].payer for node in exchange.nodes}


def test_a_signed_bundle_is_charged_to_its_signer_on_every_node_and_decided_by_any() -> None:
    async def work(exchange: Exchange) -> None:
        found = admit(exchange, exchange.nodes[0], bundle(exchange), sign="Plait: send bundle 0x{}")
        await exchange.spread()
        assert payers(exchange, found) == {b"\1" + SIGNER.address}
        exchange.kill(0)
        effect = await exchange.decide(2)
        assert [decided.hash for decided in effect.bundles] == [found]
        assert not exchange.nodes[1].kept
        assert not exchange.nodes[2].kept

    played(work)


def test_an_unsigned_bundle_is_charged_to_the_unsigned_account_of_its_first_sender() -> None:
    async def work(exchange: Exchange) -> None:
        found = admit(exchange, exchange.nodes[0], bundle(exchange))
        await exchange.spread()
        assert payers(exchange, found) == {b"\0" + SIGNER.address}

    played(work)


def test_a_signature_of_somebody_else_is_refused_by_the_next_node() -> None:
    async def work(exchange: Exchange) -> None:
        node = exchange.nodes[0]
        decoded = node.bundles.decode(bundle(exchange))
        forged = sign(signed_text("send", decoded.hash), STRANGER_KEY)
        entry = BundleEntry(bundle=bundle(exchange), hash=decoded.hash, signature=forged)
        code, sentence = await node.intake.check(encode_batch(Batch(height=Height(1), bundles=(entry,))), False)
        assert code == BatchCode.REFUSED
        assert sentence.startswith("bundle_signature_wrong: ")
        assert not held(node)

    played(work)


def test_a_replacement_acts_on_every_node_also_where_its_predecessor_never_came() -> None:
    async def work(exchange: Exchange) -> None:
        first, second, third = exchange.nodes
        old = admit(exchange, first, bundle(exchange, value=1), sign="Plait: send bundle 0x{}")
        await exchange.spread()
        third.bundles.cancel(old, sign(signed_text("cancel", old)))
        third.bundles._ends.clear()
        third.spreader.spread._fresh.clear()  # as if it had never come there
        text = f"Plait: replace bundle 0x{old.hex()} with 0x{{}}"
        new = admit(exchange, first, bundle(exchange, value=2), sign=text, replaces=old)
        await exchange.spread()
        for node in (first, second, third):
            assert held(node) == {new}
        assert payers(exchange, new) == {b"\1" + SIGNER.address}

    played(work)


def test_a_cancelled_bundle_leaves_every_pool_and_does_not_come_back() -> None:
    async def work(exchange: Exchange) -> None:
        first, second, third = exchange.nodes
        found = admit(exchange, first, bundle(exchange))
        await exchange.spread()
        again = list(second.kept.values())
        assert held(third) == {found}
        first.bundles.cancel(found, sign(signed_text("cancel", found)))
        await exchange.spread()
        assert [held(node) for node in exchange.nodes] == [set(), set(), set()]
        for data in again:
            second.cache.clear()
            assert await second.offer(data) != BatchCode.KEPT
        assert held(second) == set()
        for _ in range(10):
            await exchange.decide(1)
        assert not any(node.kept for node in exchange.nodes)

    played(work)


def test_a_cancellation_that_overtakes_its_bundle_acts_when_the_bundle_comes() -> None:
    async def work(exchange: Exchange) -> None:
        first, second, _ = exchange.nodes
        found = admit(exchange, first, bundle(exchange))
        await first.send()
        cancellation = Cancellation(bundle_hash=found, signature=sign(signed_text("cancel", found)))
        await second.offer(encode_batch(Batch(height=Height(1), cancellations=(cancellation,))))
        await exchange.travel()
        assert held(second) == set()
        status = second.bundles.status(found)
        assert status is not None
        assert status.mishap is not None
        assert status.mishap.code == "bundle_cancelled"

    played(work)


def test_nobody_cancels_for_somebody_else() -> None:
    async def work(exchange: Exchange) -> None:
        first, second, _ = exchange.nodes
        found = admit(exchange, first, bundle(exchange))
        await exchange.spread()
        forged = Cancellation(bundle_hash=found, signature=sign(signed_text("cancel", found), STRANGER_KEY))
        assert await second.offer(encode_batch(Batch(height=Height(1), cancellations=(forged,)))) == BatchCode.REFUSED
        assert held(second) == {found}

    played(work)


# ---------------------------------------------------------------- labels
def request_of(method: str, label: str, one: Bundle | None = None, key: bytes = KEY, **changes: Any) -> LabelRequest:
    """The authenticated body of eth_sendBundle or eth_cancelBundle, as a searcher's library sends it."""
    fields: dict[str, Any] = {"replacementUuid": label}
    if one is not None:
        fields["txs"] = ["0x" + raw.hex() for raw in one.legs[0].transactions]
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": [fields | changes]}).encode()
    return LabelRequest(label=label, body=body, signature=sign("0x" + keccak256(body).hex(), key))


def send_labelled(exchange: Exchange, node: SpreadNode, one: Bundle, label: str = "mine") -> Hash32:
    request = request_of("eth_sendBundle", label, one)
    requester = signer_of_body(request.body, request.signature)
    assert requester == SIGNER.address
    return admit(exchange, node, one, label=Label(requester, ONE, label), request=request)


def test_a_label_replaces_and_cancels_on_every_node_and_charges_its_requester() -> None:
    async def work(exchange: Exchange) -> None:
        first, second, _ = exchange.nodes
        old = send_labelled(exchange, first, bundle(exchange, value=1, legs=1))
        await exchange.spread()
        assert [held(node) for node in exchange.nodes] == [{old}] * 3
        new = send_labelled(exchange, first, bundle(exchange, value=2, legs=1))
        await exchange.spread()
        assert [held(node) for node in exchange.nodes] == [{new}] * 3
        assert payers(exchange, new) == {b"\1" + SIGNER.address}
        cancel = request_of("eth_cancelBundle", "mine")
        second.bundles.cancel_labelled(Label(SIGNER.address, ONE, "mine"), cancel)
        await exchange.spread()
        assert [held(node) for node in exchange.nodes] == [set()] * 3

    played(work)


@pytest.mark.parametrize(
    ("case", "code"),
    [
        ("transactions", "request_mismatch"),
        ("label", "request_mismatch"),
        ("method", "request_mismatch"),
        ("no json", "request_mismatch"),
        ("window", "request_repeated"),
    ],
)
def test_a_label_needs_a_request_for_just_this_bundle(case: str, code: str) -> None:
    async def work(exchange: Exchange) -> None:
        node = exchange.nodes[0]
        wanted = bundle(exchange, value=1, legs=1)
        victim = send_labelled(exchange, exchange.nodes[1], wanted)
        await exchange.spread()
        assert held(node) == {victim}
        attack, request = bundle(exchange, value=2, legs=1), request_of("eth_sendBundle", "mine", wanted)
        if case == "label":
            request = LabelRequest(label="other", body=request.body, signature=request.signature)
            attack = wanted
        elif case == "method":
            request = request_of("eth_callBundle", "mine", attack)
        elif case == "no json":
            body = b"[" * 10_000
            request = LabelRequest(label="mine", body=body, signature=sign("0x" + keccak256(body).hex()))
        elif case == "window":
            attack = bundle(exchange, value=1, legs=1, slots=3)
        entry = BundleEntry(bundle=attack, hash=node.bundles.decode(attack).hash, request=request)
        if case == "label":
            node.bundles.cancel(victim, sign(signed_text("cancel", victim)))
            node.bundles._ends.clear()
        found, sentence = await node.intake.check(encode_batch(Batch(height=Height(1), bundles=(entry,))), False)
        assert found == BatchCode.REFUSED
        assert sentence.startswith(code + ": "), sentence
        assert held(node) == (set() if case == "label" else {victim})

    played(work, nodes=2)


def test_a_label_is_its_requesters_own() -> None:
    async def work(exchange: Exchange) -> None:
        node = exchange.nodes[0]
        victim = send_labelled(exchange, node, bundle(exchange, value=1, legs=1))
        other = bundle(exchange, value=2, legs=1)
        request = request_of("eth_sendBundle", "mine", other, STRANGER_KEY)
        entry = BundleEntry(bundle=other, hash=node.bundles.decode(other).hash, request=request)
        assert await node.offer(encode_batch(Batch(height=Height(1), bundles=(entry,)))) == BatchCode.KEPT
        assert held(node) == {victim, entry.hash}

    played(work, nodes=1)


def test_a_stranger_cannot_cancel_under_a_label() -> None:
    async def work(exchange: Exchange) -> None:
        first, second, _ = exchange.nodes
        found = send_labelled(exchange, first, bundle(exchange, legs=1))
        await exchange.spread()
        forged = LabelCancellation(rollup_id=ONE, request=request_of("eth_cancelBundle", "mine", key=STRANGER_KEY))
        assert await second.offer(encode_batch(Batch(height=Height(1), cancellations=(forged,)))) == BatchCode.REFUSED
        assert held(second) == {found}

    played(work)
