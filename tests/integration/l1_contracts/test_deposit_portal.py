"""The development portal makes the deposits that OptimismPortal2 makes, at its prices and within its bounds."""

from __future__ import annotations

import random
from typing import Any

import pytest
from contracts_l1 import CHAIN_ID, L1
from eth_account import Account
from web3.contract import Contract

from plait.derivation.deposits import L1Log, deposit_of_log
from plait.l1.contract_proofs import alias_of
from plait.types import Address, Hash32

pytestmark = pytest.mark.node_js

GWEI = 10**9
LIMIT = 20_000_000
TARGET = LIMIT // 10


def deposits(receipt: Any) -> list[Any]:
    """What derivation reads out of a receipt."""
    block_hash = Hash32(bytes(receipt["blockHash"]))
    return [
        deposit_of_log(
            L1Log(
                Address(bytes.fromhex(log["address"][2:])),
                tuple(bytes(topic) for topic in log["topics"]),
                bytes(log["data"]),
                log["logIndex"],
            ),
            block_hash,
        )
        for log in receipt["logs"]
    ]


def raw(address: str) -> bytes:
    return bytes.fromhex(address[2:])


@pytest.fixture
def portal(l1: L1) -> Contract:
    return l1.deploy("DepositPortal")


def test_a_wallets_deposit_says_what_was_asked(l1: L1, portal: Contract) -> None:
    """Sender, target, mint, value, gas limit and data of the derived deposit are the call's."""
    to, data = l1.accounts[3], bytes(range(200))
    call = portal.functions.depositTransaction(to, 7, 60_000, False, data)
    (deposit,) = deposits(
        l1.send(call, sender=1, value=5, what="DepositPortal.depositTransaction, 60,000 L2 gas, 200 bytes")
    )
    assert (deposit.sender, deposit.to) == (raw(l1.accounts[1]), raw(to))
    assert (deposit.mint, deposit.value, deposit.gas_limit, deposit.data) == (5, 7, 60_000, data)


def test_a_creation_has_no_target(l1: L1, portal: Contract) -> None:
    """A creation's deposit has no `to`; naming one is refused."""
    zero = "0x" + "00" * 20
    (deposit,) = deposits(l1.send(portal.functions.depositTransaction(zero, 0, 100_000, True, b"\x00")))
    assert deposit.to is None
    wrong = portal.functions.depositTransaction(l1.accounts[1], 0, 100_000, True, b"")
    assert l1.refused(wrong)[0] == "OptimismPortal_BadTarget"


def test_plain_ether_arrives_at_the_senders_address(l1: L1, portal: Contract) -> None:
    """Ether sent without data is a deposit of 100,000 gas to the sender."""
    terms = {"from": l1.accounts[2], "to": portal.address, "value": hex(9), "gas": hex(500_000)}
    receipt = l1.raw(terms)
    l1.check_gas("DepositPortal, plain ether", receipt["gasUsed"])
    (deposit,) = deposits(receipt)
    own = raw(l1.accounts[2])
    assert (deposit.sender, deposit.to, deposit.mint, deposit.value, deposit.gas_limit) == (own, own, 9, 9, 100_000)


@pytest.mark.parametrize("size", [0, 1, 33, 1_000])
def test_the_gas_limit_covers_what_the_data_costs(l1: L1, portal: Contract, size: int) -> None:
    """21,000 and 40 for each byte are the least; one less is refused."""
    least = 21_000 + 40 * size
    assert portal.functions.minimumGasLimit(size).call() == least
    (deposit,) = deposits(l1.send(portal.functions.depositTransaction(l1.accounts[1], 0, least, False, b"\1" * size)))
    assert deposit.gas_limit == least
    below = portal.functions.depositTransaction(l1.accounts[1], 0, least - 1, False, b"\1" * size)
    assert l1.refused(below)[0] == "OptimismPortal_GasLimitTooLow"


def test_data_is_bounded(l1: L1, portal: Contract) -> None:
    """120,000 bytes pass, one more does not."""
    largest = portal.functions.depositTransaction(l1.accounts[1], 0, 5_000_000, False, bytes(120_000))
    (deposit,) = deposits(l1.send(largest, what="DepositPortal.depositTransaction, 5,000,000 L2 gas, 120,000 bytes"))
    assert deposit.data == bytes(120_000)
    over = portal.functions.depositTransaction(l1.accounts[1], 0, 5_000_000, False, bytes(120_001))
    assert l1.refused(over)[0] == "OptimismPortal_CalldataTooLarge"


