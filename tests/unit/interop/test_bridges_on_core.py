"""Ether and tokens between two rollups on the native core: nothing is made or lost, and nobody else may do it."""

from __future__ import annotations

import pytest

from plait.interop.messages import (
    CROSS_L2_INBOX,
    ETH_BRIDGE,
    ETH_LIQUIDITY,
    MESSENGER,
    TOKEN_BRIDGE,
)
from plait.native import keccak256
from plait.rollups.embedded.genesis import ETH_LIQUIDITY_BALANCE
from plait.types import Address
from tests.unit.interop.pair import (
    ALICE,
    BOB,
    STRANGER,
    TOKEN,
    A,
    B,
    Pair,
    Sent,
    Side,
    calldata,
    error,
    relay,
    send,
    sent_messages,
)

ETHER = 10**18
SEND_ERC20 = "sendERC20(address,address,uint256,uint256)"
RELAY_ERC20 = "relayERC20(address,address,address,uint256)"
RELAY_ETH = "relayETH(address,address,uint256)"


@pytest.fixture
def pair() -> Pair:
    made = Pair()
    for side in (made.a, made.b):
        side.deploy_token()
    return made


def send_ether(side: Side, destination: int, to: bytes, amount: int) -> Sent:
    executed = side.execute(ALICE, ETH_BRIDGE, calldata("sendETH(address,uint256)", to, destination), value=amount)
    assert executed.status == 1, executed.failure
    topics = [log.topics[0] for _, log in executed.logs]
    assert topics[0] == keccak256(b"LiquidityBurned(address,uint256)")
    assert topics[-1] == keccak256(b"SendETH(address,address,uint256,uint256)")
    return sent_messages(side, executed)[0]


def send_token(side: Side, destination: int, to: bytes, amount: int) -> Sent:
    executed = side.execute(ALICE, TOKEN_BRIDGE, calldata(SEND_ERC20, TOKEN, to, amount, destination))
    assert executed.status == 1, executed.failure
    return sent_messages(side, executed)[0]


def test_ether_goes_there_and_back(pair: Pair) -> None:
    """What leaves A's circulation enters B's, and the other way; each rollup's ether is constant."""
    before = (pair.a.ether(), pair.b.ether())
    there = send_ether(pair.a, B, STRANGER, 3 * ETHER)
    assert pair.a.balance(ETH_LIQUIDITY) == ETH_LIQUIDITY_BALANCE + 3 * ETHER
    assert pair.b.balance(STRANGER) == 0
    executed = relay(pair.b, there)
    assert executed.status == 1
    assert pair.b.balance(STRANGER) == 3 * ETHER
    assert pair.b.balance(ETH_LIQUIDITY) == ETH_LIQUIDITY_BALANCE - 3 * ETHER
    assert keccak256(b"RelayETH(address,address,uint256,uint256)") in {log.topics[0] for _, log in executed.logs}
    back = send_ether(pair.b, A, BOB.address, 3 * ETHER)
    bob = pair.a.balance(BOB.address)
    assert relay(pair.a, back).status == 1
    assert pair.a.balance(BOB.address) == bob + 3 * ETHER
    for side in (pair.a, pair.b):
        assert side.balance(ETH_LIQUIDITY) == ETH_LIQUIDITY_BALANCE
        assert side.balance(ETH_BRIDGE) == side.balance(MESSENGER) == 0
    assert (pair.a.ether(), pair.b.ether()) == before


def test_a_recipient_that_refuses_ether_is_paid_all_the_same(pair: Pair) -> None:
    """The payout calls no code of the recipient: CrossL2Inbox, which accepts no ether, gets it."""
    assert relay(pair.b, send_ether(pair.a, B, CROSS_L2_INBOX, 5)).status == 1
    assert pair.b.balance(CROSS_L2_INBOX) == 5


def test_tokens_go_there_and_back(pair: Pair) -> None:
    """Burnt here, minted there: the supply over both rollups is what was minted, at every step but in flight."""
    pair.a.execute(ALICE, TOKEN, calldata("mint(address,uint256)", ALICE.address, 1_000))

    def supplies() -> tuple[int, int]:
        return pair.a.ask(TOKEN, "totalSupply()"), pair.b.ask(TOKEN, "totalSupply()")

    there = send_token(pair.a, B, ALICE.address, 400)
    assert supplies() == (600, 0)
    executed = relay(pair.b, there)
    assert executed.status == 1
    assert supplies() == (600, 400)
    assert {log.topics[0] for _, log in executed.logs} >= {
        keccak256(b"CrosschainMint(address,uint256,address)"),
        keccak256(b"RelayERC20(address,address,address,uint256,uint256)"),
    }
    assert relay(pair.a, send_token(pair.b, A, BOB.address, 400)).status == 1
    assert supplies() == (1_000, 0)
    assert pair.a.ask(TOKEN, "balanceOf(address)", BOB.address) == 400
    assert relay(pair.b, there).output == error("MessageAlreadyRelayed()")
    assert supplies() == (1_000, 0)


