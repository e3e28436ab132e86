"""A remote account on the native core: a token sent to it and used there in one timestamp, by its owner only."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from eth_abi import encode

from plait.interop.messages import TOKEN_BRIDGE
from plait.native import keccak256
from plait.types import Address
from tests.unit.contracts.desk import UNIT, deploy
from tests.unit.interop.pair import ALICE, BOB, STRANGER, A, B, Pair, Sent, Side, calldata, relay, send, sent_messages

SEND_ERC20 = "sendERC20(address,address,uint256,uint256)"
SWAP = "swap(bool,uint256,uint256,address,uint256)"
FOREVER_S = 2**40


@dataclass
class Place:
    """Two coins on both rollups, an exchange of them on B, and ALICE's account on B."""

    pair: Pair
    gold: Address
    dollar: Address
    exchange: Address
    account: Address

    def balance(self, side: Side, token: Address, holder: bytes) -> int:
        return side.ask(token, "balanceOf(address)", holder)

    def send_gold(self, amount: int) -> Sent:
        """From ALICE on A to her account on B."""
        executed = self.pair.a.execute(ALICE, TOKEN_BRIDGE, calldata(SEND_ERC20, self.gold, self.account, amount, B))
        assert executed.status == 1, executed.failure
        return sent_messages(self.pair.a, executed)[0]

    def sell(self, amount: int, least: int, to: bytes) -> list[tuple[bytes, bytes]]:
        """Calls that sell gold on B's exchange."""
        return [
            (self.gold, calldata("approve(address,uint256)", self.exchange, amount)),
            (self.exchange, calldata(SWAP, True, amount, least, to, FOREVER_S)),
        ]


def execute(calls: list[tuple[bytes, bytes]], value: int = 0) -> bytes:
    """Calldata of RemoteAccount's execute."""
    return keccak256(b"execute((address,uint256,bytes)[])")[:4] + encode(
        ["(address,uint256,bytes)[]"], [[(to, value, data) for to, data in calls]]
    )


@pytest.fixture
def place() -> Place:
    pair = Pair()
    coins = {}
    for side in (pair.a, pair.b):
        for name in ("GOLD", "USD"):
            coins[name] = deploy(side, "DemoCoin", ("string", name), ("string", name))
            side.execute(ALICE, coins[name], calldata("mint(address,uint256)", ALICE.address, 10_000_000 * UNIT))
    exchange = deploy(pair.b, "DemoExchange", ("address", coins["GOLD"]), ("address", coins["USD"]))
    for token in coins.values():
        pair.b.execute(ALICE, token, calldata("approve(address,uint256)", exchange, 2**256 - 1))
    added = pair.b.execute(ALICE, exchange, calldata("addLiquidity(uint256,uint256)", 1_000 * UNIT, 2_000_000 * UNIT))
    assert added.status == 1
    account = deploy(pair.b, "RemoteAccount", ("address", ALICE.address), ("uint256", A))
    return Place(pair, coins["GOLD"], coins["USD"], exchange, account)


def test_a_token_is_moved_and_sold_in_one_timestamp(place: Place) -> None:
    """Both messages are sent and relayed while both blocks are open; ALICE signs nothing on B."""
    pair, amount = place.pair, 10 * UNIT
    out = pair.b.ask(place.exchange, "amountOutFor(bool,uint256)", True, amount)
    nonce = pair.b.session.accounts([ALICE.address])[0][0]
    moved = place.send_gold(amount)
    used = send(pair.a, B, place.account, execute(place.sell(amount, out, STRANGER)))
    for sent in (moved, used):
        executed = relay(pair.b, sent)
        assert executed.status == 1, executed.failure
    assert pair.a.timestamp == pair.b.timestamp
    assert place.balance(pair.b, place.dollar, STRANGER) == out
    assert place.balance(pair.b, place.gold, place.account) == 0
    assert pair.b.session.accounts([ALICE.address])[0][0] == nonce


