"""Genesis files, deposits and signed transactions that the native tests drive the core with."""

import json

import rlp
from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_utils import keccak

from plait.native import Attributes, Refusal, Transaction, decode_transactions

CHAIN_ID = 901
GWEI = 10**9
ETHER = 10**18
VAULT = bytes.fromhex("4200000000000000000000000000000000000011")
L1_BLOCK = bytes.fromhex("4200000000000000000000000000000000000015")
DEPOSITOR = bytes.fromhex("deaddeaddeaddeaddeaddeaddeaddeaddead0001")
MESSAGE_PASSER = "4200000000000000000000000000000000000016"
ALICE: LocalAccount = Account.from_key("0x" + "11" * 32)
BOB: LocalAccount = Account.from_key("0x" + "22" * 32)
GENESIS_TIME = 1_700_000_000

# PUSH1 0 CALLDATALOAD PUSH1 0 SSTORE, then LOG1 with topic 7 over the first word, then return it.
WRITER_CODE = bytes.fromhex("600035600055600035600052600760206000a160206000f3")
WRITER = bytes.fromhex("c0de" + "00" * 17 + "01")
# Reverts with Error("no").
REVERTER_CODE = bytes.fromhex(
    "6308c379a060e01b600052602060045260026024527f6e6f0000000000000000000000000000000000000000000000000000000000006044526064"
    "6000fd"
)
REVERTER = bytes.fromhex("c0de" + "00" * 17 + "02")


def address(account: LocalAccount) -> bytes:
    """20 bytes of an account's address."""
    return bytes.fromhex(account.address[2:])


def genesis(**changes: object) -> bytes:
    """A Jovian genesis with Alice and Bob funded and two small contracts; `changes` replace top-level fields."""
    forks = ("canyon", "ecotone", "fjord", "granite", "holocene", "isthmus", "jovian")
    config: dict[str, object] = {
        "chainId": CHAIN_ID,
        "bedrockBlock": 0,
        "regolithTime": 0,
        "shanghaiTime": 0,
        "cancunTime": 0,
        "pragueTime": 0,
        "terminalTotalDifficulty": 0,
        "optimism": {"eip1559Elasticity": 6, "eip1559Denominator": 50, "eip1559DenominatorCanyon": 250},
    }
    config |= {f"{fork}Time": 0 for fork in forks}
    root: dict[str, object] = {
        "config": config,
        "nonce": "0x0",
        "timestamp": hex(GENESIS_TIME),
        "extraData": "0x01000000fa000000060000000000000000",
        "gasLimit": "0x1c9c380",
        "difficulty": "0x0",
        "mixHash": "0x" + "00" * 32,
        "coinbase": "0x" + VAULT.hex(),
        "baseFeePerGas": "0x3b9aca00",
        "alloc": {
            ALICE.address[2:]: {"balance": hex(1000 * ETHER)},
            BOB.address: {"balance": str(1000 * ETHER)},
            MESSAGE_PASSER: {
                "balance": "0x0",
                "storage": {"0xb53127684a568b3173ae13b9f8a6016e243e63b6e8ee1178d6a717850b5d6103": "0x01"},
            },
            WRITER.hex(): {"balance": "0x0", "code": "0x" + WRITER_CODE.hex()},
            REVERTER.hex(): {"balance": "0x0", "code": "0x" + REVERTER_CODE.hex()},
        },
    }
    return json.dumps(root | changes).encode()


def l1_info(sequence: int, da_footprint_scalar: int = 400) -> bytes:
    """The raw Jovian L1-attributes deposit of the block with this sequence number."""
    l1_hash = keccak(b"l1 block")
    data = (
        bytes.fromhex("3db6be2b")
        + (1368).to_bytes(4, "big")
        + (810_949).to_bytes(4, "big")
        + sequence.to_bytes(8, "big")
        + GENESIS_TIME.to_bytes(8, "big")
        + (1).to_bytes(8, "big")
        + (7 * GWEI).to_bytes(32, "big")
        + (1).to_bytes(32, "big")
        + l1_hash
        + bytes(32)
        + bytes(12)
        + da_footprint_scalar.to_bytes(2, "big")
    )
    source = keccak((1).to_bytes(32, "big") + keccak(l1_hash + sequence.to_bytes(32, "big")))
    return deposit(source, DEPOSITOR, L1_BLOCK, gas_limit=1_000_000, data=data)


def deposit(
    source: bytes,
    sender: bytes,
    to: bytes,
    *,
    mint: int = 0,
    value: int = 0,
    gas_limit: int = 100_000,
    data: bytes = b"",
) -> bytes:
    """A raw 0x7E transaction."""
    return b"\x7e" + rlp.encode([source, sender, to, mint, value, gas_limit, 0, data])


def attributes(sequence: int, *, deposits: list[bytes] | None = None, gas_limit: int = 30_000_000) -> Attributes:
    """Attributes of the block `sequence` blocks after genesis, two seconds apart."""
    return Attributes(
        timestamp=GENESIS_TIME + 2 * sequence,
        prev_randao=keccak(sequence.to_bytes(8, "big")),
        fee_recipient=VAULT,
        parent_beacon_block_root=bytes(32),
        gas_limit=gas_limit,
        deposits=[l1_info(sequence), *(deposits or [])],
        eip1559_denominator=250,
        eip1559_elasticity=6,
        min_base_fee=0,
    )


def sign(account: LocalAccount, nonce: int, to: bytes | None, **fields: object) -> bytes:
    """Raw bytes of a signed EIP-1559 transaction."""
    request: dict[str, object] = {
        "type": 2,
        "chainId": CHAIN_ID,
        "nonce": nonce,
        "gas": 100_000,
        "maxFeePerGas": 2 * GWEI,
        "maxPriorityFeePerGas": 1,
        "value": 0,
    }
    if to is not None:
        request["to"] = to
    return bytes(account.sign_transaction(request | fields).raw_transaction)


def decode(*raws: bytes) -> list[Transaction]:
    """Decodes transactions that must be acceptable."""
    decoded = decode_transactions(raws, CHAIN_ID)
    refused = [item for item in decoded if isinstance(item, Refusal)]
    assert not refused, refused
    return [item for item in decoded if isinstance(item, Transaction)]


def transfer(account: LocalAccount, nonce: int, to: bytes, value: int = 1, **fields: object) -> Transaction:
    """A decoded plain transfer."""
    return decode(sign(account, nonce, to, value=value, gas=21_000, **fields))[0]
