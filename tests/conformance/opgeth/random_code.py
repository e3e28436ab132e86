"""Random EVM code and precompile inputs that get far enough to matter: few stack underflows, small memory, known
addresses."""

from __future__ import annotations

from random import Random

from Crypto.Hash import SHA256
from Crypto.PublicKey import ECC
from Crypto.Signature import DSS

# (opcode, items taken, items left); jumps, call and copy families are made by hand below
_SIMPLE = [
    (0x01, 2, 1), (0x02, 2, 1), (0x03, 2, 1), (0x04, 2, 1), (0x05, 2, 1), (0x06, 2, 1), (0x07, 2, 1), (0x08, 3, 1),
    (0x09, 3, 1), (0x0A, 2, 1), (0x0B, 2, 1), (0x10, 2, 1), (0x11, 2, 1), (0x12, 2, 1), (0x13, 2, 1), (0x14, 2, 1),
    (0x15, 1, 1), (0x16, 2, 1), (0x17, 2, 1), (0x18, 2, 1), (0x19, 1, 1), (0x1A, 2, 1), (0x1B, 2, 1), (0x1C, 2, 1),
    (0x1D, 2, 1), (0x30, 0, 1), (0x32, 0, 1), (0x33, 0, 1), (0x34, 0, 1), (0x35, 1, 1), (0x36, 0, 1), (0x38, 0, 1),
    (0x3A, 0, 1), (0x3D, 0, 1), (0x40, 1, 1), (0x41, 0, 1), (0x42, 0, 1), (0x43, 0, 1), (0x44, 0, 1), (0x45, 0, 1),
    (0x46, 0, 1), (0x47, 0, 1), (0x48, 0, 1), (0x49, 1, 1), (0x4A, 0, 1), (0x50, 1, 0), (0x58, 0, 1), (0x59, 0, 1),
    (0x5A, 0, 1), (0x5F, 0, 1), (0x80, 1, 2), (0x81, 2, 3), (0x82, 3, 4), (0x90, 2, 2), (0x91, 3, 3),
]  # fmt: skip
# opcodes that op-geth does not know under Jovian: CLZ (0x1e), EOF's, an unassigned one, and INVALID
_UNKNOWN = [0x1E, 0xE0, 0xEF, 0x0C, 0xFE]


