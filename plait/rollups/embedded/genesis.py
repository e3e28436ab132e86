"""Genesis of an embedded rollup, in op-geth's genesis JSON: the same bytes start the native core and `op-geth init`.

Specification
    - Every L1 fork up to the chosen OP Stack fork is active from genesis; later ones are absent, not set to a far time.
    - Predeploys (OP Stack specs, predeploys) hold Plait's own runtime code directly, without proxies.
    - EIP-4788 and EIP-2935 system contracts hold the code that those EIPs publish.
    - The message passer 0x42..16 always has a non-empty storage: with an empty one op-geth's getPayload leaves
      `withdrawalsRoot` out and its own newPayload then refuses the block. The slot and value are those of an OP Stack
      proxy's admin, which is what real chains have there.
    - mixHash is the chain id: the chain configuration is not part of a block's hash, and rollups that differ in nothing
      else would share the hashes of their empty blocks.
    - With `interop` the predeploys of OP Stack interop are there too, and Plait's relay desk and relay fees; without it
      nothing of them is.
    - Equal specifications give equal bytes: keys are sorted and no clock is read.
Imports: plait.types, plait.errors, plait.interop (addresses), plait.rollups.contracts.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from plait.derivation.attributes import FORKS, L1_BLOCK, SEQUENCER_FEE_VAULT, Fork
from plait.errors import ConfigurationError
from plait.interop.messages import (
    CROSS_L2_INBOX,
    ETH_BRIDGE,
    ETH_LIQUIDITY,
    MESSENGER,
    RELAY_DESK,
    RELAY_FEES,
    TOKEN_BRIDGE,
)
from plait.rollups.contracts import artifact
from plait.rollups.embedded.accounts import DEVELOPMENT_ACCOUNTS
from plait.types import Address, ChainId, Gas, Seconds, Wei

DEVELOPMENT_BALANCE_WEI: Final = Wei(10_000 * 10**18)
"""What Anvil and supersim give each development account."""

# OP Stack specs, predeploys: the last two bytes of 0x4200..00XX.
WRAPPED_ETHER: Final = "4200000000000000000000000000000000000006"
GAS_PRICE_ORACLE: Final = "420000000000000000000000000000000000000f"
MESSAGE_PASSER: Final = "4200000000000000000000000000000000000016"
PROXY_ADMIN: Final = "4200000000000000000000000000000000000018"
BASE_FEE_VAULT: Final = "4200000000000000000000000000000000000019"
L1_FEE_VAULT: Final = "420000000000000000000000000000000000001a"
OPERATOR_FEE_VAULT: Final = "420000000000000000000000000000000000001b"
ETH_LIQUIDITY_BALANCE: Final = Wei(2**248 - 1)
"""What ETHLiquidity holds at the start: ether that is on other rollups, as far as this one knows (OP Stack specs)."""

# Where client libraries and deployment tools look for them on any chain.
MULTICALL: Final = "ca11bde05977b3631167028862be2a173976ca11"
DETERMINISTIC_DEPLOYER: Final = "4e59b44847b379578588920ca78fbf26c0b4956c"

# keccak256("eip1967.proxy.admin") - 1, EIP-1967
_PROXY_ADMIN_SLOT: Final = "b53127684a568b3173ae13b9f8a6016e243e63b6e8ee1178d6a717850b5d6103"

# EIP-4788, "Beacon block root in the EVM": address and code of the system contract
BEACON_ROOTS: Final = "000f3df6d732807ef1319fb7b8bb8522d0beac02"
_BEACON_ROOTS_CODE: Final = (
    "3373fffffffffffffffffffffffffffffffffffffffe14604d57602036146024575f5ffd5b5f35801560495762001fff810690815414603c575f5f"
    "fd5b62001fff01545f5260205ff35b5f5ffd5b62001fff42064281555f359062001fff015500"
)
# EIP-2935, "Serve historical block hashes from state": address and code of the system contract
BLOCK_HASH_HISTORY: Final = "0000f90827f1c53a10cb7a02335b175320002935"
_BLOCK_HASH_HISTORY_CODE: Final = (
    "3373fffffffffffffffffffffffffffffffffffffffe14604657602036036042575f35600143038111604257611fff81430311604257611fff9006"
    "545f5260205ff35b5f5ffd5b5f35611fff60014303065500"
)

# L1 forks by block number, all from genesis (op-geth's chain configuration)
_L1_BLOCK_FORKS: Final = (
    "homesteadBlock", "eip150Block", "eip155Block", "eip158Block", "byzantiumBlock", "constantinopleBlock",
    "petersburgBlock", "istanbulBlock", "muirGlacierBlock", "berlinBlock", "londonBlock", "arrowGlacierBlock",
    "grayGlacierBlock", "mergeNetsplitBlock", "bedrockBlock",
)  # fmt: skip
_TIME_FORKS_HOLOCENE: Final = (
    "shanghaiTime", "cancunTime", "regolithTime", "canyonTime", "ecotoneTime", "fjordTime", "graniteTime",
    "holoceneTime",
)  # fmt: skip
_TIME_FORKS_ISTHMUS: Final = ("pragueTime", "isthmusTime")
_TIME_FORKS_JOVIAN: Final = ("jovianTime",)


def development_balances(balance: Wei = DEVELOPMENT_BALANCE_WEI) -> dict[Address, Wei]:
    """The ten development accounts, each with `balance`."""
    return {account.address: balance for account in DEVELOPMENT_ACCOUNTS}


class GenesisSpecification(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that decides a rollup's genesis block.

    Fields:
        chain_id: 1 to 2**64 - 1.
        timestamp: time of block 0.
        gas_limit: of every block until the attributes say otherwise.
        eip1559_denominator, eip1559_elasticity: base fee rule, 1 to 2**32 - 1 (OP Stack specs, Holocene).
        base_fee: of block 0.
        min_base_fee: floor of the base fee (Jovian).
        balances: accounts funded besides the predeploys.
        fee_recipient: who may withdraw what the fee vaults collect.
        interop: whether the predeploys of OP Stack interop and Plait's relay contracts are there (docs/interop.md).
    """

    chain_id: ChainId
    timestamp: Seconds
    fork: Fork = "jovian"
    gas_limit: Gas = Gas(30_000_000)
    eip1559_denominator: int = 250
    eip1559_elasticity: int = 6
    base_fee: Wei = Wei(1_000_000_000)
    min_base_fee: Wei = Wei(0)
    balances: Mapping[Address, Wei] = msgspec.field(default_factory=development_balances)
    fee_recipient: Address = DEVELOPMENT_ACCOUNTS[0].address
    interop: bool = False

    def __post_init__(self) -> None:
        """Refuses values that no genesis can hold."""
        bounds = (
            ("chain_id", self.chain_id, 1, 2**64),
            ("timestamp", self.timestamp, 0, 2**64),
            ("gas_limit", self.gas_limit, 5_000, 2**63),  # 5,000: go-ethereum's minimum; 2**63: its maximum
            ("eip1559_denominator", self.eip1559_denominator, 1, 2**32),
            ("eip1559_elasticity", self.eip1559_elasticity, 1, 2**32),
            ("base_fee", self.base_fee, 0, 2**64),
            ("min_base_fee", self.min_base_fee, 0, 2**64),
        )
        for name, value, low, high in bounds:
            if not low <= value < high:
                raise ConfigurationError(f"{name} of a genesis must be {low} to {high - 1}, not {value}", value=value)
        if self.fork not in FORKS:
            raise ConfigurationError(f"fork must be one of {', '.join(FORKS)}, not {self.fork!r}", value=self.fork)


