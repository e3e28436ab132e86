"""What scenarios put on their rollups: a market, signed operations, journeys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from eth_abi import encode

from plait.native import keccak256
from plait.types import Address, RollupId
from sim.wallet import Wallet
from tests.scenarios.world import USERS, World, calldata

PRICE = 10**15
"""What a bundler gets for an operation, wei."""
_OPERATION = "(address,uint256,address,bytes,address,uint256)"
_HOPS = "(uint256,address,bytes,bool,uint256)[]"


def open_market(world: World) -> tuple[Address, Address]:
    """A token and its exchange against ether, at the same addresses everywhere; 10 of each in reserve."""
    token = world.deploy_everywhere("DemoSuperchainToken")
    exchange = world.deploy_everywhere("DemoExchange", token, bytes(20), types=("address", "address"))
    maker = USERS[6]
    mint = calldata("mint(address,uint256)", maker.address, 10**19)
    approve = calldata("approve(address,uint256)", exchange, 10**19)
    provide = calldata("addLiquidity(uint256,uint256)", 10**19, 10**19)
    for rollup_id in world.ids:
        world.happen(
            rollup_id,
            world.tx(rollup_id, maker, token, mint),
            world.tx(rollup_id, maker, token, approve, after=1),
            world.tx(rollup_id, maker, exchange, provide, after=2, value=10**19),
        )
    return token, exchange


def swap(sell_base: bool, amount_in: int, least: int, to: bytes) -> bytes:
    """Calldata of a trade; the base is the token, the quote ether."""
    return calldata("swap(bool,uint256,uint256,address,uint256)", sell_base, amount_in, least, to, 2**40)


def handle(rollup_id: RollupId, entry: bytes, owner: Wallet, target: bytes, *, sponsor: bytes, nonce: int = 0) -> bytes:
    """Calldata of an operation that its owner has signed: the owner's account calls `count` of the target."""
    operation = (owner.address, nonce, target, calldata("count()"), sponsor, PRICE)
    digest = keccak256(encode(["uint256", "address", _OPERATION], [rollup_id, entry, operation]))
    parity, r, s = owner._sign(digest)
    words = (r.to_bytes(32, "big"), s.to_bytes(32, "big"))
    return calldata(f"handle({_OPERATION},uint8,bytes32,bytes32)", operation, 27 + parity, *words)


def hop(rollup_id: int, target: bytes, data: bytes, *, feed: bool = False, least: int = 0) -> tuple[Any, ...]:
    """One call of a journey."""
    return (rollup_id, target, data, feed, least)


def start(*journeys: Sequence[tuple[Any, ...]], undone: bool = False) -> bytes:
    """Calldata of Itinerary that begins these journeys; with `undone` within a call that reverts and is caught."""
    name = "startAndRevert" if undone else "start"
    return calldata(f"{name}({_HOPS}[])", [list(journey) for journey in journeys])