def _push(value: int) -> bytes:
    if value == 0:
        return b"\x5f"
    data = value.to_bytes((value.bit_length() + 7) // 8, "big")
    return bytes([0x5F + len(data)]) + data


def random_code(random: Random, addresses: list[bytes], steps: int) -> bytes:
    """`steps` random instructions; `addresses` are the targets of calls and of balance and code queries."""
    code = bytearray()
    depth = 0
    for _ in range(steps):
        kind = random.randrange(100)
        if kind < 20 or depth < 3:
            code += _push(
                random.choice(
                    [0, 1, 2, 31, 32, 255, 2**64 - 1, 2**255, 2**256 - 1, random.getrandbits(random.randrange(1, 257))]
                )
            )
            depth += 1
        elif kind < 60:
            opcode, taken, left = random.choice(_SIMPLE)
            if taken <= depth < 900:
                code.append(opcode)
                depth += left - taken
        elif kind < 92:
            code += _effect(random, addresses)
        elif kind < 97:
            code += _call(random, addresses)
            depth += 1
        elif kind < 99:
            code += _create(random)
            depth += 1
        elif random.randrange(6) == 0:
            code.append(random.choice(_UNKNOWN))
    return bytes(code) + _end(random, addresses)


def _effect(random: Random, addresses: list[bytes]) -> bytes:
    """An instruction on storage, memory, logs or another account; the stack is as deep after it as before."""
    address = bytes([0x73]) + random.choice(addresses)
    offset, size = random.randrange(512), random.choice([0, 1, 31, 32, 33, 64, 300])
    slot, value = random.randrange(6), random.choice([0, 0, 1, random.getrandbits(256)])
    return random.choice(
        [
            _push(value) + _push(slot) + b"\x55",  # sstore
            _push(slot) + b"\x54\x50",  # sload
            _push(value) + _push(slot) + b"\x5d",  # tstore
            _push(slot) + b"\x5c\x50",  # tload
            _push(value) + _push(offset) + b"\x52",  # mstore
            _push(value & 0xFF) + _push(offset) + b"\x53",  # mstore8
            _push(offset) + b"\x51\x50",  # mload
            _push(size) + _push(offset) + b"\x20\x50",  # keccak256
            _push(size) + _push(random.randrange(64)) + _push(offset) + b"\x37",  # calldatacopy
            _push(size) + _push(random.randrange(64)) + _push(offset) + b"\x39",  # codecopy
            _push(size) + _push(random.randrange(300)) + _push(offset) + b"\x5e",  # mcopy
            _push(size) + _push(offset) + b"\xa0",  # log0
            _push(slot) + _push(value) + _push(size) + _push(offset) + b"\xa2",  # log2
            address + b"\x31\x50",  # balance
            address + b"\x3b\x50",  # extcodesize
            address + b"\x3f\x50",  # extcodehash
            _push(size) + _push(random.randrange(64)) + _push(offset) + address + b"\x3c",  # extcodecopy
        ]
    )


def _call(random: Random, addresses: list[bytes]) -> bytes:
    """CALL, CALLCODE, DELEGATECALL or STATICCALL with little gas; leaves its result."""
    opcode = random.choice([0xF1, 0xF2, 0xF4, 0xFA])
    arguments = _push(random.choice([0, 32, 64])) + _push(random.randrange(128))  # output
    arguments += _push(random.choice([0, 4, 32, 128, 192])) + _push(random.randrange(128))  # input
    if opcode in (0xF1, 0xF2):
        arguments += _push(random.choice([0, 0, 0, 1]))
    target = random.choice([random.choice(addresses), random.randrange(1, 0x13).to_bytes(20, "big")])
    return arguments + b"\x73" + target + _push(random.choice([0, 700, 5_000, 40_000])) + bytes([opcode])


def _create(random: Random) -> bytes:
    """CREATE or CREATE2 of a short init code; leaves the address or zero."""
    init = random.choice(
        [
            bytes.fromhex("60006000f3"),  # empty contract
            bytes.fromhex("600160005260206000f3"),  # 32 bytes of code, the first a STOP
            bytes.fromhex("60006000fd"),  # reverts
            bytes.fromhex("fe"),  # invalid
            bytes.fromhex("60ef60005360016000f3"),  # code starting with 0xEF: refused (EIP-3541)
            bytes.fromhex("33ff"),  # destroys itself during creation
            bytes.fromhex("6001600155"),  # stores, then stops: empty code with storage
            bytes.fromhex("6160016000f3"),  # 24,577 bytes: larger than EIP-170 allows
        ]
    )
    word = int.from_bytes(init.ljust(32, b"\0"), "big")
    two = random.randrange(2)
    salt = _push(random.randrange(3)) if two else b""
    tail = salt + _push(len(init)) + _push(0) + _push(random.choice([0, 0, 1])) + (b"\xf5" if two else b"\xf0")
    return _push(word) + _push(0) + b"\x52" + tail


def _end(random: Random, addresses: list[bytes]) -> bytes:
    return random.choice(
        [
            b"\x00",
            _push(random.randrange(64)) + _push(random.randrange(64)) + b"\xf3",
            _push(random.randrange(64)) + _push(random.randrange(64)) + b"\xfd",
            b"\x73" + random.choice(addresses) + b"\xff",
            b"\x5b\x5a\x61\x27\x10\x10\x15\x58\x57",  # no valid jump: halts
            b"\x30\xff",
        ]
    )


# EIP-197: generator of G2 (imaginary part first), EIP-196: generator of G1 and its negative
_BN_G1 = (1).to_bytes(32, "big") + (2).to_bytes(32, "big")
_BN_PRIME = 21888242871839275222246405745257275088696311157297823662689037894645226208583
_BN_G1_NEGATIVE = (1).to_bytes(32, "big") + (_BN_PRIME - 2).to_bytes(32, "big")
_BN_G2 = b"".join(
    value.to_bytes(32, "big")
    for value in (
        11559732032986387107991004021392285783925812861821192530917403151452391805634,
        10857046999023057135944570762232829481370756359578518086990519993285655852781,
        4082367875863433681332203403145435568316851327593401208105741076214120093531,
        8495653923123431417604973247489272438418190587263600148770280649306958101930,
    )
)
# EIP-2537: generator of BLS12-381's G1, each coordinate in 64 bytes
_BLS_G1 = bytes.fromhex(
    "00000000000000000000000000000000"
    "17f1d3a73197d7942695638c4fa9ac0fc3688c4f9774b905a14e3a3f171bac586c55e83ff97a1aeffb3af00adb22c6bb"
    "00000000000000000000000000000000"
    "08b3f481e3aaa0f1a09e30ed741d8ae4fcf5e095d5d00af600db18cb2c04b3edd03cc744a2888ae40caa232946c5e7e1"
)
_P256_KEY = ECC.construct(curve="P-256", d=0x1234567890ABCDEF)


def precompile_input(random: Random) -> tuple[bytes, bytes]:
    """Address of a precompile and an input for it, often a valid one."""
    number = random.choice([*range(1, 0x12), 0x100])
    words = [random.getrandbits(256).to_bytes(32, "big") for _ in range(8)]
    scalar = random.choice([0, 1, 2, random.getrandbits(256)]).to_bytes(32, "big")
    field = b"\0" * 17 + words[0] + words[1][:15]  # below both field primes
    choices: dict[int, list[bytes]] = {
        1: [words[0] + (27 + random.randrange(3)).to_bytes(32, "big") + words[1] + words[2], words[0]],
        2: [words[0][: random.randrange(33)]],
        3: [words[0][: random.randrange(33)]],
        4: [words[0] * random.randrange(5)],
        5: [_modexp(random)],
        6: [_BN_G1 + _BN_G1, _BN_G1 + _BN_G1_NEGATIVE, _BN_G1, words[0] + words[1], b""],
        7: [_BN_G1 + scalar, words[0] + words[1] + scalar],
        8: [b"", _BN_G1 + _BN_G2 + _BN_G1_NEGATIVE + _BN_G2, _BN_G1 + _BN_G2, bytes(384), bytes(191)],
        9: [
            random.randrange(40).to_bytes(4, "big") + words[0] * 6 + bytes(16) + bytes([random.randrange(3)]),
            words[0],
        ],
        10: [words[0] * 6, b""],
        11: [_BLS_G1 + _BLS_G1, bytes(256), _BLS_G1 + bytes(128), words[0] * 8],
        12: [_BLS_G1 + scalar, (_BLS_G1 + scalar) * 3, bytes(160), b""],
        13: [bytes(512), words[0] * 16],
        14: [bytes(288), words[0] * 9],
        15: [bytes(384), bytes(768), words[0] * 12, b""],
        16: [field, words[0] + words[1]],
        17: [field + field, words[0] * 4],
        0x100: [_p256(random, True), _p256(random, False), words[0]],
    }
    return number.to_bytes(20, "big"), random.choice(choices[number])


def _modexp(random: Random) -> bytes:
    sizes = [random.choice([0, 1, 32, 33, 64, 200]) for _ in range(3)]
    body = b"".join(random.randbytes(size) for size in sizes)
    return b"".join(size.to_bytes(32, "big") for size in sizes) + body


def _p256(random: Random, valid: bool) -> bytes:
    """RIP-7212 input: digest, r, s, x, y."""
    message = SHA256.new(random.randbytes(8))
    signature = DSS.new(_P256_KEY, "deterministic-rfc6979").sign(message)
    point = _P256_KEY.public_key().pointQ
    digest = message.digest() if valid else random.randbytes(32)
    return digest + signature + int(point.x).to_bytes(32, "big") + int(point.y).to_bytes(32, "big")