def extra_data(specification: GenesisSpecification) -> bytes:
    """Header field of block 0 that carries the base fee rule.

    Source: OP Stack specs, Holocene (version 0: denominator, elasticity) and Jovian (version 1: and minimum base fee).
    """
    rule = specification.eip1559_denominator.to_bytes(4, "big") + specification.eip1559_elasticity.to_bytes(4, "big")
    if specification.fork == "jovian":
        return b"\x01" + rule + specification.min_base_fee.to_bytes(8, "big")
    return b"\x00" + rule


def chain_configuration(specification: GenesisSpecification) -> dict[str, Any]:
    """The `config` object: which forks are active, and the OP Stack's base fee constants."""
    config: dict[str, Any] = {"chainId": specification.chain_id, "terminalTotalDifficulty": 0}
    config.update(dict.fromkeys(_L1_BLOCK_FORKS, 0))
    config.update(dict.fromkeys(_TIME_FORKS_HOLOCENE, 0))
    if specification.fork != "holocene":
        config.update(dict.fromkeys(_TIME_FORKS_ISTHMUS, 0))
    if specification.fork == "jovian":
        config.update(dict.fromkeys(_TIME_FORKS_JOVIAN, 0))
    config["optimism"] = {
        "eip1559Elasticity": specification.eip1559_elasticity,
        "eip1559Denominator": specification.eip1559_denominator,
        "eip1559DenominatorCanyon": specification.eip1559_denominator,
    }
    return config


