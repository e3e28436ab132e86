"""Deposits and L1 attributes have exactly the bytes that the OP Stack publishes.

Vectors: source hashes from ethereum-optimism/optimism op-node/rollup/derive/deposit_source_test.go and its L1-info
test; the Ecotone transaction from op-alloy's deposit tests; the Jovian calldata is that of BOB mainnet block
38,821,851.
"""

from __future__ import annotations

import pytest

from plait.derivation.attributes import (
    L1BlockInfo,
    block_attributes,
    l1_attributes_data,
    l1_attributes_deposit,
    l1_attributes_source_hash,
    upgrade_source_hash,
    user_deposit_source_hash,
)
from plait.derivation.system_config import system_of
from plait.errors import ConfigurationError
from plait.types import Address, BlockNumber, Hash32, OrderingPolicy, RollupId, RollupParameters, Seconds, Wei

ECOTONE_TRANSACTION = (
    "7ef8f8a0871ec5fb6afe7e5ae950bbb4cfd7d7cb277b413e67da806d50834a814b14c9f494deaddeaddeaddeaddeaddeaddeaddeaddead000194"
    "42000000000000000000000000000000000000158080830f424080b8a4440a5e20000008dd00101c12000000000000000400000000681c941f00"
    "00000001566261000000000000000000000000000000000000000000000000000000005f629c0200000000000000000000000000000000000000"
    "00000000000000000000000001937badfbcce566e0ba932a3f7659644aa0c6ef019541d3134a1d8cb9f84d45c7000000000000000000000000"
    "5050f69a9786f081509234f1a7f4684b5e5b76c9"
)
JOVIAN_DATA = (
    "3db6be2b001e8480000955060000000000000004000000006ab8f29700000000018dc5200000000000000000000000000000000000000000"
    "000000000000000003ea758700000000000000000000000000000000000000000000000000000000003b927cc8d0ea7508cfe24b335f09e9"
    "85abf1e80cc7bc6996339304fe6698e418be29aa00000000000000000000000008f9f14ff43e112b18c96f0986f28cb1878f1d1100000000"
    "00000da475abf0000190"
)


def parameters(**changes: int) -> RollupParameters:
    values: dict[str, int] = {
        "gas_limit": 30_000_000,
        "da_footprint_gas_scalar": 0,
        "min_base_fee": 0,
        "operator_fee_scalar": 0,
        "operator_fee_constant": 0,
        "base_fee_scalar": 0,
        "blob_base_fee_scalar": 0,
        **changes,
    }
    return RollupParameters(
        rollup_id=RollupId(901),
        genesis_hash=Hash32(bytes(32)),
        block_time_slots=1,
        ordering=OrderingPolicy.PRIORITY_FEE,
        eip1559_denominator=250,
        eip1559_elasticity=6,
        **values,  # type: ignore[arg-type]
    )


def l1_block(number: int, hash_text: str, timestamp: int, base_fee: int, blob_base_fee: int) -> L1BlockInfo:
    return L1BlockInfo(
        number=BlockNumber(number),
        hash=Hash32(bytes.fromhex(hash_text)),
        timestamp=Seconds(timestamp),
        base_fee=Wei(base_fee),
        blob_base_fee=Wei(blob_base_fee),
        prev_randao=Hash32(b"\x11" * 32),
        parent_beacon_block_root=Hash32(b"\x22" * 32),
    )


def test_source_hash_of_l1_attributes() -> None:
    """Domain 1: L1 block hash and sequence number."""
    l1_hash = Hash32(bytes.fromhex("c00e5d67c2755389aded7d8b151cbd5bcdf7ed275ad5e028b664880fc7581c77"))
    expected = "0586c503340591999b8b38bc9834bb16aec7d5bc00eb5587ab139c9ddab81977"
    assert l1_attributes_source_hash(l1_hash, 4).hex() == expected


@pytest.mark.parametrize(
    ("intent", "expected"),
    [
        ("Ecotone: L1 Block Proxy Update", "18acb38c5ff1c238a7460ebc1b421fa49ec4874bdf1e0a530d234104e5e67dbc"),
        (
            "Ecotone: beacon block roots contract deployment",
            "69b763c48478b9dc2f65ada09b3d92133ec592ea715ec65ad6e7f3dc519dc00c",
        ),
    ],
)
def test_source_hash_of_upgrades(intent: str, expected: str) -> None:
    """Domain 2: the sentence of intent."""
    assert upgrade_source_hash(intent).hex() == expected


def test_source_hash_domains_differ() -> None:
    """A user's deposit and the L1 attributes never share a source hash for equal numbers."""
    l1_hash = Hash32(b"\x07" * 32)
    assert user_deposit_source_hash(l1_hash, 3) != l1_attributes_source_hash(l1_hash, 3)


def test_ecotone_transaction_is_reproduced() -> None:
    """Fields of a real Ecotone L1-attributes transaction encode to its published bytes, source hash included."""
    origin = l1_block(
        0x1566261, "937badfbcce566e0ba932a3f7659644aa0c6ef019541d3134a1d8cb9f84d45c7", 0x681C941F, 0x5F629C02, 1
    )
    batcher = Address(bytes.fromhex("5050f69a9786f081509234f1a7f4684b5e5b76c9"))
    raw = l1_attributes_deposit(
        origin, 4, system_of(parameters(base_fee_scalar=0x8DD, blob_base_fee_scalar=0x101C12), batcher), "holocene"
    )
    assert raw.hex() == ECOTONE_TRANSACTION


def test_jovian_data_is_reproduced() -> None:
    """Fields of a real Jovian block encode to its published calldata; a DA scalar of 0 is written as 400."""
    data = bytes.fromhex(JOVIAN_DATA)
    origin = l1_block(
        int.from_bytes(data[28:36], "big"),
        data[100:132].hex(),
        int.from_bytes(data[20:28], "big"),
        int.from_bytes(data[36:68], "big"),
        int.from_bytes(data[68:100], "big"),
    )
    for scalar in (0, 400):
        configured = parameters(
            base_fee_scalar=0x1E8480,
            blob_base_fee_scalar=0x95506,
            operator_fee_constant=15_000_000_000_000,
            da_footprint_gas_scalar=scalar,
        )
        batcher = Address(bytes.fromhex("08f9f14ff43e112b18c96f0986f28cb1878f1d11"))
        assert l1_attributes_data(origin, 4, system_of(configured, batcher), "jovian") == data


def test_isthmus_data_is_jovian_without_footprint_scalar() -> None:
    """Isthmus data is 176 bytes with its own selector and otherwise Jovian's prefix."""
    origin = l1_block(5, "ab" * 32, 1000, 7, 1)
    jovian = l1_attributes_data(origin, 0, system_of(parameters(operator_fee_scalar=9)), "jovian")
    isthmus = l1_attributes_data(origin, 0, system_of(parameters(operator_fee_scalar=9)), "isthmus")
    assert isthmus == bytes.fromhex("098999be") + jovian[4:-2]
    assert (len(isthmus), len(jovian)) == (176, 178)


def test_user_deposits_only_open_an_epoch() -> None:
    """A block with sequence number above 0 cannot carry user deposits."""
    origin = l1_block(5, "ab" * 32, 1000, 7, 1)
    block_attributes(Seconds(1000), origin, 0, system_of(parameters()), deposits=[b"\x7e\xc0"])
    with pytest.raises(ConfigurationError, match="first block of their L1 origin"):
        block_attributes(Seconds(1002), origin, 1, system_of(parameters()), deposits=[b"\x7e\xc0"])
