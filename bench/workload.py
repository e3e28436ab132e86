"""The transactions that every benchmark sends: signed ERC-20 transfers, made once and kept in the cache.

A workload is a genesis (a token whose balances are already in storage, funded senders) and raw EIP-1559 transactions
that transfer one token unit each to a recipient drawn from a fixed population. Everything follows from the seed.
Signing costs more than anything measured here, so the raw bytes are cached under `$PLAIT_CACHE/bench`, keyed by the
parameters.
"""

import hashlib
import os
import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import rlp
from coincurve import PrivateKey
from Crypto.Hash import keccak

from plait.rollups.contracts import artifact
from plait.rollups.embedded.genesis import GenesisSpecification, genesis_document
from plait.types import Address, ChainId, Gas, Seconds, Wei

TOKEN = bytes.fromhex("00000000000000000000000000000000000070c3")
TRANSFER = bytes.fromhex("a9059cbb")
GAS_LIMIT = 60_000
GAS_LIMIT_BLOCK = 2_000_000_000
"""Room for 10,000 transfers in a block at Jovian's DA footprint of 40,000 each."""
FEE_CAP_WEI = 20_000_000_000
TIP_WEI = 1_000_000
CURVE_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
FORMAT = 3


def keccak256(data: bytes) -> bytes:
    return keccak.new(digest_bits=256, data=data).digest()


@dataclass(frozen=True)
class Workload:
    """Raw transactions of one chain, and who must be funded for them."""

    chain_id: int
    senders: list[bytes]
    recipients: list[bytes]
    raws: list[bytes]
    keys: list[bytes] = field(repr=False)

    def rounds(self, size: int) -> list[list[bytes]]:
        """The transactions in blocks of `size`, nonces in order."""
        return [self.raws[start : start + size] for start in range(0, len(self.raws), size)]


def private_key(seed: int, index: int) -> PrivateKey:
    secret = int.from_bytes(keccak256(f"plait bench {seed} {index}".encode()), "big") % (CURVE_ORDER - 1) + 1
    return PrivateKey(secret.to_bytes(32, "big"))


def address_of(key: PrivateKey) -> bytes:
    return keccak256(key.public_key.format(compressed=False)[1:])[12:]


def sign_transfer(key: PrivateKey, chain_id: int, nonce: int, recipient: bytes, tip_wei: int = TIP_WEI) -> bytes:
    """A raw EIP-1559 transaction that moves one unit of the token to `recipient`."""
    data = TRANSFER + recipient.rjust(32, b"\0") + (1).to_bytes(32, "big")
    return sign_call(key, chain_id, nonce, TOKEN, data, tip_wei=tip_wei)


def sign_call(
    key: PrivateKey,
    chain_id: int,
    nonce: int,
    to: bytes,
    data: bytes,
    *,
    tip_wei: int = TIP_WEI,
    gas_limit: int = GAS_LIMIT,
) -> bytes:
    """A raw EIP-1559 transaction without value."""
    fields = [chain_id, nonce, tip_wei, FEE_CAP_WEI, gas_limit, to, 0, data, []]
    signature = key.sign_recoverable(keccak256(b"\x02" + rlp.encode(fields)), hasher=None)
    r, s, v = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:64], "big"), signature[64]
    return b"\x02" + rlp.encode([*fields, v, r, s])


def recipient_address(index: int) -> bytes:
    return keccak256(b"plait bench recipient" + index.to_bytes(8, "big"))[12:]


def make(chain_id: int, senders: int, per_sender: int, recipients: int = 50_000, seed: int = 1) -> Workload:
    """`senders * per_sender` transfers; every sender's first transaction comes before anyone's second."""
    parameters = (FORMAT, chain_id, senders, per_sender, recipients, seed)
    name = hashlib.sha256(repr(parameters).encode()).hexdigest()[:16]
    folder = Path(os.environ.get("PLAIT_CACHE", Path.home() / ".cache" / "plait")) / "bench"
    cached = folder / f"workload-{name}.pickle"
    if cached.exists():
        return pickle.loads(cached.read_bytes())
    keys = [private_key(seed, index) for index in range(senders)]
    recipient_addresses = [recipient_address(index) for index in range(recipients)]
    raws = []
    state = seed
    for nonce in range(per_sender):
        for key in keys:
            state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
            raws.append(sign_transfer(key, chain_id, nonce, recipient_addresses[(state >> 33) % recipients]))
    workload = Workload(
        chain_id, [address_of(key) for key in keys], recipient_addresses, raws, [key.secret for key in keys]
    )
    folder.mkdir(parents=True, exist_ok=True)
    partial = cached.with_suffix(".partial")
    partial.write_bytes(pickle.dumps(workload))
    partial.rename(cached)
    return workload


def balance_slot(holder: bytes) -> bytes:
    """Storage key of `balanceOf[holder]` in DemoToken: the mapping is its fourth variable."""
    return keccak256(holder.rjust(32, b"\0") + (3).to_bytes(32, "big"))


def genesis_with_token(
    chain_id: int,
    timestamp_s: int,
    holders: list[bytes],
    payers: list[bytes],
    *,
    gas_limit: int = GAS_LIMIT_BLOCK,
    interop: bool = False,
    codes: Mapping[bytes, bytes] | None = None,
) -> bytes:
    """op-geth genesis JSON: the token deployed, every holder given tokens, and ether for those who pay gas.

    Args:
        chain_id, timestamp_s: of the rollup.
        holders: of tokens.
        payers: of gas.
        gas_limit: of a block.
        interop: whether the predeploys of interop are there.
        codes: further contracts, by address.
    """
    specification = GenesisSpecification(
        chain_id=ChainId(chain_id),
        timestamp=Seconds(timestamp_s),
        gas_limit=Gas(gas_limit),
        balances={Address(payer): Wei(10**24) for payer in payers},
        interop=interop,
    )
    document = genesis_document(specification)
    units = "0x" + (10**24).to_bytes(32, "big").hex()
    storage = {"0x" + balance_slot(holder).hex(): units for holder in holders}
    runtime = artifact("DemoToken").runtime_code
    document["alloc"][TOKEN.hex()] = {
        "balance": "0x0",
        "nonce": "0x1",
        "code": "0x" + runtime.hex(),
        "storage": storage,
    }
    for address, code in (codes or {}).items():
        document["alloc"][address.hex()] = {"balance": "0x0", "nonce": "0x1", "code": "0x" + code.hex()}
    return msgspec.json.encode(document, order="sorted")