def genesis_document(specification: GenesisSpecification) -> dict[str, Any]:
    """The whole genesis as a JSON object (op-geth's format; addresses in `alloc` are lower-case hex without 0x)."""
    return {
        "config": chain_configuration(specification),
        "nonce": "0x0",
        "timestamp": hex(specification.timestamp),
        "extraData": "0x" + extra_data(specification).hex(),
        "gasLimit": hex(specification.gas_limit),
        "difficulty": "0x0",
        "mixHash": _word(specification.chain_id),
        "coinbase": "0x" + SEQUENCER_FEE_VAULT,
        "baseFeePerGas": hex(specification.base_fee),
        "excessBlobGas": "0x0",
        "blobGasUsed": "0x0",
        "alloc": _allocation(specification),
    }


def genesis_json(specification: GenesisSpecification) -> bytes:
    """The genesis as JSON bytes; equal specifications give equal bytes."""
    return msgspec.json.encode(genesis_document(specification), order="sorted")


def _allocation(specification: GenesisSpecification) -> dict[str, dict[str, Any]]:
    """Accounts of block 0: funded ones, predeploys, system contracts.

    Raises:
        ConfigurationError: a funded account has the address of a predeploy.
    """
    accounts = _contracts(specification)
    for address, balance in specification.balances.items():
        key = address.hex()
        if key in accounts:
            raise ConfigurationError(f"0x{key} is a predeploy and cannot be funded by the genesis", address=address)
        if not 0 <= balance < 2**256:
            raise ConfigurationError(f"balance of 0x{key} must be 0 to 2**256 - 1 wei", value=balance)
        accounts[key] = {"balance": hex(balance)}
    return accounts


def _contracts(specification: GenesisSpecification) -> dict[str, dict[str, Any]]:
    """Predeploys and system contracts of the chosen fork. A contract's nonce is 1, as after creation (EIP-161)."""
    recipient = specification.fee_recipient.hex()
    # FeeVault's storage: slot 1 packs recipient (low 20 bytes) and withdrawalNetwork (next byte; 1 = on this rollup)
    vault = {_word(1): "0x" + "01".rjust(24, "0") + recipient}
    # GasPriceOracle's slot 0: isEcotone, isFjord, isIsthmus, isJovian, one byte each from the lowest
    flags = {"holocene": 0x0101, "isthmus": 0x010101, "jovian": 0x01010101}[specification.fork]
    proxy_admin = {"0x" + _PROXY_ADMIN_SLOT: "0x" + PROXY_ADMIN.rjust(64, "0")}
    contracts = {
        WRAPPED_ETHER: _predeploy("WrappedEther"),
        GAS_PRICE_ORACLE: _predeploy("GasPriceOracle", {_word(0): _word(flags)}),
        L1_BLOCK: _predeploy("L1Block"),
        MESSAGE_PASSER: _predeploy("L2ToL1MessagePasser", proxy_admin),
        SEQUENCER_FEE_VAULT: _predeploy("FeeVault", vault),
        BASE_FEE_VAULT: _predeploy("FeeVault", vault),
        L1_FEE_VAULT: _predeploy("FeeVault", vault),
        MULTICALL: _predeploy("Multicall"),
        DETERMINISTIC_DEPLOYER: _predeploy("DeterministicDeployer"),
        BEACON_ROOTS: _account("0x" + _BEACON_ROOTS_CODE, {}),
    }
    if specification.fork != "holocene":
        contracts[OPERATOR_FEE_VAULT] = _predeploy("FeeVault", vault)
        contracts[BLOCK_HASH_HISTORY] = _account("0x" + _BLOCK_HASH_HISTORY_CODE, {})
    if specification.interop:
        contracts |= _interop_contracts()
    return contracts


def _interop_contracts() -> dict[str, dict[str, Any]]:
    """Predeploys of OP Stack interop (OP Stack specs, interop/predeploys.md), and Plait's own relay contracts."""
    return {
        CROSS_L2_INBOX.hex(): _predeploy("CrossL2Inbox"),
        MESSENGER.hex(): _predeploy("L2ToL2CrossDomainMessenger"),
        ETH_BRIDGE.hex(): _predeploy("SuperchainETHBridge"),
        ETH_LIQUIDITY.hex(): _predeploy("ETHLiquidity") | {"balance": hex(ETH_LIQUIDITY_BALANCE)},
        TOKEN_BRIDGE.hex(): _predeploy("SuperchainTokenBridge"),
        RELAY_DESK.hex(): _predeploy("RelayDesk"),
        RELAY_FEES.hex(): _predeploy("RelayFees"),
    }


def _predeploy(name: str, storage: Mapping[str, str] | None = None) -> dict[str, Any]:
    return _account("0x" + artifact(name).runtime_code.hex(), storage or {})


def _account(code: str, storage: Mapping[str, str]) -> dict[str, Any]:
    account: dict[str, Any] = {"balance": "0x0", "nonce": "0x1", "code": code}
    if storage:
        account["storage"] = dict(storage)
    return account


def _word(value: int) -> str:
    return "0x" + value.to_bytes(32, "big").hex()