def test_a_contract_acts_by_its_alias(l1: L1, portal: Contract) -> None:
    """A contract's deposit comes from its address plus 0x1111…1111."""
    agent = l1.deploy("Agent")
    data = portal.encode_abi("depositTransaction", [l1.accounts[1], 0, 50_000, False, b""])
    (deposit,) = deposits(l1.send(agent.functions.act(portal.address, data)))
    assert deposit.sender == alias_of(Address(raw(agent.address)))


def test_an_alias_wraps_around(l1: L1, portal: Contract) -> None:
    """An address near the end of the range has an alias near its beginning, as addition modulo 2^160 says."""
    agent, high = l1.deploy("Agent"), "0x" + "ff" * 20
    l1.rpc("anvil_setCode", high, "0x" + bytes(l1.web3.eth.get_code(agent.address)).hex())
    data = portal.encode_abi("depositTransaction", [l1.accounts[1], 0, 50_000, False, b""])
    (deposit,) = deposits(l1.send(l1.at("Agent", high).functions.act(portal.address, data)))
    assert deposit.sender.hex() == "1111000000000000000000000000000000001110"


def test_a_delegated_account_keeps_its_address(l1: L1, portal: Contract) -> None:
    """An account with an EIP-7702 delegation has a key on the rollup too: no alias, also when another one calls it."""
    agent, wallet = l1.deploy("Agent"), Account.create()
    nonce = l1.web3.eth.get_transaction_count(wallet.address)
    signed = wallet.sign_authorization({"chainId": CHAIN_ID, "address": agent.address, "nonce": nonce})
    authorization = {
        "chainId": hex(signed.chain_id),
        "address": "0x" + signed.address.hex(),
        "nonce": hex(signed.nonce),
        "yParity": hex(signed.y_parity),
        "r": hex(signed.r),
        "s": hex(signed.s),
    }
    l1.raw({"from": l1.accounts[0], "to": l1.accounts[0], "gas": hex(200_000), "authorizationList": [authorization]})
    assert bytes(l1.web3.eth.get_code(wallet.address)) == bytes.fromhex("ef0100" + agent.address[2:])
    data = portal.encode_abi("depositTransaction", [l1.accounts[1], 0, 50_000, False, b""])
    (deposit,) = deposits(l1.send(l1.at("Agent", wallet.address).functions.act(portal.address, data), sender=5))
    assert deposit.sender == raw(wallet.address)


def test_one_block_buys_no_more_than_the_limit(l1: L1, portal: Contract) -> None:
    """Deposits of one L1 block share 20,000,000 of L2 gas; the next block has its own."""
    assert l1.refused(portal.functions.depositTransaction(l1.accounts[1], 0, LIMIT + 1, False, b""))[0] == "OutOfGas"
    huge = portal.functions.depositTransaction(l1.accounts[1], 0, 2**64 - 1, False, b"")
    assert l1.refused(huge)[0] == "OutOfGas"
    l1.rpc("evm_setAutomine", False)
    # a price of 50 gwei lets the L1 gas that the first one burns fit its transaction
    l1.rpc("anvil_setNextBlockBaseFeePerGas", hex(50 * GWEI))
    sent = [
        l1.rpc(
            "eth_sendTransaction",
            {
                "from": l1.accounts[sender],
                "to": portal.address,
                "gas": hex(3_000_000),
                "gasPrice": hex(100 * GWEI - sender),
                "data": portal.encode_abi("depositTransaction", [l1.accounts[1], 0, gas, False, b""]),
            },
        )
        for sender, gas in ((1, LIMIT - 50_000), (2, 50_000), (3, 21_000))
    ]
    l1.rpc("evm_mine")
    l1.rpc("evm_setAutomine", True)
    assert [l1.web3.eth.get_transaction_receipt(one)["status"] for one in sent] == [1, 1, 0]
    l1.send(portal.functions.depositTransaction(l1.accounts[1], 0, 21_000, False, b""))


