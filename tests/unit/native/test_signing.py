"""Digests are signed exactly as eth-account and eth-keys' Python code sign them, and only with keys of the group."""

import random

import pytest
from eth_account import Account
from eth_keys.backends.native.main import NativeECCBackend
from eth_keys.datatypes import PrivateKey

from plait.native import recover_signer, sign_digest

ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
SEED = 20_261_121
EDGES = [bytes(32), b"\xff" * 32, ORDER.to_bytes(32, "big"), (ORDER - 1).to_bytes(32, "big")]


def by_eth_account(key: bytes, digest: bytes) -> bytes:
    """r, s, v of eth-account, v as 0 or 1."""
    signed = Account.unsafe_sign_hash(digest, key)
    return signed.r.to_bytes(32, "big") + signed.s.to_bytes(32, "big") + bytes([signed.v - 27])


def by_eth_keys(key: bytes, digest: bytes) -> bytes:
    """The same of eth-keys' arithmetic in Python, which shares no code with the core's C library."""
    return bytes(NativeECCBackend().ecdsa_sign(digest, PrivateKey(key)).to_bytes())


def test_every_signature_is_eth_accounts() -> None:
    source = random.Random(SEED)
    pairs = [(source.randrange(1, ORDER).to_bytes(32, "big"), source.randbytes(32)) for _ in range(300)]
    pairs += [(key.to_bytes(32, "big"), digest) for key in (1, 2, ORDER - 1) for digest in EDGES]
    parities = set()
    for key, digest in pairs:
        signature = sign_digest(key, digest)
        context = f"seed {SEED}, digest {digest.hex()}"
        assert signature == by_eth_account(key, digest), context
        assert signature == by_eth_keys(key, digest), context
        assert signature == sign_digest(key, digest), context
        assert int.from_bytes(signature[32:64], "big") <= ORDER // 2, context
        assert recover_signer(digest, signature) == bytes.fromhex(Account.from_key(key).address[2:]), context
        parities.add(signature[64])
    assert parities == {0, 1}


@pytest.mark.parametrize(
    "key",
    [b"", bytes(31), b"\x01" * 31, b"\x01" * 33, bytes(32), ORDER.to_bytes(32, "big"), b"\xff" * 32],
    ids=["empty", "31 zeros", "31 bytes", "33 bytes", "zero", "the order", "above the order"],
)
def test_no_key_outside_the_group_signs_and_no_message_shows_it(key: bytes) -> None:
    with pytest.raises(ValueError, match="private key is 32 bytes") as caught:
        sign_digest(key, bytes(32))
    assert key.hex() not in str(caught.value) or not key


@pytest.mark.parametrize("length", [0, 31, 33])
def test_only_32_bytes_are_a_digest(length: int) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        sign_digest(b"\x01" * 32, bytes(length))
