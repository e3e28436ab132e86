"""What the SystemConfig contract says on L1 is what derivation understands, and only its owner can say it."""

from __future__ import annotations

from typing import Any

import pytest
from contracts_l1 import L1
from eth_utils import keccak
from web3.contract import Contract

from plait.derivation.system_config import NO_BATCHER, SystemConfig, apply_update, update_of_log
from plait.types import Address

pytestmark = pytest.mark.node_js

EMPTY = SystemConfig(
    batcher=NO_BATCHER,
    gas_limit=0,
    base_fee_scalar=0,
    blob_base_fee_scalar=0,
    eip1559_denominator=0,
    eip1559_elasticity=0,
    operator_fee_scalar=0,
    operator_fee_constant=0,
    min_base_fee=0,
    da_footprint_gas_scalar=0,
)
OWNER = 8
UNSAFE_BLOCK_SIGNER = 3
"""Type of the update that derivation ignores."""


def after(receipt: Any, system: SystemConfig) -> SystemConfig:
    """The configuration that derivation has after a receipt's logs; each must be an update that it knows, but for the
    unsafe block signer's, which is no part of derivation."""
    for log in receipt["logs"]:
        topics = [bytes(topic) for topic in log["topics"]]
        update = update_of_log(topics, bytes(log["data"]))
        assert (update is None) == (topics[2][-1] == UNSAFE_BLOCK_SIGNER)
        system = system if update is None else apply_update(system, update)
    return system


def raw(address: str) -> Address:
    return Address(bytes.fromhex(address[2:]))


@pytest.fixture
def config(l1: L1) -> Contract:
    return deployed(l1)


def deployed(l1: L1, **changes: Any) -> Contract:
    start = {
        "batcher": l1.accounts[9],
        "basefeeScalar": 1_368,
        "blobbasefeeScalar": 810_949,
        "gasLimit": 30_000_000,
        "unsafeBlockSigner": l1.accounts[7],
        "batchInbox": l1.accounts[6],
        "portal": l1.accounts[5],
        "l2ChainId": 901,
    }
    return l1.deploy("SystemConfig", l1.accounts[OWNER], tuple({**start, **changes}.values()))


SETTERS: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    ("setBatcherHash(address)", ("account 1",), {"batcher": "account 1"}),
    ("setGasConfigEcotone", (2**32 - 1, 1), {"base_fee_scalar": 2**32 - 1, "blob_base_fee_scalar": 1}),
    ("setGasLimit", (60_000_000,), {"gas_limit": 60_000_000}),
    ("setUnsafeBlockSigner", ("account 2",), {}),
    ("setEIP1559Params", (250, 6), {"eip1559_denominator": 250, "eip1559_elasticity": 6}),
    (
        "setOperatorFeeScalars",
        (2**32 - 1, 2**64 - 1),
        {"operator_fee_scalar": 2**32 - 1, "operator_fee_constant": 2**64 - 1},
    ),
    ("setMinBaseFee", (2**64 - 1,), {"min_base_fee": 2**64 - 1}),
    ("setDAFootprintGasScalar", (2**16 - 1,), {"da_footprint_gas_scalar": 2**16 - 1}),
]


def call_of(l1: L1, config: Contract, name: str, arguments: tuple[Any, ...]) -> Any:
    filled = [l1.accounts[int(one.split()[1])] if isinstance(one, str) else one for one in arguments]
    return config.get_function_by_signature(name)(*filled) if "(" in name else config.functions[name](*filled)


@pytest.mark.parametrize(("name", "arguments", "changes"), SETTERS, ids=[name for name, _, _ in SETTERS])
def test_each_setter_changes_its_field_alone(
    l1: L1, config: Contract, name: str, arguments: tuple[Any, ...], changes: dict[str, Any]
) -> None:
    """Derivation sees the owner's value in the setter's own fields and nowhere else; a stranger's call is refused."""
    call = call_of(l1, config, name, arguments)
    assert l1.refused(call, sender=1)[0] == "OwnableUnauthorizedAccount"
    receipt = l1.send(call, sender=OWNER, what=f"SystemConfig.{name.split('(', maxsplit=1)[0]}")
    seen = after(receipt, EMPTY)
    for field in SystemConfig.__struct_fields__:
        wanted = changes.get(field, getattr(EMPTY, field))
        assert getattr(seen, field) == (raw(l1.accounts[1]) if wanted == "account 1" else wanted), field


def test_a_deployment_announces_its_start(l1: L1) -> None:
    """Batcher, scalars and gas limit are announced by the constructor; the rest begins with the chain's own values."""
    config = deployed(l1)
    (receipt,) = [l1.web3.eth.get_transaction_receipt(one) for one in l1.web3.eth.get_block("latest")["transactions"]]
    own = [log for log in receipt["logs"] if log["topics"][0] == keccak(text="ConfigUpdate(uint256,uint8,bytes)")]
    seen = after({"logs": own}, EMPTY)
    assert (seen.batcher, seen.gas_limit) == (raw(l1.accounts[9]), 30_000_000)
    assert (seen.base_fee_scalar, seen.blob_base_fee_scalar) == (1_368, 810_949)
    assert config.functions.startBlock().call() == receipt["blockNumber"]


def test_the_signers_slot_is_where_op_node_looks(l1: L1, config: Contract) -> None:
    """The unsafe block signer fills slot 0x65a7ed54…1c08, whose proof op-node asks for; it is never empty."""
    slot = "0x65a7ed542fb37fe237fdfbdd70b31598523fe5b32879e307bae27a0bd9581c08"
    assert bytes(l1.web3.eth.get_storage_at(config.address, slot))[12:] == raw(l1.accounts[7])
    l1.send(config.functions.setUnsafeBlockSigner(l1.accounts[3]), sender=OWNER)
    assert bytes(l1.web3.eth.get_storage_at(config.address, slot))[12:] == raw(l1.accounts[3])
    assert config.functions.unsafeBlockSigner().call() == l1.accounts[3]
    zero = "0x" + "00" * 20
    assert l1.refused(config.functions.setUnsafeBlockSigner(zero), sender=OWNER)[0] == "ZeroSigner"


@pytest.mark.parametrize(
    ("name", "arguments", "error"),
    [
        ("setGasLimit", (20_999_999,), "GasLimitOutOfBounds"),
        ("setGasLimit", (500_000_001,), "GasLimitOutOfBounds"),
        ("setEIP1559Params", (0, 6), "ZeroDenominator"),
        ("setEIP1559Params", (50, 0), "ZeroElasticity"),
    ],
)
def test_values_that_would_break_the_rollup_are_refused(
    l1: L1, config: Contract, name: str, arguments: tuple[int, ...], error: str
) -> None:
    """Gas limits below what deposits may take, or above the bound, and zero divisors never get into the log."""
    assert l1.refused(call_of(l1, config, name, arguments), sender=OWNER)[0] == error


def test_ownership_moves_in_two_steps(l1: L1, config: Contract) -> None:
    """A new owner must accept; until then the old one stays, and nobody else can accept."""
    l1.send(config.functions.transferOwnership(l1.accounts[3]), sender=OWNER)
    assert l1.refused(config.functions.acceptOwnership(), sender=4)[0] == "OwnableUnauthorizedAccount"
    l1.send(config.functions.setMinBaseFee(1), sender=OWNER)
    l1.send(config.functions.acceptOwnership(), sender=3)
    assert l1.refused(config.functions.setMinBaseFee(2), sender=OWNER)[0] == "OwnableUnauthorizedAccount"
    l1.send(config.functions.setMinBaseFee(2), sender=3)
