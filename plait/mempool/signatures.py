"""Personal signatures (EIP-191, version 0x45): who signed a text. Level 2."""

from typing import Final

from plait.native import keccak256, recover_signer

SIGNATURE_BYTES: Final = 65


def signer_of(text: str, signature: bytes) -> bytes | None:
    """Address that signed a text as a personal message; None when the signature is none."""
    if len(signature) != SIGNATURE_BYTES:
        return None
    message = text.encode()
    digest = keccak256(b"\x19Ethereum Signed Message:\n%d%b" % (len(message), message))
    return recover_signer(digest, signature)
