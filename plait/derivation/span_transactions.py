"""A transaction taken apart into the columns of a span batch, and put together again. Pure.

    type     its fields                                                     what is kept together
    legacy   [nonce, price, gas, to, value, data, v, r, s]                  [value, price, data]
    1        [chain, nonce, price, gas, to, value, data, access, y, r, s]   1 ++ [value, price, data, access]
    2        [chain, nonce, tip, cap, gas, to, value, data, access, y, r, s]
                                                                            2 ++ [value, tip, cap, data, access]
    4        as type 2, authorizations after access                         4 ++ [... as type 2, authorizations]

Kept fields pass as they are encoded, after a check that they are canonical: nothing is decoded into numbers on the way.
A wei amount of a type below 4 may be longer than 32 bytes here, because op-node passes such ones on too; execution
refuses them.

Source: OP Stack specs, Delta (span batches: transactions) and Isthmus; EIP-155, 2930, 1559, 7702.
"""

from typing import Final, NamedTuple

from plait.codec.rlp import EMPTY_LIST, encode_bytes, encode_list, encode_uint
from plait.errors import CodecError

_TYPE_ACCESS_LIST: Final = 1
_TYPE_DYNAMIC_FEE: Final = 2
_TYPE_SET_CODE: Final = 4
_UINT64: Final = 2**64 - 1

# Number of fields that are kept, and of all fields, by type.
_KEPT: Final = {0: 3, _TYPE_ACCESS_LIST: 4, _TYPE_DYNAMIC_FEE: 5, _TYPE_SET_CODE: 6}
_ALL: Final = {0: 9, _TYPE_ACCESS_LIST: 11, _TYPE_DYNAMIC_FEE: 12, _TYPE_SET_CODE: 13}


class Parts(NamedTuple):
    """A transaction in a span batch: what is kept together, and what has a column of its own."""

    data: bytes
    nonce: int
    gas_limit: int
    to: bytes
    """Empty: creates a contract."""
    v: int
    """Of a legacy transaction as signed; of others the parity."""
    r: bytes
    s: bytes


def join_transaction(parts: Parts, chain_id: int) -> bytes:
    """The raw transaction of its parts.

    Raises:
        CodecError: `span_transaction_malformed`: an unknown type, kept fields that are not canonical RLP of that type,
            or a type 4 without recipient.
    """
    data = parts.data
    kind = data[0] if data[0] <= 0x7F else 0
    count = _KEPT.get(kind)
    if count is None or data[0] == 0:
        raise _malformed(f"there is no type {data[0]} in a span batch", type=data[0])
    kept = _fields(data, 1 if kind else 0, count)
    nonce, gas_limit = encode_uint(parts.nonce), encode_uint(parts.gas_limit)
    to = b"\x94" + parts.to if parts.to else b"\x80"
    signature = encode_uint(parts.v) + _encode_word(parts.r) + _encode_word(parts.s)
    _check_wei(kept, 2 if kind < _TYPE_DYNAMIC_FEE else 3, kind)
    if kind == 0:
        value, price, call_data = kept
        _check_string(call_data)
        return encode_list((nonce, price, gas_limit, to, value, call_data, signature))
    _check_string(kept[-2 if kind != _TYPE_SET_CODE else -3])
    if kept[count - 1 if kind != _TYPE_SET_CODE else count - 2] != EMPTY_LIST:
        _check_access_list(kept[count - 1 if kind != _TYPE_SET_CODE else count - 2])
    chain = encode_uint(chain_id)
    if kind == _TYPE_ACCESS_LIST:
        value, price, call_data, access = kept
        return b"\x01" + encode_list((chain, nonce, price, gas_limit, to, value, call_data, access, signature))
    if kind == _TYPE_DYNAMIC_FEE:
        value, tip, cap, call_data, access = kept
        return b"\x02" + encode_list((chain, nonce, tip, cap, gas_limit, to, value, call_data, access, signature))
    if not parts.to:
        raise _malformed("a type 4 transaction has a recipient", type=kind)
    value, tip, cap, call_data, access, authorizations = kept
    _check_authorizations(authorizations)
    return b"\x04" + encode_list(
        (chain, nonce, tip, cap, gas_limit, to, value, call_data, access, authorizations, signature)
    )


def split_transaction(raw: bytes, chain_id: int) -> Parts:
    """Parts of a raw transaction.

    Raises:
        CodecError: `span_transaction_malformed`: a type that span batches do not know, another chain, or fields that
            are not canonical RLP.
    """
    if not raw:
        raise _malformed("a transaction is empty")
    kind = raw[0] if raw[0] <= 0x7F else 0
    if kind not in _ALL or raw[0] == 0:
        raise _malformed(f"a span batch has no room for type {raw[0]}", type=raw[0])
    fields = _fields(raw, 1 if kind else 0, _ALL[kind])
    if kind:
        if fields[0] != encode_uint(chain_id):
            raise _malformed("a transaction is of another chain", type=kind)
        fields = fields[1:]
    if kind >= _TYPE_DYNAMIC_FEE:
        nonce, tip, cap, gas, to, value, call_data, *lists = fields[:-3]
        kept = bytes((kind,)) + encode_list((value, tip, cap, call_data, *lists))
    else:
        nonce, price, gas, to, value, call_data, *lists = fields[:-3]
        kept = (bytes((kind,)) if kind else b"") + encode_list((value, price, call_data, *lists))
    v = _uint(fields[-3])
    if kind == 0 and v not in (27, 28, 2 * chain_id + 35, 2 * chain_id + 36):
        raise _malformed("a legacy transaction is of another chain or not signed", type=kind)
    if kind and v > 1:
        raise _malformed("a parity is 0 or 1", type=kind)
    parts = Parts(
        kept,
        _uint(nonce),
        _uint(gas),
        _payload(to),
        v,
        _payload(fields[-2]).rjust(32, b"\0"),
        _payload(fields[-1]).rjust(32, b"\0"),
    )
    if len(parts.to) not in (0, 20) or len(parts.r) != 32 or len(parts.s) != 32:
        raise _malformed("a recipient or signature has a wrong length", type=kind)
    if join_transaction(parts, chain_id) != raw:
        raise _malformed("a transaction is not in its canonical encoding", type=kind)
    return parts