def test_the_proceeds_can_go_home_in_the_same_timestamp(place: Place) -> None:
    """The calls end with sending dollars back through the bridge: a reply, relayed on A while its block is open."""
    pair, amount = place.pair, 10 * UNIT
    out = pair.b.ask(place.exchange, "amountOutFor(bool,uint256)", True, amount)
    calls = [
        *place.sell(amount, out, place.account),
        (TOKEN_BRIDGE, calldata(SEND_ERC20, place.dollar, STRANGER, out, A)),
    ]
    moved, used = place.send_gold(amount), send(pair.a, B, place.account, execute(calls))
    assert relay(pair.b, moved).status == 1
    executed = relay(pair.b, used)
    assert executed.status == 1
    (home,) = sent_messages(pair.b, executed)
    assert relay(pair.a, home).status == 1
    assert pair.a.timestamp == pair.b.timestamp
    assert place.balance(pair.a, place.dollar, STRANGER) == out


def test_a_use_that_reverts_reverts_its_delivery_with_its_own_error(place: Place) -> None:
    """The output asked for is not there: nothing of the calls remains, and the message can be delivered later."""
    pair, amount = place.pair, 10 * UNIT
    out = pair.b.ask(place.exchange, "amountOutFor(bool,uint256)", True, amount)
    moved = place.send_gold(amount)
    used = send(pair.a, B, place.account, execute(place.sell(amount, out + 1, STRANGER)))
    assert relay(pair.b, moved).status == 1
    executed = relay(pair.b, used)
    assert (executed.status, executed.output) == (0, calldata("OutputTooLow(uint256,uint256)", out, out + 1))
    assert place.balance(pair.b, place.gold, place.account) == amount
    assert pair.b.ask(place.gold, "allowance(address,address)", place.account, place.exchange) == 0
    buy = calldata(SWAP, False, 20_000 * UNIT, 1, ALICE.address, FOREVER_S)  # the price rises
    assert pair.b.execute(ALICE, place.exchange, buy).status == 1
    assert relay(pair.b, used).status == 1


def test_the_use_before_the_token_reverts(place: Place) -> None:
    """Order matters: without the token there is nothing to sell."""
    used = send(place.pair.a, B, place.account, execute(place.sell(UNIT, 1, STRANGER)))
    executed = relay(place.pair.b, used)
    expected = calldata("ERC20InsufficientBalance(address,uint256,uint256)", place.account, 0, UNIT)
    assert (executed.status, executed.output) == (0, expected)


def test_nobody_but_the_owner_from_its_own_rollup_is_obeyed(place: Place) -> None:
    """A direct call, another sender on A, and the owner's address on another rollup than A are all refused."""
    pair = place.pair
    steal = execute([(place.gold, calldata("transfer(address,uint256)", BOB.address, 1))])
    assert relay(pair.b, place.send_gold(UNIT)).status == 1
    for wallet in (ALICE, BOB):
        executed = pair.b.execute(wallet, place.account, steal)
        assert (executed.status, executed.output) == (0, calldata("NotFromMessenger(address)", wallet.address))
    executed = relay(pair.b, send(pair.a, B, place.account, steal, BOB))
    assert (executed.status, executed.output) == (0, calldata("NotFromOwner(address,uint256)", BOB.address, A))
    elsewhere = deploy(pair.b, "RemoteAccount", ("address", ALICE.address), ("uint256", 903))
    executed = relay(pair.b, send(pair.a, B, elsewhere, execute([])))
    assert (executed.status, executed.output) == (0, calldata("NotFromOwner(address,uint256)", ALICE.address, A))
    assert place.balance(pair.b, place.gold, place.account) == UNIT


def test_all_calls_or_none(place: Place) -> None:
    """The second call fails: the first one's transfer is undone."""
    pair = place.pair
    assert relay(pair.b, place.send_gold(UNIT)).status == 1
    calls = [(place.gold, calldata("transfer(address,uint256)", STRANGER, amount)) for amount in (1, UNIT)]
    assert relay(pair.b, send(pair.a, B, place.account, execute(calls))).status == 0
    assert place.balance(pair.b, place.gold, STRANGER) == 0


def test_it_holds_and_spends_ether(place: Place) -> None:
    pair = place.pair
    assert pair.b.execute(ALICE, place.account, b"", value=5).status == 1
    assert relay(pair.b, send(pair.a, B, place.account, execute([(STRANGER, b"")], value=5))).status == 1
    assert pair.b.balance(STRANGER) == 5
