"""What gives a label its right at a node that did not see the request: the signed request itself travels along.

eth_sendBundle and eth_cancelBundle name a bundle by a client's own id; whoever signed the HTTP body may replace and
cancel under it. Another node reads from the body that the signer meant this label, and these transactions.

What a replay of an old body can do: a bundle that ended by its sender's hand does not come back (the pool remembers),
and a body stands for one bundle only (`SeenRequests`), so an old version in another window is refused. A cancellation
can be replayed against a later bundle of the same id: choose a new id for a bundle that comes after a cancelled one.

Level 2.
"""

from hashlib import sha256
from typing import Any, Final

import msgspec

from plait.codec.batch import LabelRequest
from plait.errors import BundleRefused
from plait.limits import SPREAD_REQUESTS_SEEN_MAX
from plait.mempool.bundle_records import Label
from plait.mempool.signatures import signer_of
from plait.native import keccak256
from plait.types import Hash32, RollupId

SEND: Final = "eth_sendBundle"
CANCEL: Final = "eth_cancelBundle"


class _Object(msgspec.Struct, rename="camel"):
    replacement_uuid: str | None = None
    txs: list[str] | None = None


class _Call(msgspec.Struct):
    method: str = ""
    params: msgspec.Raw = msgspec.Raw(b"[]")


_calls: Final = msgspec.json.Decoder(_Call | list[_Call])
_objects: Final = msgspec.json.Decoder(list[_Object])


def signer_of_body(body: bytes, signature: bytes) -> bytes | None:
    """Address that signed a request's body (`plait.rpc.authentication` has the text); None when nobody did."""
    return signer_of("0x" + keccak256(body).hex(), signature)


def label_of(request: LabelRequest, rollup_id: RollupId, transactions: tuple[bytes, ...] | None) -> Label:
    """The label that a signed request stands for.

    Args:
        request: that travelled along.
        rollup_id: whose name space it is.
        transactions: of the bundle; None for a cancellation.

    Raises:
        BundleRefused: `request_signature_wrong` when nobody signed it; `request_mismatch` when it does not ask for
            this.
    """
    requester = signer_of_body(request.body, request.signature)
    if requester is None:
        raise BundleRefused("nobody signed the request that came along", code="request_signature_wrong")
    wanted = None if transactions is None else ["0x" + raw.hex() for raw in transactions]
    method = CANCEL if transactions is None else SEND
    for call in _calls_of(request.body):
        found = _object_of(call, method)
        if found is not None and found.replacement_uuid == request.label:
            texts = None if found.txs is None else [text.lower() for text in found.txs]
            if wanted is None or texts == wanted:
                return Label(requester, rollup_id, request.label)
    raise BundleRefused(f"the signed request has no {method} like this", code="request_mismatch")


def _calls_of(body: bytes) -> list[_Call]:
    try:
        found: Any = _calls.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return []
    return found if isinstance(found, list) else [found]


def _object_of(call: _Call, method: str) -> _Object | None:
    if call.method != method:
        return None
    try:
        parameters = _objects.decode(call.params)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return parameters[0] if len(parameters) == 1 else None


class SeenRequests:
    """Which bundle a body stands for, per label and transactions: the first that came."""

    def __init__(self, maximum: int = SPREAD_REQUESTS_SEEN_MAX) -> None:
        self._maximum = maximum
        self._seen: dict[bytes, Hash32] = {}

    def require_first(self, request: LabelRequest, transactions: tuple[bytes, ...], bundle_hash: Hash32) -> None:
        """Notes a bundle. Raises BundleRefused (`request_repeated`) when the request came with another one before."""
        parts = (request.body, request.label.encode(), *transactions)
        key = sha256(b"".join(sha256(part).digest() for part in parts)).digest()
        if self._seen.setdefault(key, bundle_hash) != bundle_hash:
            raise BundleRefused("the request was for a bundle in another window", code="request_repeated")
        if len(self._seen) > self._maximum:
            del self._seen[next(iter(self._seen))]
