"""The genesis of an embedded rollup: deterministic, complete, and funded by accounts that anyone can derive."""

from __future__ import annotations

import json

import msgspec
import pytest
from eth_account import Account

from plait.derivation.attributes import FORKS, L1_BLOCK, Fork
from plait.errors import ConfigurationError
from plait.native import Rollup, Store, keccak256
from plait.rollups.contracts import artifact
from plait.rollups.embedded.accounts import DEVELOPMENT_ACCOUNTS, DEVELOPMENT_MNEMONIC, DEVELOPMENT_RELAYER
from plait.rollups.embedded.genesis import (
    MESSAGE_PASSER,
    OPERATOR_FEE_VAULT,
    GenesisSpecification,
    genesis_document,
    genesis_json,
)
from plait.types import Address, ChainId, Seconds, Wei

BASE = GenesisSpecification(chain_id=ChainId(901), timestamp=Seconds(1_700_000_000))


def test_development_accounts_derive_from_their_mnemonic() -> None:
    """Addresses and keys of the table are those of m/44'/60'/0'/0/i of the mnemonic."""
    Account.enable_unaudited_hdwallet_features()
    for index, account in enumerate(DEVELOPMENT_ACCOUNTS):
        derived = Account.from_mnemonic(DEVELOPMENT_MNEMONIC, account_path=f"m/44'/60'/0'/0/{index}")
        assert (derived.address, bytes(derived.key)) == (account.address_text, account.private_key)
        assert account.address.hex() == account.address_text[2:].lower()
    assert len(DEVELOPMENT_ACCOUNTS) == 10
    relayer = Account.from_mnemonic(DEVELOPMENT_MNEMONIC, account_path="m/44'/60'/0'/0/19")
    assert (relayer.address, bytes(relayer.key)) == (DEVELOPMENT_RELAYER.address_text, DEVELOPMENT_RELAYER.private_key)
    assert DEVELOPMENT_RELAYER.address.hex() == relayer.address[2:].lower()


def test_equal_specifications_give_equal_bytes() -> None:
    """The JSON depends on values only: the order in which balances were given does not show."""
    balances = {Address(bytes([i]) * 20): Wei(i) for i in range(1, 9)}
    forwards = msgspec.structs.replace(BASE, balances=balances)
    backwards = msgspec.structs.replace(BASE, balances=dict(reversed(balances.items())))
    assert genesis_json(forwards) == genesis_json(backwards)
    assert json.loads(genesis_json(BASE))["config"]["chainId"] == 901


@pytest.mark.parametrize("fork", FORKS)
def test_fork_decides_configuration_and_header(fork: Fork) -> None:
    """Forks after the chosen one are absent, and extraData has the version of the chosen one."""
    document = genesis_document(msgspec.structs.replace(BASE, fork=fork))
    config = document["config"]
    assert ("isthmusTime" in config, "jovianTime" in config) == (fork != "holocene", fork == "jovian")
    assert ("isthmusTime" in config) == ("pragueTime" in config)
    expected = {"jovian": "0x01000000fa000000060000000000000000"}.get(fork, "0x00000000fa00000006")
    assert document["extraData"] == expected
    assert (OPERATOR_FEE_VAULT in document["alloc"]) == (fork != "holocene")


def test_rollups_of_one_network_have_different_genesis_hashes() -> None:
    """Two rollups that differ in their chain id only do not share a genesis hash, though the hash leaves the id out."""
    other = msgspec.structs.replace(BASE, chain_id=ChainId(902))
    hashes = {Rollup.from_genesis(genesis_json(item), Store.in_memory()).genesis_hash for item in (BASE, other)}
    assert len(hashes) == 2


def test_message_passer_has_storage() -> None:
    """An empty storage of 0x42..16 would make op-geth drop withdrawalsRoot from its payloads."""
    storage = genesis_document(BASE)["alloc"][MESSAGE_PASSER]["storage"]
    assert storage
    assert all(int(value, 16) != 0 for value in storage.values())


@pytest.mark.parametrize(
    "change",
    [{"chain_id": 0}, {"gas_limit": 4_999}, {"eip1559_denominator": 0}, {"fork": "karst"}, {"min_base_fee": 2**64}],
)
def test_unusable_values_are_refused(change: dict[str, int]) -> None:
    """A specification that no client accepts is refused when it is made."""
    with pytest.raises(ConfigurationError):
        msgspec.structs.replace(BASE, **change)


def test_predeploys_cannot_be_funded() -> None:
    """A balance for a predeploy's address would silently replace its code."""
    with pytest.raises(ConfigurationError, match="predeploy"):
        genesis_json(msgspec.structs.replace(BASE, balances={Address(bytes.fromhex(L1_BLOCK)): Wei(1)}))


@pytest.mark.parametrize(
    ("contract", "signatures"),
    [
        (
            "L1Block",
            "number() timestamp() basefee() hash() sequenceNumber() blobBaseFeeScalar() baseFeeScalar() batcherHash() "
            "l1FeeOverhead() l1FeeScalar() blobBaseFee() operatorFeeConstant() operatorFeeScalar() DEPOSITOR_ACCOUNT() "
            "daFootprintGasScalar() setL1BlockValues(uint64,uint64,uint256,bytes32,uint64,bytes32,uint256,uint256) "
            "setL1BlockValuesEcotone() setL1BlockValuesIsthmus() setL1BlockValuesJovian()",
        ),
        (
            "GasPriceOracle",
            "getL1Fee(bytes) getL1FeeUpperBound(uint256) getL1GasUsed(bytes) getOperatorFee(uint256) l1BaseFee() "
            "blobBaseFee() baseFeeScalar() blobBaseFeeScalar() decimals() gasPrice() baseFee() isEcotone() isFjord() "
            "isIsthmus() isJovian()",
        ),
        (
            "L2ToL1MessagePasser",
            "initiateWithdrawal(address,uint256,bytes) messageNonce() sentMessages(bytes32) burn() MESSAGE_VERSION()",
        ),
        (
            "FeeVault",
            "withdraw() RECIPIENT() recipient() MIN_WITHDRAWAL_AMOUNT() minWithdrawalAmount() WITHDRAWAL_NETWORK() "
            "withdrawalNetwork() totalProcessed() l1FeeWallet()",
        ),
        (
            "WrappedEther",
            "deposit() withdraw(uint256) balanceOf(address) transfer(address,uint256) approve(address,uint256) "
            "transferFrom(address,address,uint256) allowance(address,address) totalSupply() name() symbol() decimals()",
        ),
    ],
)
def test_predeploys_offer_the_published_functions(contract: str, signatures: str) -> None:
    """Every function of the published interface is in the runtime code's dispatch."""
    code = artifact(contract).runtime_code
    for signature in signatures.split():
        # PUSH4 selector; solc drops leading zero bytes (PUSH3) where there are any
        assert keccak256(signature.encode())[:4].lstrip(b"\0") in code, f"{contract} lacks {signature}"
