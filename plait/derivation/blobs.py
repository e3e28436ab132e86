"""How batcher data stands in a blob of EIP-4844: 130,044 bytes at most in 4,096 field elements. Pure.

A field element has 32 bytes and must be below the field's order, so its two highest bits stay zero. Four elements carry
127 bytes: 31 each in their low bytes, and 3 more in the 6 bits that are left of each highest byte. The first element
begins with a version byte (0) and the data's length (u24), so that it carries 27 bytes.

    highest bytes of four elements  a = x[0:6]   b = y[0:4] | x[6:8] << 4   c = z[0:6]   d = y[4:8] | z[6:8] << 4
    their data                      31 of e0, x, 31 of e1, y, 31 of e2, z, 31 of e3

What is not used is zero, and a decoder refuses everything else, but for the two highest bits of the first element: the
specification's text asks for zeros there too, op-node does not look, and a chain is what op-node derives.

Source: OP Stack specs, Ecotone derivation (blob encoding), EIP-4844; op-node v1.16 for the order of bytes.
"""

from typing import Final

from plait.errors import CodecError

BLOB_BYTES: Final = 131_072
ENCODING_VERSION: Final = 0
_ELEMENT_BYTES: Final = 32
_ROUND_ELEMENTS: Final = 4
_ROUND_BYTES: Final = 127
_ROUNDS: Final = BLOB_BYTES // (_ELEMENT_BYTES * _ROUND_ELEMENTS)
_HEADER_BYTES: Final = 4
BLOB_DATA_BYTES_MAX: Final = _ROUND_BYTES * _ROUNDS - _HEADER_BYTES
_EMPTY_ROUND: Final = bytes(_ELEMENT_BYTES * _ROUND_ELEMENTS)


def encode_blob(data: bytes) -> bytes:
    """A blob, BLOB_BYTES, that carries the data.

    Raises:
        CodecError: `blob_malformed`: more than BLOB_DATA_BYTES_MAX bytes.
    """
    if len(data) > BLOB_DATA_BYTES_MAX:
        raise _malformed(f"a blob carries at most {BLOB_DATA_BYTES_MAX} bytes, not {len(data)}")
    stream = bytes((ENCODING_VERSION,)) + len(data).to_bytes(3, "big") + data
    blob = bytearray(BLOB_BYTES)
    for index in range(0, len(stream), _ROUND_BYTES):
        piece = stream[index : index + _ROUND_BYTES].ljust(_ROUND_BYTES, b"\0")
        x, y, z = piece[31], piece[63], piece[95]
        start = index // _ROUND_BYTES * len(_EMPTY_ROUND)
        blob[start : start + len(_EMPTY_ROUND)] = b"".join(
            (
                bytes((x & 0x3F,)),
                piece[:31],
                bytes((y & 0x0F | (x & 0xC0) >> 2,)),
                piece[32:63],
                bytes((z & 0x3F,)),
                piece[64:95],
                bytes(((y & 0xF0) >> 4 | (z & 0xC0) >> 2,)),
                piece[96:],
            )
        )
    return bytes(blob)


def decode_blob(blob: bytes) -> bytes:
    """The data that a blob carries.

    Raises:
        CodecError: `blob_malformed`: not BLOB_BYTES, another version, a length above BLOB_DATA_BYTES_MAX, an element
            beyond the field's bits, or something other than zero behind the data.
    """
    if len(blob) != BLOB_BYTES:
        raise _malformed(f"a blob has {BLOB_BYTES} bytes, not {len(blob)}")
    if blob[1] != ENCODING_VERSION:
        raise _malformed(f"version {blob[1]} is not known", version=blob[1])
    length = int.from_bytes(blob[2:5], "big")
    if length > BLOB_DATA_BYTES_MAX:
        raise _malformed(f"its length {length} is more than a blob carries", length=length)
    rounds = max(1, -(-(length + _HEADER_BYTES) // _ROUND_BYTES))
    parts: list[bytes] = []
    for start in range(0, rounds * len(_EMPTY_ROUND), len(_EMPTY_ROUND)):
        a, b, c, d = blob[start], blob[start + 32], blob[start + 64], blob[start + 96]
        if ((a if start else 0) | b | c | d) & 0xC0:
            raise _malformed("a field element uses its two highest bits", offset=start)
        parts += (
            blob[start + 1 : start + 32],
            bytes((a & 0x3F | (b & 0x30) << 2,)),
            blob[start + 33 : start + 64],
            bytes((b & 0x0F | (d & 0x0F) << 4,)),
            blob[start + 65 : start + 96],
            bytes((c & 0x3F | (d & 0x30) << 2,)),
            blob[start + 97 : start + 128],
        )
    stream = b"".join(parts)
    end = _HEADER_BYTES + length
    if stream[end:].strip(b"\0") or blob[rounds * len(_EMPTY_ROUND) :].strip(b"\0"):
        raise _malformed("something stands behind its data", length=length)
    return stream[_HEADER_BYTES:end]


def _malformed(problem: str, **fields: int) -> CodecError:
    return CodecError(f"blob: {problem}", code="blob_malformed", **fields)
