"""The predeploys do what the OP Stack publishes, executed by the native core on a fresh genesis."""

from __future__ import annotations

import json
from random import Random

import pytest
from eth_abi import decode, encode
from eth_account import Account

from plait.derivation.attributes import L1_BLOCK, SEQUENCER_FEE_VAULT, block_attributes
from plait.derivation.system_config import system_of
from plait.l1.synthetic import SyntheticL1
from plait.native import PENDING, Rollup, Store, Transaction, decode_transactions, keccak256
from plait.rollups.embedded.accounts import DEVELOPMENT_ACCOUNTS
from plait.rollups.embedded.genesis import (
    DETERMINISTIC_DEPLOYER,
    GAS_PRICE_ORACLE,
    MULTICALL,
    GenesisSpecification,
    genesis_json,
)
from plait.types import BlockNumber, ChainId, Hash32, OrderingPolicy, RollupId, RollupParameters, Seconds

GENESIS_S = Seconds(1_700_000_000)
CHAIN_ID = 901
GAS = 30_000_000
PARAMETERS = RollupParameters(
    rollup_id=RollupId(CHAIN_ID),
    genesis_hash=Hash32(bytes(32)),
    block_time_slots=2,
    gas_limit=GAS,
    ordering=OrderingPolicy.PRIORITY_FEE,
    da_footprint_gas_scalar=123,
    eip1559_denominator=250,
    eip1559_elasticity=6,
    min_base_fee=0,
    operator_fee_scalar=7,
    operator_fee_constant=1_234_567,
    base_fee_scalar=1_368,
    blob_base_fee_scalar=810_949,
)


@pytest.fixture(scope="module")
def rollup() -> Rollup:
    """A rollup whose block 1 is open: its L1-attributes deposit has been executed."""
    made = Rollup.from_genesis(
        genesis_json(GenesisSpecification(chain_id=ChainId(CHAIN_ID), timestamp=GENESIS_S)), Store.in_memory()
    )
    session = made.session()
    origin, sequence = SyntheticL1(GENESIS_S, 1).origin(BlockNumber(1), Seconds(2))
    session.open(block_attributes(Seconds(GENESIS_S + 2), origin, sequence, system_of(PARAMETERS)))
    made.commit(session)
    return made


def call(rollup: Rollup, to: str, data: bytes, at: int = PENDING) -> bytes:
    request = json.dumps({"to": "0x" + to, "data": "0x" + data.hex()}).encode()
    result = rollup.call(request, at, None, None, GAS)
    assert result.success, result.error
    return result.output


def ask(rollup: Rollup, to: str, signature: str, *values: object) -> int:
    """A getter's single word as an integer."""
    types = [part for part in signature[signature.index("(") + 1 : -1].split(",") if part]
    return int.from_bytes(call(rollup, to, keccak256(signature.encode())[:4] + encode(types, values))[:32], "big")


def test_l1_block_holds_what_the_deposit_said(rollup: Rollup) -> None:
    """Every getter of L1Block gives the field of the packed calldata, and the core reads the same from its slots."""
    origin = SyntheticL1(GENESIS_S, 1).block(BlockNumber(0))
    expected = {
        "number": origin.number,
        "timestamp": origin.timestamp,
        "basefee": origin.base_fee,
        "blobBaseFee": origin.blob_base_fee,
        "hash": int.from_bytes(origin.hash, "big"),
        "sequenceNumber": 1,
        "batcherHash": 0,
        "baseFeeScalar": 1_368,
        "blobBaseFeeScalar": 810_949,
        "operatorFeeScalar": 7,
        "operatorFeeConstant": 1_234_567,
        "daFootprintGasScalar": 123,
    }
    for name, value in expected.items():
        assert ask(rollup, L1_BLOCK, f"{name}()") == value, name
    read = rollup.l1_cost_parameters(PENDING)
    assert read == (origin.base_fee, 1_368, origin.blob_base_fee, 810_949, 7, 1_234_567, 123)


def test_l1_block_refuses_everyone_else(rollup: Rollup) -> None:
    """A setter called by anyone but the depositor reverts with NotDepositor()."""
    request = {"to": "0x" + L1_BLOCK, "data": "0x3db6be2b", "from": DEVELOPMENT_ACCOUNTS[0].address_text}
    result = rollup.call(json.dumps(request).encode(), PENDING, None, None, GAS)
    assert not result.success
    assert result.output == keccak256(b"NotDepositor()")[:4]


