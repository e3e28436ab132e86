"""What opens a rollup's block: the L1-attributes deposit and the payload attributes around it. Pure functions.

Specification (OP Stack specs: deposits, L1 attributes of Ecotone, Isthmus and Jovian)
    - A deposit is 0x7E ++ rlp([source hash, from, to, mint, value, gas, isSystemTransaction, data]); no signature.
    - Its source hash makes it unique: keccak(domain ++ keccak(identity)), domain 0 for a user's deposit (L1 block
      hash, log index), 1 for the L1 attributes (L1 block hash, sequence number), 2 for a network upgrade (a sentence
      of intent).
    - The first transaction of every block is the L1-attributes deposit, whose data is packed, not ABI encoded.
    - fee recipient, prev_randao and parent beacon root of a block are those that op-node would give it, so that
      derivation from L1 gives the same hash.
Imports: plait.types, plait.errors, plait.codec, plait.native (Keccak-256 and the Attributes record).
"""

from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from plait.codec.rlp import Reader, encode_bytes, encode_list, encode_uint
from plait.derivation.system_config import SystemConfig
from plait.errors import CodecError, ConfigurationError
from plait.native import Attributes, keccak256
from plait.types import Address, BlockNumber, Gas, Hash32, Seconds, Wei

Fork = Literal["holocene", "isthmus", "jovian"]
"""OP Stack fork of a rollup's genesis; none changes its fork later."""

FORKS: Final[tuple[Fork, ...]] = ("holocene", "isthmus", "jovian")

# OP Stack specs, predeploys
L1_BLOCK: Final = "4200000000000000000000000000000000000015"
SEQUENCER_FEE_VAULT: Final = "4200000000000000000000000000000000000011"

DEPOSIT_TYPE: Final = b"\x7e"
MINT_MAX: Final = 2**128 - 1
"""More wei than there will ever be; what the execution crates hold."""

# Source hash domains
_DOMAIN_USER: Final = 0
_DOMAIN_L1_ATTRIBUTES: Final = 1
_DOMAIN_UPGRADE: Final = 2

L1_ATTRIBUTES_DEPOSITOR: Final = Address(bytes.fromhex("deaddeaddeaddeaddeaddeaddeaddeaddead0001"))
L1_ATTRIBUTES_GAS: Final = Gas(1_000_000)
"""Gas limit of the L1-attributes deposit since Regolith."""

DA_FOOTPRINT_GAS_SCALAR_DEFAULT: Final = 400
"""What op-node writes when the system configuration says 0 (OP Stack specs, Jovian)."""

# First four bytes of keccak256 of setL1BlockValuesEcotone(), ...Isthmus(), ...Jovian()
L1_ATTRIBUTES_SELECTORS: Final[dict[Fork, bytes]] = {
    "holocene": bytes.fromhex("440a5e20"),
    "isthmus": bytes.fromhex("098999be"),
    "jovian": bytes.fromhex("3db6be2b"),
}


class L1BlockInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What a rollup's block restates of its L1 origin."""

    number: BlockNumber
    hash: Hash32
    timestamp: Seconds
    base_fee: Wei
    blob_base_fee: Wei
    prev_randao: Hash32
    parent_beacon_block_root: Hash32


class Deposit(msgspec.Struct, frozen=True, kw_only=True):
    """A deposit's fields. `to` None creates a contract; `mint` is new ether for `sender`."""

    source_hash: Hash32
    sender: Address
    to: Address | None
    mint: Wei = Wei(0)
    value: Wei = Wei(0)
    gas_limit: Gas
    data: bytes = b""

    def encode(self) -> bytes:
        """The raw transaction, as it stands in the block."""
        fields = (
            encode_bytes(self.source_hash),
            encode_bytes(self.sender),
            encode_bytes(self.to if self.to is not None else b""),
            encode_uint(self.mint),
            encode_uint(self.value),
            encode_uint(self.gas_limit),
            encode_uint(0),  # isSystemTransaction is always false since Regolith
            encode_bytes(self.data),
        )
        return DEPOSIT_TYPE + encode_list(fields)


def deposit_gas(raw: bytes) -> Gas:
    """Gas limit of a raw deposit that can be executed: canonical, and with a mint of less than 2**128 wei.

    Raises:
        CodecError: it is none. A contract that is not the OP Stack's may ask for any mint.
    """
    if raw[:1] != DEPOSIT_TYPE:
        raise CodecError("a deposit has type 0x7E")
    outer = Reader(raw, start=1, what="deposit")
    reader = outer.read_list("deposit")
    outer.end()
    reader.read_bytes(size=32)
    reader.read_bytes(size=20)
    if len(reader.read_bytes(size_max=20)) not in (0, 20):
        raise CodecError("a deposit's recipient has 20 bytes, or none")
    reader.read_uint(MINT_MAX)
    reader.read_uint(2**256 - 1)
    gas = Gas(reader.read_uint())
    reader.read_uint(1)
    reader.read_bytes()
    reader.end()
    return gas


