"""Ed25519 signatures are judged as ZIP-215 says: by its text in plain Python, on published and on altered vectors."""

import hashlib
import json
import random
from pathlib import Path
from typing import Any

from plait.native import ed25519_verify, ed25519_verify_many

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "conformance" / "vectors" / "ed25519_zip215.json").read_text()
)
SEED = 20_261_121
P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
Point = tuple[int, int]
Signed = tuple[bytes, bytes, bytes]
OF_ORDER_EIGHT = (
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
)
BASE_Y = 4 * pow(5, -1, P) % P


def decompressed(encoding: bytes) -> Point | None:
    """The point of an encoding, canonical or not: y is taken modulo p, and the sign of x = 0 is not looked at."""
    number = int.from_bytes(encoding, "little")
    sign, y = number >> 255, (number & (1 << 255) - 1) % P
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if x * x % P != square:
        x = x * pow(2, (P - 1) // 4, P) % P
    if x * x % P != square:
        return None
    return (P - x if x & 1 != sign else x) % P, y


def added(a: Point, b: Point) -> Point:
    (ax, ay), (bx, by) = a, b
    product = D * ax * bx * ay * by % P
    x = (ax * by + ay * bx) * pow(1 + product, -1, P) % P
    return x, (ay * by + ax * bx) * pow(1 - product, -1, P) % P


def multiplied(factor: int, point: Point) -> Point:
    total = (0, 1)
    while factor:
        if factor & 1:
            total = added(total, point)
        point = added(point, point)
        factor >>= 1
    return total


def expected(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """[8][s]B = [8]R + [8][k]A, with s below the order and any encodings of A and R."""
    if len(public_key) != 32 or len(signature) != 64:
        return False
    a, r, s = decompressed(public_key), decompressed(signature[:32]), int.from_bytes(signature[32:], "little")
    base = decompressed(BASE_Y.to_bytes(32, "little"))
    assert base is not None
    if a is None or r is None or s >= ORDER:
        return False
    k = int.from_bytes(hashlib.sha512(signature[:32] + public_key + message).digest(), "little") % ORDER
    return multiplied(8 * s, base) == added(multiplied(8, r), multiplied(8 * k, a))


def published() -> list[Signed]:
    return [(bytes.fromhex(key), text.encode(), bytes.fromhex(sig)) for _, key, sig, text, _ in VECTORS["cctv"]]


def ordinary() -> list[Signed]:
    return [(bytes.fromhex(key), bytes.fromhex(text), bytes.fromhex(sig)) for key, text, sig in VECTORS["rfc8032"]]


def small_order_encodings() -> list[bytes]:
    """All 14 encodings of the eight points of small order, canonical or not."""
    found = set()
    for y in [0, 1, P - 1, P, P + 1, *(int.from_bytes(bytes.fromhex(text), "little") for text in OF_ORDER_EIGHT)]:
        for sign in (0, 1):
            encoding = (y | sign << 255).to_bytes(32, "little")
            point = decompressed(encoding)
            if point is not None and multiplied(8, point) == (0, 1):
                found.add(encoding)
    return sorted(found)


def test_ordinary_signatures_are_valid_and_altered_ones_are_not() -> None:
    source = random.Random(SEED)
    for signed in ordinary():
        assert ed25519_verify(*signed)
        assert expected(*signed)
        for _ in range(40):
            parts = [bytearray(part) for part in signed]
            part = source.choice([part for part in parts if part])
            part[source.randrange(len(part))] ^= 1 << source.randrange(8)
            altered = (bytes(parts[0]), bytes(parts[1]), bytes(parts[2]))
            assert not ed25519_verify(*altered), f"seed {SEED}, {altered}"


def test_every_published_edge_case_is_judged_as_zip_215_says() -> None:
    cases = published()
    judged = ed25519_verify_many(cases)
    for case, (number, _, _, _, flags), found in zip(cases, VECTORS["cctv"], judged, strict=True):
        assert found == ed25519_verify(*case) == expected(*case), f"vector {number}"
        # ZIP-215 accepts all of them but those whose k was made of encodings that were not sent.
        assert found or "reencoded_k" in flags, f"vector {number}"
    assert not all(judged)


def test_all_196_pairs_of_small_order_points_with_s_zero_are_valid() -> None:
    encodings = small_order_encodings()
    assert len(encodings) == 14
    cases = [(a, b"any message", r + bytes(32)) for a in encodings for r in encodings]
    assert ed25519_verify_many(cases) == [True] * 196
    one = (1).to_bytes(32, "little")
    assert not any(ed25519_verify_many([(a, b"any message", r + one) for a in encodings for r in encodings]))


def test_s_must_be_below_the_order() -> None:
    for public_key, message, signature in ordinary():
        s = int.from_bytes(signature[32:], "little") + ORDER
        assert not ed25519_verify(public_key, message, signature[:32] + s.to_bytes(32, "little"))


def test_random_keys_and_points_are_judged_as_the_text_says_and_one_bad_signature_says_nothing_about_others() -> None:
    source = random.Random(SEED)
    cases = [(source.randbytes(32), b"", source.randbytes(32) + bytes(32)) for _ in range(40)]
    cases += [(bytes(31), b"", bytes(64)), (bytes(33), b"", bytes(64)), (bytes(32), b"", bytes(63)), (b"", b"", b"")]
    cases += ordinary()
    source.shuffle(cases)
    assert ed25519_verify_many(cases) == [expected(*case) for case in cases], f"seed {SEED}"
    assert ed25519_verify_many([]) == []