def test_more_than_one_has_cannot_be_sent(pair: Pair) -> None:
    """A token send beyond the balance reverts with the token's own error; no message, nothing burnt."""
    pair.a.execute(ALICE, TOKEN, calldata("mint(address,uint256)", ALICE.address, 10))
    executed = pair.a.execute(ALICE, TOKEN_BRIDGE, calldata(SEND_ERC20, TOKEN, BOB.address, 11, B))
    expected = calldata("ERC20InsufficientBalance(address,uint256,uint256)", ALICE.address, 10, 11)
    assert (executed.status, executed.output, executed.logs) == (0, expected, [])
    assert pair.a.ask(TOKEN, "totalSupply()") == 10


def test_nobody_to_receive(pair: Pair) -> None:
    """Both bridges refuse the zero address, and the own rollup as destination."""
    nobody = bytes(20)
    for to, data, expected in (
        (ETH_BRIDGE, calldata("sendETH(address,uint256)", nobody, B), "ZeroAddress()"),
        (TOKEN_BRIDGE, calldata(SEND_ERC20, TOKEN, nobody, 0, B), "ZeroAddress()"),
        (ETH_BRIDGE, calldata("sendETH(address,uint256)", STRANGER, A), "MessageDestinationSameChain()"),
        (TOKEN_BRIDGE, calldata(SEND_ERC20, TOKEN, STRANGER, 0, A), "MessageDestinationSameChain()"),
    ):
        executed = pair.a.execute(ALICE, to, data)
        assert (executed.status, executed.output) == (0, error(expected))


@pytest.mark.parametrize("token", [STRANGER, MESSENGER, ETH_BRIDGE])
def test_only_tokens_that_a_bridge_may_mint_are_sent(pair: Pair, token: Address) -> None:
    """An account without code, or a contract that does not claim ERC-7802, is refused."""
    executed = pair.a.execute(ALICE, TOKEN_BRIDGE, calldata(SEND_ERC20, token, STRANGER, 1, B))
    assert (executed.status, executed.output) == (0, error("InvalidERC7802()"))


def test_interfaces_of_the_token(pair: Pair) -> None:
    """ERC-165: ERC-7802 (0x33331994), ERC-20, ERC-165 itself, and not 0xffffffff."""
    for interface, supported in (("33331994", 1), ("36372b07", 1), ("01ffc9a7", 1), ("ffffffff", 0)):
        assert pair.a.ask(TOKEN, "supportsInterface(bytes4)", bytes.fromhex(interface)) == supported


def test_only_the_protocol_moves_value(pair: Pair) -> None:
    """Every function that creates value refuses whoever is not the one contract that may call it."""
    for to, data in (
        (ETH_BRIDGE, calldata(RELAY_ETH, ALICE.address, ALICE.address, ETHER)),
        (TOKEN_BRIDGE, calldata(RELAY_ERC20, TOKEN, ALICE.address, ALICE.address, ETHER)),
        (ETH_LIQUIDITY, calldata("mint(uint256)", ETHER)),
        (ETH_LIQUIDITY, calldata("burn()")),
        (TOKEN, calldata("crosschainMint(address,uint256)", ALICE.address, ETHER)),
        (TOKEN, calldata("crosschainBurn(address,uint256)", BOB.address, 0)),
    ):
        executed = pair.a.execute(ALICE, to, data)
        assert (executed.status, executed.output) == (0, error("Unauthorized()"))


def test_a_message_of_anyone_else_cannot_pay_out(pair: Pair) -> None:
    """A forged relayETH or relayERC20, sent by an ordinary account through the messenger, is refused on arrival."""
    for target, data in (
        (ETH_BRIDGE, calldata(RELAY_ETH, ALICE.address, ALICE.address, ETHER)),
        (TOKEN_BRIDGE, calldata(RELAY_ERC20, TOKEN, ALICE.address, ALICE.address, ETHER)),
        (ETH_LIQUIDITY, calldata("mint(uint256)", ETHER)),
        (TOKEN, calldata("crosschainMint(address,uint256)", ALICE.address, ETHER)),
    ):
        executed = relay(pair.b, send(pair.a, B, target, data))
        expected = "InvalidCrossDomainSender()" if target in {ETH_BRIDGE, TOKEN_BRIDGE} else "Unauthorized()"
        assert (executed.status, executed.output) == (0, error(expected))
    assert pair.b.balance(ETH_LIQUIDITY) == ETH_LIQUIDITY_BALANCE
    assert pair.b.ask(TOKEN, "totalSupply()") == 0