def user_deposit_source_hash(l1_block_hash: Hash32, log_index: int) -> Hash32:
    """Source hash of a deposit that a user made on L1.

    Args:
        l1_block_hash: block of the TransactionDeposited log.
        log_index: index of that log in its block.
    """
    return _source_hash(_DOMAIN_USER, l1_block_hash + _word(log_index))


def l1_attributes_source_hash(l1_block_hash: Hash32, sequence_number: int) -> Hash32:
    """Source hash of the L1-attributes deposit of the `sequence_number`-th rollup block of an L1 origin, from 0."""
    return _source_hash(_DOMAIN_L1_ATTRIBUTES, l1_block_hash + _word(sequence_number))


def upgrade_source_hash(intent: str) -> Hash32:
    """Source hash of a network upgrade's deposit; `intent` is the sentence its specification names."""
    return _source_hash(_DOMAIN_UPGRADE, intent.encode())


def l1_attributes_data(origin: L1BlockInfo, sequence_number: int, system: SystemConfig, fork: Fork) -> bytes:
    """Calldata of the L1-attributes deposit: 164 bytes (Holocene), 176 (Isthmus) or 178 (Jovian)."""
    parts = [
        L1_ATTRIBUTES_SELECTORS[fork],
        system.base_fee_scalar.to_bytes(4, "big"),
        system.blob_base_fee_scalar.to_bytes(4, "big"),
        sequence_number.to_bytes(8, "big"),
        origin.timestamp.to_bytes(8, "big"),
        origin.number.to_bytes(8, "big"),
        _word(origin.base_fee),
        _word(origin.blob_base_fee),
        origin.hash,
        system.batcher.rjust(32, b"\0"),
    ]
    if fork != "holocene":
        parts += [
            system.operator_fee_scalar.to_bytes(4, "big"),
            system.operator_fee_constant.to_bytes(8, "big"),
        ]
    if fork == "jovian":
        scalar = system.da_footprint_gas_scalar or DA_FOOTPRINT_GAS_SCALAR_DEFAULT
        parts.append(scalar.to_bytes(2, "big"))
    return b"".join(parts)


def l1_attributes_deposit(
    origin: L1BlockInfo,
    sequence_number: int,
    system: SystemConfig,
    fork: Fork = "jovian",
) -> bytes:
    """The raw first transaction of a block."""
    return Deposit(
        source_hash=l1_attributes_source_hash(origin.hash, sequence_number),
        sender=L1_ATTRIBUTES_DEPOSITOR,
        to=_L1_BLOCK_ADDRESS,
        gas_limit=L1_ATTRIBUTES_GAS,
        data=l1_attributes_data(origin, sequence_number, system, fork),
    ).encode()


def block_attributes(
    timestamp: Seconds,
    origin: L1BlockInfo,
    sequence_number: int,
    system: SystemConfig,
    *,
    deposits: Sequence[bytes] = (),
    fork: Fork = "jovian",
) -> Attributes:
    """What opens the block at `timestamp`.

    Args:
        timestamp: genesis time + number * block time.
        origin: its L1 origin.
        sequence_number: blocks of this rollup since the first one with this origin; 0 for that first one.
        system: the rollup's system configuration at that origin.
        deposits: raw user deposits of the origin in log order.
        fork: the rollup's fork; minimum base fee, operator fee and DA footprint exist only from theirs on.

    Raises:
        ConfigurationError: user deposits beside a sequence number other than 0 (they belong to an origin's first
        block).
    """
    if deposits and sequence_number != 0:
        raise ConfigurationError("user deposits belong to the first block of their L1 origin", value=sequence_number)
    return Attributes(
        timestamp=timestamp,
        prev_randao=origin.prev_randao,
        fee_recipient=_FEE_RECIPIENT,
        parent_beacon_block_root=origin.parent_beacon_block_root,
        gas_limit=system.gas_limit,
        deposits=[l1_attributes_deposit(origin, sequence_number, system, fork), *deposits],
        eip1559_denominator=system.eip1559_denominator,
        eip1559_elasticity=system.eip1559_elasticity,
        min_base_fee=system.min_base_fee,
    )


_L1_BLOCK_ADDRESS: Final = Address(bytes.fromhex(L1_BLOCK))
_FEE_RECIPIENT: Final = bytes.fromhex(SEQUENCER_FEE_VAULT)


def _source_hash(domain: int, identity: bytes) -> Hash32:
    return Hash32(keccak256(_word(domain) + keccak256(identity)))


def _word(value: int) -> bytes:
    return value.to_bytes(32, "big")
