"""Bundles and messages for a node that will be killed, what was reported of them, and what must hold afterwards.

Actors, each with an account of its own on both rollups:
    pair      two legs that send ether; some with a transaction that may revert
    ether     one leg sends ether over the bridge, delivered in the bundle; the other adds to it where it arrives
    token     a token goes to the other rollup, and a message to a contract there sends it back: three deliveries
    message   plain transactions: ether over the bridge, relayed by the node

Every bundle has recipients of its own, so its effects are all there or all missing. Before some of them the same
nonces are offered in a bundle that cannot take place: a leg, a delivery or a reply fails at its end.

Invariants, asked of every node that started again
    - of each bundle all transactions are decided, in one sub-block, or none is, on any rollup; so are its effects
    - what was reported as decided is there at the height that was reported, deliveries included
    - what cannot take place, or was reported as dropped, has left nothing
    - over both rollups no ether of the bridge and no token came or went, but for messages that are still on their way
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from eth_abi.abi import encode
from killed_node import CHAINS, KilledNode, answers, block_sealed, until

from plait.client import Bundle, Client
from plait.interop.messages import CROSS_L2_INBOX, ETH_BRIDGE, ETH_LIQUIDITY, MESSENGER, TOKEN_BRIDGE
from plait.native import keccak256
from plait.rollups.contracts import artifact
from sim.wallet import Wallet

DEPLOYER: Final = bytes.fromhex("4e59b44847b379578588920cA78FbF26c0B4956C")
MULTICALL: Final = bytes.fromhex("cA11bde05977b3631167028862bE2a173976CA11")
TOKEN_CODE: Final = artifact("DemoSuperchainToken").creation_code
TOKEN: Final = keccak256(b"\xff" + DEPLOYER + bytes(32) + keccak256(TOKEN_CODE))[12:]
MINTED: Final = 10**24
"""Per account and rollup."""
LIQUIDITY_AT_GENESIS: Final = 2**248 - 1
"""Wei of ETHLiquidity on each rollup."""
TOKEN_USERS: Final = (4, 5)
DEPLOYING_USER: Final = 9
DECIDED: Final = frozenset({"decided", "sealed"})
_GAS: Final = 600_000
_SHARE_FAILING: Final = 0.35
_POLL_S: Final = 0.02


def calldata(signature: str, *values: object) -> bytes:
    """ABI-encoded call; `signature` has no tuples."""
    types = [kind for kind in signature[signature.index("(") + 1 : -1].split(",") if kind]
    return keccak256(signature.encode())[:4] + encode(types, values)


def hash_of(raw: bytes) -> str:
    """Of a signed transaction."""
    return "0x" + keccak256(raw).hex()


@dataclass(slots=True)
class Effect:
    """What a recipient has if the bundle took place, and 0 otherwise."""

    rollup: int
    recipient: bytes
    amount: int
    token: bool = False

    def call(self) -> tuple[str, tuple[Any, ...]]:
        """The question; its answer is a hex number."""
        if not self.token:
            return "eth_getBalance", ("0x" + self.recipient.hex(), "pending")
        data = calldata("balanceOf(address)", self.recipient)
        return "eth_call", ({"to": "0x" + TOKEN.hex(), "input": "0x" + data.hex()}, "pending")


@dataclass(slots=True)
class Offered:
    """A bundle that was sent, or was about to be when the node died."""

    kind: str
    legs: dict[int, list[bytes]]
    effects: list[Effect]
    can_take_place: bool
    delivers: bool
    may_revert: bytes = b""
    hash: str = ""
    """Empty when no answer came."""
    height: int | None = None
    """Reported."""
    deliveries: dict[int, list[str]] = field(default_factory=dict)
    """Reported: hashes."""
    dropped: str = ""
    """Reported: the code."""

    def hashes(self) -> list[tuple[int, str]]:
        """(rollup, hash) of the transactions of all legs."""
        return [(rollup, hash_of(raw)) for rollup, raws in self.legs.items() for raw in raws]

    def request(self) -> Bundle:
        """As a client sends it."""
        bundle = Bundle()
        for rollup, raws in self.legs.items():
            for raw in raws:
                bundle.leg(rollup, raw, may_revert=raw == self.may_revert)
        return bundle.deliver() if self.delivers else bundle

    def __str__(self) -> str:
        return f"{self.kind} bundle {self.hash or 'without an answer'} {self.hashes()}"


@dataclass(slots=True)
class Crossing:
    """A plain transaction that sends ether over the bridge."""

    source: int
    destination: int
    hash: str
    recipient: bytes
    amount: int
    settled: bool = False
    """After a restart it was found to have arrived, or never to have been decided: nothing about it can change."""


class Offers:
    """Everything that was sent, over all runs."""

    def __init__(self) -> None:
        self.bundles: list[Offered] = []
        self.crossings: list[Crossing] = []
        self.in_flight_wei = 0
        """On its way at the last look: sent by a plain transaction, not delivered."""
        self.settled: set[int] = set()
        """Places in `bundles` of those that were checked after a restart."""


class BundledNode(KilledNode):
    """A node that is loaded with bundles and messages."""

    options = ("--sub-blocks", "50", "--snapshot-every", "60")
    offers: Offers

    async def prepare(self, client: Client) -> None:
        """Puts the token on both rollups and mints; waits until messages can be executed there."""
        await asyncio.gather(*(self._prepare(client.at(str(chain_id)), chain_id) for chain_id in CHAINS))

    async def _prepare(self, rollup: Client, chain_id: int) -> None:
        deployer = self.wallets[DEPLOYING_USER]
        code = bytes(32) + TOKEN_CODE
        raws = [deployer.sign_1559(chain_id, 0, to=DEPLOYER, data=code, gas_limit=3_000_000, max_fee_per_gas=10**11)]
        for at, user in enumerate(TOKEN_USERS, 1):
            data = calldata("mint(address,uint256)", self.wallets[user].address, MINTED)
            raws.append(_signed(deployer, chain_id, at, TOKEN, data=data))
        await answers(rollup, [("eth_sendRawTransaction", ("0x" + raw.hex(),)) for raw in raws])
        await block_sealed(rollup, 2)
        for raw in raws:
            receipt = await until(partial(rollup.call, "eth_getTransactionReceipt", hash_of(raw)))
            assert receipt["status"] == "0x1", receipt

    # ------------------------------------------------------------ load
    def loads(self, client: Client) -> list[Coroutine[Any, Any, None]]:
        """All actors."""
        users = {0: pair, 1: pair, 2: ether, 3: ether, 4: token, 5: token}
        acting = [self._bundles(client, self.wallets[user], make) for user, make in users.items()]
        return [*acting, self._crossings(client, 6, CHAINS), self._crossings(client, 7, CHAINS[::-1])]

    async def _bundles(self, client: Client, wallet: Wallet, make: Any) -> None:
        source = random.Random(self.source.random())
        while True:
            nonces = {chain_id: await _nonce(client, wallet, chain_id) for chain_id in CHAINS}
            if source.random() < _SHARE_FAILING:
                await self._send(client, make(source, wallet, dict(nonces), fails=True))
            sent = await self._send(client, make(source, wallet, dict(nonces), fails=False))
            while not sent.dropped and sent.height is None:
                await asyncio.sleep(_POLL_S)
                note(sent, await client.call("plait_getBundle", sent.hash))

    async def _send(self, client: Client, offered: Offered) -> Offered:
        self.offers.bundles.append(offered)
        offered.hash = await client.send(offered.request())
        return offered

    async def _crossings(self, client: Client, user: int, way: tuple[int, ...]) -> None:
        source, destination = way
        wallet, rollup = self.wallets[user], client.at(str(source))
        while True:
            nonce = await _nonce(client, wallet, source)
            for at in range(self.source.randrange(1, 4)):
                recipient, amount = self.source.randbytes(20), self.source.randrange(1, 10**15)
                raw = _signed(wallet, source, nonce + at, ETH_BRIDGE, value=amount,
                              data=calldata("sendETH(address,uint256)", recipient, destination))  # fmt: skip
                self.offers.crossings.append(Crossing(source, destination, hash_of(raw), recipient, amount))
                await rollup.call("eth_sendRawTransaction", "0x" + raw.hex())
            await asyncio.sleep(self.source.random() * 0.1)

    # ------------------------------------------------------------ checks
    async def check(self, client: Client, *, everything: bool) -> None:
        """What was reported is there, and nothing is half."""
        await super().check(client, everything=everything)
        bundles = self.offers.bundles
        places = [at for at in range(len(bundles)) if everything or at not in self.offers.settled]
        await check_bundles(client, [bundles[at] for at in places])
        self.offers.settled.update(places)
        await check_conserved(client, self.offers, everything=everything)


async def _nonce(client: Client, wallet: Wallet, chain_id: int) -> int:
    found = await client.at(str(chain_id)).call("eth_getTransactionCount", "0x" + wallet.address.hex(), "pending")
    return int(found, 16)


# ---------------------------------------------------------------- bundles
def pair(source: random.Random, wallet: Wallet, nonces: dict[int, int], *, fails: bool) -> Offered:
    """Ether to one recipient on either rollup."""
    effects = [Effect(chain_id, source.randbytes(20), source.randrange(1, 10**9)) for chain_id in CHAINS]
    legs = {one.rollup: [_signed(wallet, one.rollup, nonces[one.rollup], one.recipient, value=one.amount)]
            for one in effects}  # fmt: skip
    at = source.choice(CHAINS)
    may_revert = b""
    if fails or source.random() < 0.3:
        reverting = _signed(wallet, at, nonces[at] + 1, CROSS_L2_INBOX, data=b"\xff" * 4 + source.randbytes(8))
        legs[at].append(reverting)
        may_revert = b"" if fails else reverting
    return Offered("pair", legs, effects, not fails, delivers=False, may_revert=may_revert)


def ether(source: random.Random, wallet: Wallet, nonces: dict[int, int], *, fails: bool) -> Offered:
    """Ether over the bridge; when it fails, a second message does that cannot be delivered."""
    here, there = source.sample(CHAINS, 2)
    recipient, amount = source.randbytes(20), source.randrange(1, 10**15)
    send = calldata("sendETH(address,uint256)", recipient, there)
    legs = {
        here: [_signed(wallet, here, nonces[here], ETH_BRIDGE, value=amount, data=send)],
        there: [_signed(wallet, there, nonces[there], recipient, value=1)],
    }
    if fails:
        stuck = _message(there, CROSS_L2_INBOX, b"\xff" * 4 + source.randbytes(8))
        legs[here].append(_signed(wallet, here, nonces[here] + 1, MESSENGER, data=stuck))
    return Offered("ether", legs, [Effect(there, recipient, amount + 1)], not fails, delivers=True)


def token(source: random.Random, wallet: Wallet, nonces: dict[int, int], *, fails: bool) -> Offered:
    """A token to a contract of the other rollup, and a message that has it sent back; when it fails, more than came."""
    here, there = source.sample(CHAINS, 2)
    recipient, amount = source.randbytes(20), source.randrange(1, 10**9)
    back = calldata("sendERC20(address,address,uint256,uint256)", TOKEN, recipient, amount + fails, here)
    reply = keccak256(b"aggregate3((address,bool,bytes)[])")[:4]
    reply += encode(["(address,bool,bytes)[]"], [[(TOKEN_BRIDGE, False, back)]])
    go = calldata("sendERC20(address,address,uint256,uint256)", TOKEN, MULTICALL, amount, there)
    other = Effect(there, source.randbytes(20), source.randrange(1, 10**9))
    legs = {
        here: [
            _signed(wallet, here, nonces[here], TOKEN_BRIDGE, data=go),
            _signed(wallet, here, nonces[here] + 1, MESSENGER, data=_message(there, MULTICALL, reply)),
        ],
        there: [_signed(wallet, there, nonces[there], other.recipient, value=other.amount)],
    }
    return Offered("token", legs, [Effect(here, recipient, amount, token=True), other], not fails, delivers=True)


def _message(destination: int, target: bytes, data: bytes) -> bytes:
    return calldata("sendMessage(uint256,address,bytes)", destination, target, data)


def _signed(wallet: Wallet, chain_id: int, nonce: int, to: bytes, *, value: int = 0, data: bytes = b"") -> bytes:
    return wallet.sign_1559(
        chain_id, nonce, to=to, value=value, data=data, gas_limit=_GAS if data else 21_000, max_fee_per_gas=10**11
    )


def note(offered: Offered, status: dict[str, Any] | None) -> None:
    """Keeps what the node reports of a bundle."""
    assert status is not None, f"{offered}: the node that took it knows nothing of it"
    if status["status"] == "dropped":
        offered.dropped = status["dropped"]["code"]
        return
    if status["status"] in DECIDED:
        offered.height = status["height"]
        for part in status["deliveries"]:
            offered.deliveries.setdefault(part["rollupId"], []).extend(part["transactions"])


# ---------------------------------------------------------------- what must hold
async def check_bundles(client: Client, bundles: list[Offered]) -> None:
    """Of each bundle all or nothing, as reported."""
    heights = await _heights(client, [one for offered in bundles for one in offered.hashes()])
    delivered = await _heights(
        client, [(rollup, hash_) for one in bundles for rollup, hashes in one.deliveries.items() for hash_ in hashes]
    )
    effects = iter(await _effects(client, [effect for offered in bundles for effect in offered.effects]))
    for offered in bundles:
        found = {heights[one] for one in offered.hashes()}
        assert len(found) == 1, f"half: {offered}: transactions at heights {found}"
        (height,) = found
        whole = height is not None
        for effect in offered.effects:
            has, expected = next(effects), effect.amount if whole else 0
            assert has == expected, f"half: {offered} at {height}: {effect} is {has}"
        if offered.height is not None:
            assert height == offered.height, f"{offered} was reported at {offered.height}, now at {height}"
        for rollup, hashes in offered.deliveries.items():
            for hash_ in hashes:
                assert delivered[rollup, hash_] == height, f"delivery {hash_} of {offered} is not at {height}"
        assert not whole or offered.can_take_place, f"{offered} cannot take place and did at {height}"
        assert not whole or not offered.dropped, f"{offered} was dropped ({offered.dropped}) and is at {height}"


async def _heights(client: Client, asked: list[tuple[int, str]]) -> dict[tuple[int, str], int | None]:
    """The height at which each transaction was decided; None for the others."""
    statuses = await answers(client, [("plait_getTransactionStatus", (hash_, rollup)) for rollup, hash_ in asked])
    found: dict[tuple[int, str], int | None] = {}
    for key, status in zip(asked, statuses, strict=True):
        found[key] = status["height"] if status is not None and status["level"] in DECIDED else None
    return found


async def _effects(client: Client, effects: list[Effect]) -> list[int]:
    found = [0] * len(effects)
    for chain_id in CHAINS:
        places = [at for at, effect in enumerate(effects) if effect.rollup == chain_id]
        amounts = await answers(client.at(str(chain_id)), [effects[at].call() for at in places])
        for at, amount in zip(places, amounts, strict=True):
            found[at] = int(amount, 16)
    return found


async def check_conserved(client: Client, offers: Offers, *, everything: bool) -> None:
    """Ether and tokens over both rollups, while nothing is decided."""
    supply = {"to": "0x" + TOKEN.hex(), "input": "0x" + calldata("totalSupply()").hex()}
    liquidity = "0x" + ETH_LIQUIDITY.hex()
    held = Effect(0, MULTICALL, 0, token=True).call()
    calls = [("eth_getBalance", (liquidity, "pending")), ("eth_call", (supply, "pending")), held]
    open_ones = [one for one in offers.crossings if everything or not one.settled]
    async for _ in _unchanged(client):
        crossed = await _heights(client, [(one.source, one.hash) for one in open_ones])
        arrived = await _effects(client, [Effect(one.destination, one.recipient, 0) for one in open_ones])
        figures = [[int(one, 16) for one in await answers(client.at(str(chain_id)), calls)] for chain_id in CHAINS]
    in_flight = 0
    for one, amount in zip(open_ones, arrived, strict=True):
        sent = crossed[one.source, one.hash] is not None
        assert amount in {0, one.amount if sent else 0}, f"{one}: {'sent' if sent else 'not sent'}, {amount} arrived"
        one.settled = not sent or amount > 0
        in_flight += 0 if one.settled else one.amount
    liquid, tokens, left_over = (sum(column) for column in zip(*figures, strict=True))
    taken_in = liquid - len(CHAINS) * LIQUIDITY_AT_GENESIS
    assert taken_in == in_flight, f"{taken_in} wei were taken in, {in_flight} are on their way"
    assert tokens == len(CHAINS) * len(TOKEN_USERS) * MINTED, f"the supply is {tokens}"
    assert left_over == 0, f"{left_over} tokens were left on their way"
    offers.in_flight_wei = in_flight


async def _unchanged(client: Client) -> AsyncIterator[None]:
    """Repeats its body until no transaction was decided meanwhile."""
    for _ in range(10):
        before = (await client.call("plait_slot"))["height"]
        yield
        after = (await client.call("plait_slot"))["height"]
        decided = await answers(client, [("plait_getSubBlock", (at,)) for at in range(before + 1, after + 1)])
        if not any(part["transactions"] for one in decided for part in one["rollups"]):
            return
    raise AssertionError("the node decides transactions all the time although nobody sends any")