def test_the_price_follows_demand(l1: L1, portal: Contract) -> None:
    """The base fee after a block follows from what it bought, and decays by an eighth per empty block to 1 gwei."""
    l1.rpc("anvil_setNextBlockBaseFeePerGas", hex(50 * GWEI))
    l1.raw(
        {
            "from": l1.accounts[1],
            "to": portal.address,
            "gas": hex(10_000_000),
            "gasPrice": hex(100 * GWEI),
            "data": portal.encode_abi("depositTransaction", [l1.accounts[1], 0, LIMIT, False, b""]),
        }
    )
    small = portal.functions.depositTransaction(l1.accounts[1], 0, 21_000, False, b"")
    l1.send(small)
    risen = GWEI + GWEI * (LIMIT - TARGET) // (TARGET * 8)
    assert portal.functions.params().call()[:2] == [risen, 21_000]
    # one quiet block lowers it by nearly an eighth, three empty ones by an eighth each
    l1.rpc("anvil_mine", hex(2))
    l1.send(small)
    after = risen - risen * (TARGET - 21_000) // (TARGET * 8)
    expected = max(GWEI, after * 7**2 // 8**2)
    assert abs(portal.functions.params().call()[0] - expected) <= 2
    l1.rpc("anvil_mine", hex(600))
    l1.send(small)
    assert portal.functions.params().call()[0] == GWEI


def test_l2_gas_is_paid_for_with_l1_gas(l1: L1, portal: Contract) -> None:
    """At an L1 base fee of 1 gwei or less, buying gas at 1 gwei burns as much L1 gas."""
    receipt = l1.send(
        portal.functions.depositTransaction(l1.accounts[1], 0, 1_000_000, False, b""),
        what="DepositPortal.depositTransaction, 1,000,000 L2 gas",
    )
    assert 1_000_000 < receipt["gasUsed"] < 1_060_000


def next_base_fee(fee: int, bought: int, blocks: int) -> int:
    """Price after a block that bought `bought` and `blocks` - 1 empty ones: EIP-1559's rule, the portal's numbers."""
    fee += fee * (bought - TARGET) // (TARGET * 8) if bought > TARGET else -(fee * (TARGET - bought) // (TARGET * 8))
    fee = max(GWEI, fee)
    return max(GWEI, int(fee * 7 ** (blocks - 1) // 8 ** (blocks - 1)))


@pytest.mark.parametrize("seed", range(2))
def test_random_markets_follow_the_model(l1: L1, portal: Contract, seed: int) -> None:
    """Over random purchases and pauses the price is the model's, to the rounding of its fixed point."""
    rng = random.Random(seed)
    fee, bought, last = portal.functions.params().call()
    for step in range(16):
        amount = rng.choice([21_000, 500_000, TARGET, LIMIT // 2, LIMIT])
        l1.rpc("anvil_mine", hex(rng.choice([1, 1, 2, 5])))
        l1.rpc("anvil_setNextBlockBaseFeePerGas", hex(10_000 * GWEI))  # the price is what matters here, not its burning
        receipt = l1.raw(
            {
                "from": l1.accounts[1],
                "to": portal.address,
                "gas": hex(14_000_000),
                "gasPrice": hex(20_000 * GWEI),
                "data": portal.encode_abi("depositTransaction", [l1.accounts[1], 0, amount, False, b""]),
            }
        )
        assert receipt["status"] == 1
        expected = next_base_fee(fee, bought, receipt["blockNumber"] - last)
        fee, bought, last = portal.functions.params().call()
        hint = f"seed {seed}, step {step}"
        assert abs(fee - expected) <= 1 + expected // 10**17, hint
        assert (bought, last) == (amount, receipt["blockNumber"]), hint


def test_amounts_at_the_end_of_their_range_pass_unchanged(l1: L1, portal: Contract) -> None:
    """A value of 2^256 - 1, which nobody has, is the rollup's to refuse: the deposit says what was asked."""
    top = 2**256 - 1
    (deposit,) = deposits(l1.send(portal.functions.depositTransaction(l1.accounts[1], top, 21_000, False, b"")))
    assert (deposit.value, deposit.mint) == (top, 0)
