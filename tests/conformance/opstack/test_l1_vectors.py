"""Deposits, source hashes, updates, headers and blob fees agree with what the OP Stack and Ethereum publish.

Sources: ethereum-optimism/optimism at op-node/v1.16.11: op-node/rollup/derive/{deposit_source,system_config}_test.go;
two real blocks of Goerli from op-service/sources/testdata/data/blocks ({pre,post}-shanghai-success); the deposits of
rust/op-alloy/crates/consensus/src/transaction/deposit.rs; EIP-4844's examples of the exponential.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
import rlp
from eth_abi import encode

from plait.derivation.attributes import (
    Deposit,
    l1_attributes_source_hash,
    upgrade_source_hash,
    user_deposit_source_hash,
)
from plait.derivation.deposits import TRANSACTION_DEPOSITED
from plait.derivation.system_config import CONFIG_UPDATE, SystemConfig, apply_update, update_of_log
from plait.errors import L1Refused
from plait.l1.fees import PUBLIC_SCHEDULES, _fake_exponential, blob_base_fee, blob_schedule
from plait.l1.headers import header_of
from plait.l1.transactions import transactions_of
from plait.native import keccak256
from plait.types import Address, Gas, Wei

VECTORS = Path(__file__).parent / "vectors"
START = SystemConfig(
    batcher=Address(bytes(20)), gas_limit=Gas(1), base_fee_scalar=2, blob_base_fee_scalar=3, eip1559_denominator=4,
    eip1559_elasticity=5, operator_fee_scalar=6, operator_fee_constant=7, min_base_fee=8, da_footprint_gas_scalar=9,
)  # fmt: skip


def block_of(name: str) -> dict[str, Any]:
    return json.loads(gzip.decompress((VECTORS / f"l1_block_{name}.json.gz").read_bytes()))


def test_source_hashes_are_the_published_ones() -> None:
    l1_block = bytes.fromhex("c00e5d67c2755389aded7d8b151cbd5bcdf7ed275ad5e028b664880fc7581c77")
    assert l1_attributes_source_hash(l1_block, 4).hex() == (
        "0586c503340591999b8b38bc9834bb16aec7d5bc00eb5587ab139c9ddab81977"
    )
    assert upgrade_source_hash("Ecotone: L1 Block Proxy Update").hex() == (
        "18acb38c5ff1c238a7460ebc1b421fa49ec4874bdf1e0a530d234104e5e67dbc"
    )
    assert upgrade_source_hash("Ecotone: beacon block roots contract deployment").hex() == (
        "69b763c48478b9dc2f65ada09b3d92133ec592ea715ec65ad6e7f3dc519dc00c"
    )
    # domain 0, by the rule of the specification
    expected = keccak256(bytes(32) + keccak256(l1_block + (7).to_bytes(32, "big")))
    assert user_deposit_source_hash(l1_block, 7) == expected


def test_events_have_the_published_topics() -> None:
    assert TRANSACTION_DEPOSITED.hex() == "b3813568d9991fc951961fcb4c784893574240a28925604d09fc577c55bb7c32"
    assert CONFIG_UPDATE.hex() == "1d2b0bda21d56b8bd12d4f94ebacffdfb35f5e226f84b461103bb8beab6353be"


@pytest.mark.parametrize("at", [0, 1])
def test_a_deposit_is_encoded_as_op_alloy_encodes_it(at: int) -> None:
    """The L1-attributes deposits of Bedrock and Ecotone, written as any other deposit."""
    raw = bytes.fromhex(json.loads((VECTORS / "deposits.json").read_bytes())["deposits"][at])
    fields = rlp.decode(raw[1:])
    made = Deposit(
        source_hash=fields[0],
        sender=fields[1],
        to=fields[2],
        mint=Wei(int.from_bytes(fields[3])),
        value=Wei(int.from_bytes(fields[4])),
        gas_limit=Gas(int.from_bytes(fields[5])),
        data=fields[7],
    ).encode()
    # isSystemTransaction was true before Regolith; we write no such deposits
    assert made == b"\x7e" + rlp.encode([*fields[:6], b"", fields[7]])
    assert (made == raw) == (fields[6] == b"")


def log(kind: int, content: bytes, *, version: int = 0) -> tuple[list[bytes], bytes]:
    topics = [CONFIG_UPDATE, version.to_bytes(32, "big"), kind.to_bytes(32, "big")]
    return topics, encode(["bytes"], [content])


def word(value: int) -> bytes:
    return value.to_bytes(32, "big")


SCALARS = bytes([1]) + bytes(26) + b"\xb3" + bytes(3) + b"\xbb"
UPDATES: dict[str, tuple[int, bytes, dict[str, Any]]] = {
    "Batcher": (0, word(0xAA), {"batcher": bytes(19) + b"\xaa"}),
    "GasConfig (Bedrock's layout)": (1, word(0xFF) + word(0xAA), {"base_fee_scalar": 0xAA, "blob_base_fee_scalar": 0}),
    "GasConfigEcotone": (1, word(0xFF) + SCALARS, {"base_fee_scalar": 0xBB, "blob_base_fee_scalar": 0xB3}),
    "GasLimit": (2, word(0xBB), {"gas_limit": 0xBB}),
    "EIP1559Params": (4, word((250 << 32) | 6), {"eip1559_denominator": 250, "eip1559_elasticity": 6}),
    "EIP1559Params_BothZero": (4, word(0), {"eip1559_denominator": 0, "eip1559_elasticity": 0}),
    "EIP1559Params above its 8 bytes": (
        4, b"\xff" * 24 + word((250 << 32) | 6)[24:], {"eip1559_denominator": 250, "eip1559_elasticity": 6},
    ),
    "OperatorFeeParams": (5, word((9 << 64) | 8), {"operator_fee_scalar": 9, "operator_fee_constant": 8}),
    "UpdateMinBaseFee": (6, word(1_000_000_000), {"min_base_fee": 1_000_000_000}),
    "DAFootprintGasScalar": (7, word(100), {"da_footprint_gas_scalar": 100}),
    # what op-node reports as an error, and goes on without
    "EIP1559Params_ZeroDenominatorNonZeroElasticity": (4, word(1), {}),
    "EIP1559Params_NonZeroDenominatorZeroElasticity": (4, word(1 << 32), {}),
    "Batcher with padding that is not zero": (0, word(1 << 160), {}),
    "GasLimit above 64 bits": (2, word(1 << 64), {}),
    "MinBaseFee above 64 bits": (6, word(1 << 64), {}),
    "DAFootprintGasScalar above 16 bits": (7, word(1 << 16), {}),
    "scalars of version 2": (1, word(0) + b"\x02" + bytes(31), {}),
    "scalars of version 1 with padding that is not zero": (1, word(0) + b"\x01\x01" + bytes(30), {}),
    "scalars of version 0 with padding that is not zero": (1, word(0) + b"\x00\x01" + bytes(30), {}),
}  # fmt: skip


@pytest.mark.parametrize("name", UPDATES)
def test_an_update_changes_what_op_node_changes(name: str) -> None:
    kind, content, changes = UPDATES[name]
    update = update_of_log(*log(kind, content))
    assert update is not None
    after = apply_update(START, update)
    expected = {**{field: getattr(START, field) for field in SystemConfig.__struct_fields__}, **changes}
    assert after == SystemConfig(**expected)


def test_logs_that_derivation_ignores_are_no_updates() -> None:
    assert update_of_log(*log(3, word(5))) is None, "the unsafe block signer"
    assert update_of_log(*log(8, word(5))) is None, "an unknown type"
    assert update_of_log(*log(2, word(5), version=1)) is None, "an unknown version"
    topics, data = log(2, word(5))
    assert update_of_log(topics[:1], data) is None, "op-node's case OneTopic"
    assert update_of_log([bytes(32), *topics[1:]], data) is None, "another event"
    assert update_of_log(topics, data + bytes(32)) is None, "too many bytes"
    assert update_of_log(topics, data[:-32]) is None, "too few"
    assert update_of_log(topics, word(64) + data[32:]) is None, "another offset"
    assert update_of_log(*log(2, word(5) * 2)) is None, "another length"


@pytest.mark.parametrize(("name", "count"), [("pre_shanghai", 62), ("post_shanghai", 29)])
def test_real_blocks_have_the_hashes_they_claim(name: str, count: int) -> None:
    block = block_of(name)
    header = header_of(block)
    assert "0x" + header.hash.hex() == block["hash"]
    transactions = transactions_of(header, block)
    assert len(transactions) == count
    for transaction, said in zip(transactions, block["transactions"], strict=True):
        assert "0x" + transaction.hash.hex() == said["hash"]
        assert "0x" + transaction.sender().hex() == said["from"]


@pytest.mark.parametrize("field", ["number", "timestamp", "baseFeePerGas", "gasUsed", "difficulty"])
def test_a_real_block_with_one_changed_number_is_refused(field: str) -> None:
    block = block_of("post_shanghai")
    block[field] = hex(int(block[field], 16) + 1)
    with pytest.raises(L1Refused) as refused:
        header_of(block)
    assert refused.value.code == "l1_block_malformed"


def test_a_real_block_with_a_transaction_left_out_is_refused() -> None:
    block = block_of("post_shanghai")
    header = header_of(block)
    del block["transactions"][3]
    with pytest.raises(L1Refused, match="root"):
        transactions_of(header, block)


@pytest.mark.parametrize(
    ("factor", "numerator", "denominator", "expected"),
    [
        (1, 0, 1, 1), (38_493, 0, 1_000, 38_493), (0, 1_234, 2_345, 0), (1, 2, 1, 6), (1, 4, 2, 6), (1, 3, 1, 16),
        (1, 6, 2, 18), (1, 4, 1, 49), (1, 8, 2, 50), (10, 8, 2, 542), (11, 8, 2, 596), (1, 5, 1, 136), (1, 5, 2, 11),
        (2, 5, 2, 23), (1, 50_000_000, 2_225_652, 5_709_098_764),
    ],
)  # fmt: skip
def test_the_exponential_is_that_of_the_eip(factor: int, numerator: int, denominator: int, expected: int) -> None:
    assert _fake_exponential(factor, numerator, denominator) == expected


def test_the_schedule_that_is_active_at_a_blocks_time_counts() -> None:
    mainnet = PUBLIC_SCHEDULES[1]
    excess = Gas(50_000_000)
    by_fork = [blob_base_fee(excess, entry.time_s, mainnet) for entry in mainnet]
    assert by_fork == [_fake_exponential(1, excess, entry.update_fraction) for entry in mainnet]
    assert blob_base_fee(excess, mainnet[1].time_s - 1, mainnet) == by_fork[0]
    assert blob_base_fee(None, mainnet[0].time_s, mainnet) == 1
    assert blob_base_fee(Gas(0), mainnet[-1].time_s, mainnet) == 1
    assert blob_schedule(900)[0].update_fraction == 5_007_716
