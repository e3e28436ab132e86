"""network.json: validators, accounts and ledger parameters are read as written; what cannot be used is named."""

from typing import Any

import msgspec
import pytest

from plait.errors import ConfigurationError
from plait.ledger.parameters import TOKEN
from plait.node.config import (
    AccountConfig,
    NetworkConfig,
    RollupConfig,
    ValidatorConfig,
    decode_network,
)


def validator(at: int, **changes: Any) -> ValidatorConfig:
    fields: dict[str, Any] = {"operator": f"0x{at:040x}", "public_key": f"0x{at:064x}", "stake": 10 * TOKEN}
    return ValidatorConfig(**(fields | changes))


def network(**changes: Any) -> NetworkConfig:
    fields: dict[str, Any] = {
        "genesis_time_s": 1_700_000_000,
        "rollups": (RollupConfig(chain_id=901),),
        "validators": (validator(1), validator(2)),
        "accounts": (AccountConfig(address=f"0x{7:040x}", balance=10**27),),
        "ledger": {"epoch_heights": 40},
    }
    return NetworkConfig(**(fields | changes))


def test_a_network_is_read_as_it_was_written() -> None:
    written = network()
    found = decode_network(written.encode(), "network.json")
    assert found == written
    assert found.encode() == written.encode()
    assert found.ledger_parameters().epoch_heights == 40
    assert found.validators[1].operator_address() == bytes(19) + b"\x02"
    assert found.validators[1].key_bytes() == bytes(31) + b"\x02"


def test_a_network_without_validators_is_a_devnet_as_before() -> None:
    text = b'{"genesis_time_s": 1700000000, "rollups": [{"chain_id": 901}]}'
    found = decode_network(text, "network.json")
    assert (found.validators, found.accounts, found.ledger, found.mode) == ((), (), {}, "marketplace")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"validators": (validator(1), validator(1, public_key=f"0x{9:064x}"))}, "operator_duplicate"),
        ({"validators": (validator(1), validator(2, public_key=f"0x{1:064x}"))}, "public_key_duplicate"),
        ({"validators": (validator(1, operator="0x12"),)}, "address_malformed"),
        ({"validators": (validator(1, public_key="12" * 32),)}, "public_key_malformed"),
        ({"validators": (validator(1, stake=TOKEN - 1),)}, "stake_too_small"),
        ({"validators": (validator(1, stake=2**61 * TOKEN),)}, "stake_too_large"),
        ({"accounts": (AccountConfig(address=f"0x{7:040x}", balance=-1),)}, "balance_negative"),
        ({"accounts": (AccountConfig(address=f"0x{7:040x}", balance=1),) * 2}, "account_duplicate"),
        ({"mode": "single_operator"}, "validator_count"),
        ({"ledger": {"epoch_hieghts": 40}}, "ledger_parameter_unknown"),
        ({"ledger": {"epoch_heights": 0}}, "ledger_parameter_out_of_range"),
    ],
)
def test_what_cannot_be_used_is_named(changes: dict[str, Any], code: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        network(**changes).check()
    assert refused.value.code == code


def test_a_field_of_another_type_is_named() -> None:
    text = msgspec.json.encode(msgspec.to_builtins(network()) | {"mode": "everybody"})
    with pytest.raises(ConfigurationError, match="mode"):
        decode_network(text, "network.json")
