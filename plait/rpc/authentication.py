"""Who signed a request: the header that searchers' libraries send.

    X-Flashbots-Signature: <address>:<signature>

The signature is a personal one (EIP-191) over the text `0x<keccak-256 of the body, hex>`, 65 bytes. It names a
requester for methods that need one (replacing and cancelling by a client's own id) and gives no other right. Whether it
holds is looked at only when such a method is called.

Level 7. Source: Flashbots' documentation, "Authentication".
"""

from typing import Final, NamedTuple

from plait.codec.batch import LabelRequest
from plait.limits import SPREAD_REQUEST_BYTES_MAX
from plait.mempool.label_requests import signer_of_body
from plait.rpc.errors import SERVER_ERROR, RpcError
from plait.rpc.parameters import data_of_hex, fixed

SIGNATURE_HEADER: Final = "X-Flashbots-Signature"


class Credentials(NamedTuple):
    """The header of a request, and the body that it signs."""

    header: str
    body: bytes

    def requester(self) -> bytes:
        """Address of who signed the body. Raises RpcError `request_signature_wrong`."""
        return self._parts()[0]

    def request(self, label: str) -> LabelRequest | None:
        """The signed request, for other nodes; None when it is too long to travel. Raises as `requester`."""
        signature = self._parts()[1]
        if len(self.body) > SPREAD_REQUEST_BYTES_MAX:
            return None
        return LabelRequest(label=label, body=self.body, signature=signature)

    def _parts(self) -> tuple[bytes, bytes]:
        address_text, _, signature_text = self.header.partition(":")
        try:
            address, signature = fixed(address_text.strip(), 20), data_of_hex(signature_text.strip())
        except ValueError as error:
            raise _wrong(f"it is not <address>:<signature>: {error}") from None
        if signer_of_body(self.body, signature) != address:
            raise _wrong("the signature is not the address's over the body's Keccak-256 as 0x hex text (EIP-191)")
        return address, signature


def _wrong(problem: str) -> RpcError:
    return RpcError(SERVER_ERROR, f"{SIGNATURE_HEADER}: {problem}", {"code": "request_signature_wrong"})