# ---------------------------------------------------------------- RLP without decoding
def read_item(data: bytes, position: int, end: int) -> tuple[bool, int, int]:
    """(is a list, start, end) of the payload of the RLP item at `position`. Raises CodecError `batch_malformed`."""
    if position >= end:
        raise _cut_off(position)
    prefix = data[position]
    if prefix < 0x80:
        return False, position, position + 1
    short = prefix - (0xC0 if prefix >= 0xC0 else 0x80)
    start = position + 1
    if short < 56:
        stop = start + short
        if prefix == 0x81 and stop <= end and data[start] < 0x80:
            raise _cut_off(position)
    else:
        start += short - 55
        if start > end:
            raise _cut_off(position)
        length = int.from_bytes(data[position + 1 : start], "big")
        if length < 56 or data[position + 1] == 0:
            raise _cut_off(position)
        stop = start + length
    if stop > end:
        raise _cut_off(position)
    return prefix >= 0xC0, start, stop


def _fields(data: bytes, position: int, count: int) -> list[bytes]:
    """The encoded items of the list at `position`, which is the rest of the data and has exactly `count` items."""
    try:
        is_list, start, stop = read_item(data, position, len(data))
        if not is_list or stop != len(data):
            raise _malformed("a transaction is not one list")
        return _items(data, start, stop, count)
    except CodecError as error:
        raise _malformed(error.message) from error


def _items(data: bytes, start: int, stop: int, count: int | None = None) -> list[bytes]:
    items = []
    position = start
    while position < stop:
        prefix = data[position]
        if prefix < 0x80:  # the common short items without a call
            following = position + 1
        elif 0x81 < prefix < 0xB8 and position + prefix - 0x7F <= stop:
            following = position + prefix - 0x7F
        else:
            following = read_item(data, position, stop)[2]
        items.append(data[position:following])
        position = following
    if count is not None and len(items) != count:
        raise _malformed(f"a transaction has {count} fields here, not {len(items)}")
    return items


def _payload(item: bytes) -> bytes:
    is_list, start, stop = read_item(item, 0, len(item))
    if is_list:
        raise _malformed("a list stands where a string belongs")
    return item[start:stop]


def _uint(item: bytes, size_max: int = 8) -> int:
    data = _payload(item)
    if len(data) > size_max or data[:1] == b"\0":
        raise _malformed(f"an integer is not canonical or has more than {size_max} bytes")
    return int.from_bytes(data, "big")


def _encode_word(word: bytes) -> bytes:
    return encode_bytes(word.lstrip(b"\0"))


def _check_string(item: bytes) -> None:
    if item[0] >= 0xC0:
        raise _malformed("call data is a list")


def _check_wei(kept: list[bytes], count: int, kind: int) -> None:
    """Amounts are canonical integers; of type 4 at most 32 bytes."""
    for item in kept[:count]:
        prefix = item[0]
        if prefix == 0 or prefix >= 0xC0 or (prefix > 0x80 and item[1] == 0):
            raise _malformed("an amount is not a canonical integer", type=kind)
        if prefix >= 0xB8:
            if kind == _TYPE_SET_CODE or _payload(item)[0] == 0:
                raise _malformed("an amount is not a canonical integer", type=kind)
        elif kind == _TYPE_SET_CODE and len(item) > 33:
            raise _malformed("an amount has more than 32 bytes", type=kind)


def _list(item: bytes) -> list[bytes]:
    is_list, start, stop = read_item(item, 0, len(item))
    if not is_list:
        raise _malformed("a string stands where a list belongs")
    return _items(item, start, stop)


def _check_access_list(item: bytes) -> None:
    """[[address, [key, ...]], ...]."""
    try:
        for entry in _list(item):
            pair = _list(entry)
            if (
                len(pair) != 2
                or len(_payload(pair[0])) != 20
                or any(len(_payload(key)) != 32 for key in _list(pair[1]))
            ):
                raise _malformed("an access list's entry is an address and keys")
    except CodecError as error:
        raise _malformed(error.message) from error


def _check_authorizations(item: bytes) -> None:
    """[[chain, address, nonce, parity, r, s], ...]."""
    try:
        for entry in _list(item):
            fields = _list(entry)
            if len(fields) != 6 or len(_payload(fields[1])) != 20:
                raise _malformed("an authorization has six fields, the second an address")
            for field, size_max in ((0, 32), (2, 8), (3, 1), (4, 32), (5, 32)):
                _uint(fields[field], size_max)
    except CodecError as error:
        raise _malformed(error.message) from error


def _cut_off(position: int) -> CodecError:
    return CodecError(f"an item is cut off or not canonical at byte {position}", code="batch_malformed")


def _malformed(problem: str, **fields: int) -> CodecError:
    return CodecError(f"span batch: {problem}", code="span_transaction_malformed", **fields)