def _payload(random: Random) -> bytes:
    """Calldata that compresses a little, a lot, or not at all."""
    kind = random.randrange(4)
    if kind == 0:
        return random.randbytes(random.randrange(400))
    if kind == 1:
        return random.randbytes(random.randrange(1, 9)) * random.randrange(1, 300)
    if kind == 2:
        return bytes(random.randrange(3_000))
    words = [random.randbytes(random.randrange(3, 40)) for _ in range(5)]
    return b"".join(random.choice(words) + bytes(random.randrange(20)) for _ in range(random.randrange(60)))


@pytest.mark.parametrize("seed", range(4))
def test_oracle_estimates_size_as_the_core_does(rollup: Rollup, seed: int) -> None:
    """The FastLZ length behind getL1GasUsed is the one behind the core's data-availability estimate, byte for byte."""
    random = Random(seed)
    for nonce in range(25):
        fields = {
            "type": 2, "chainId": CHAIN_ID, "nonce": nonce, "gas": 100_000, "to": random.randbytes(20), "value": 0,
            "data": _payload(random), "maxFeePerGas": 10**9, "maxPriorityFeePerGas": 0,
        }  # fmt: skip
        raw = bytes(Account.sign_transaction(fields, DEVELOPMENT_ACCOUNTS[0].private_key).raw_transaction)
        transaction = decode_transactions([raw], CHAIN_ID)[0]
        assert isinstance(transaction, Transaction)
        gas = ask(rollup, GAS_PRICE_ORACLE, "getL1GasUsed(bytes)", raw)
        # Fjord: gas = 16 * (836,500 * (length + 68) - 42,585,600) / 1e6, at least 1,600; solve for the length
        scaled = (gas * 10**6 + 15) // 16
        length = round((scaled + 42_585_600) / 836_500) - 68
        if gas > 1_600:
            estimate = max(100, (836_500 * length - 42_585_600) // 10**6)
            assert estimate == transaction.da_size, f"seed {seed}, nonce {nonce}, {len(raw)} bytes"
        else:
            assert transaction.da_size == 100


def test_oracle_fees(rollup: Rollup) -> None:
    """Operator fee (Jovian), L1 fee and its upper bound follow the published formulas."""
    assert ask(rollup, GAS_PRICE_ORACLE, "getOperatorFee(uint256)", 21_000) == 21_000 * 7 * 100 + 1_234_567
    assert ask(rollup, GAS_PRICE_ORACLE, "getOperatorFee(uint256)", 2**255) == 2**256 - 1
    scaled = 1_368 * 16 * 10**9 + 810_949 * 1
    assert ask(rollup, GAS_PRICE_ORACLE, "getL1Fee(bytes)", b"") == 100 * 10**6 * scaled // 10**12
    size = 1_000 + 68
    bound = (836_500 * (size + size // 255 + 16) - 42_585_600) * scaled // 10**12
    assert ask(rollup, GAS_PRICE_ORACLE, "getL1FeeUpperBound(uint256)", 1_000) == bound
    assert ask(rollup, GAS_PRICE_ORACLE, "getL1Fee(bytes)", b"plain words " * 83) <= bound
    for flag in ("isEcotone", "isFjord", "isIsthmus", "isJovian"):
        assert ask(rollup, GAS_PRICE_ORACLE, f"{flag}()") == 1
    assert ask(rollup, GAS_PRICE_ORACLE, "decimals()") == 6


def test_multicall_aggregates_and_isolates_failures(rollup: Rollup) -> None:
    """aggregate3 returns each call's outcome; one that may fail does not undo the others."""
    calls = [
        ("0x" + L1_BLOCK, False, keccak256(b"number()")[:4]),
        ("0x" + L1_BLOCK, True, bytes.fromhex("3db6be2b")),
        ("0x" + SEQUENCER_FEE_VAULT, False, keccak256(b"withdrawalNetwork()")[:4]),
    ]
    data = keccak256(b"aggregate3((address,bool,bytes)[])")[:4] + encode(["(address,bool,bytes)[]"], [calls])
    (results,) = decode(["(bool,bytes)[]"], call(rollup, MULTICALL, data))
    assert [success for success, _ in results] == [True, False, True]
    assert int.from_bytes(results[2][1], "big") == 1


def test_deterministic_deployer_answers_the_create2_address(rollup: Rollup) -> None:
    """The answer is 20 bytes: keccak(0xff, deployer, salt, keccak(init code))."""
    salt, code = b"\x07" * 32, bytes.fromhex("602a60005260206000f3")
    expected = keccak256(b"\xff" + bytes.fromhex(DETERMINISTIC_DEPLOYER) + salt + keccak256(code))[12:]
    assert call(rollup, DETERMINISTIC_DEPLOYER, salt + code) == expected
