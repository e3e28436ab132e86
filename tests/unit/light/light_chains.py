"""A chain of CometBFT blocks that are really signed, for tests of the light client, and what can be forged of it."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from hashlib import sha256
from typing import Any

import msgspec
from Crypto.PublicKey import ECC
from Crypto.Signature import eddsa

from plait.errors import Unavailable
from plait.light.blocks import LightBlock
from plait.light.commits import ABSENT, PRECOMMIT, Commit, CommitSignature, vote_sign_bytes
from plait.light.headers import BlockId, Header
from plait.light.validators import Validator, ValidatorSet
from plait.types import Height
from plait.types.consensus import BlockIdFlag

CHAIN_ID = "plait-77"
START_NS = 1_790_000_000 * 10**9
SECOND_NS = 10**9
Member = tuple[int, int]
"""A validator: number of its key, and its power."""


@cache
def key_of(number: int) -> Any:
    return ECC.construct(curve="Ed25519", seed=sha256(f"validator {number}".encode()).digest())


@cache
def public_key_of(number: int) -> bytes:
    return bytes(key_of(number).public_key().export_key(format="raw"))


def sign(number: int, message: bytes) -> bytes:
    return bytes(eddsa.new(key_of(number), "rfc8032").sign(message))


@cache
def set_of(members: tuple[Member, ...]) -> ValidatorSet:
    """In CometBFT's order: by power, highest first, then by address."""
    found = [Validator(public_key_of(number), power) for number, power in members]
    return ValidatorSet(tuple(sorted(found, key=lambda one: (-one.power, one.address))))


@cache
def _numbers(members: tuple[Member, ...]) -> dict[bytes, int]:
    return {Validator(public_key_of(number), power).address: number for number, power in members}


def commit_to(
    header: Header, members: tuple[Member, ...], *, round_: int = 0, absent: Sequence[int] = (), nil: Sequence[int] = ()
) -> LightBlock:
    """Signs a header by its validators; `absent` and `nil` are numbers of keys."""
    validators, numbers = set_of(members), _numbers(members)
    block_id = BlockId(header.hash, 1, sha256(header.hash).digest())
    signatures: list[CommitSignature] = []
    for place, validator in enumerate(validators.validators):
        number = numbers[validator.address]
        if number in absent:
            signatures.append(ABSENT)
            continue
        flag = BlockIdFlag.NIL if number in nil else BlockIdFlag.COMMIT
        time_ns = header.time_ns + 1_000_000 * (place + 1)
        signed = vote_sign_bytes(
            header.chain_id, PRECOMMIT, height=header.height, round_=round_,
            block_id=BlockId() if flag is BlockIdFlag.NIL else block_id, time_ns=time_ns,
        )  # fmt: skip
        signatures.append(CommitSignature(flag, validator.address, time_ns, sign(number, signed)))
    commit = Commit(header.height, round_, block_id, tuple(signatures))
    return LightBlock(header=header, commit=commit, validators=validators)


class Chain:
    """Blocks from height 1 on.

    Args:
        heights: how many.
        members: validators of a height; one set for all by default.
        app_hash: what the header of a height says.
        salt: another one gives another chain.
        below: blocks of another chain that this one continues; it differs from `below`'s end on.
    """

    def __init__(
        self,
        heights: int,
        members: Callable[[int], tuple[Member, ...]] = lambda height: FOUR,
        *,
        app_hash: Callable[[int], bytes] = lambda height: sha256(b"app %d" % height).digest(),
        salt: bytes = b"",
        below: "Chain | None" = None,
        up_to: int = 0,
        round_: int = 0,
    ) -> None:
        self.members = members
        self.headers: dict[int, Header] = {} if below is None else {h: below.headers[h] for h in range(1, up_to + 1)}
        self._below, self._up_to, self._round = below, up_to, round_
        self._blocks: dict[int, LightBlock] = {}
        for height in range(up_to + 1, heights + 1):
            self.headers[height] = self._header(height, app_hash(height), salt)

    def _header(self, height: int, app_hash: bytes, salt: bytes) -> Header:
        last = self.headers.get(height - 1)
        return Header(
            chain_id=CHAIN_ID,
            height=Height(height),
            time_ns=START_NS + height * SECOND_NS,
            last_block_id=BlockId() if last is None else BlockId(last.hash, 1, sha256(last.hash).digest()),
            last_commit_hash=sha256(b"last %d" % height).digest(),
            data_hash=sha256(salt + b"data %d" % height).digest(),
            validators_hash=set_of(self.members(height)).hash,
            next_validators_hash=set_of(self.members(height + 1)).hash,
            consensus_hash=sha256(b"parameters").digest(),
            app_hash=app_hash,
            last_results_hash=sha256(b"results").digest(),
            evidence_hash=sha256(b"").digest(),
            proposer_address=set_of(self.members(height)).validators[0].address,
        )

    @property
    def height(self) -> int:
        return max(self.headers)

    def block(self, height: int) -> LightBlock:
        """The block of a height, signed by all of its validators."""
        if self._below is not None and height <= self._up_to:
            return self._below.block(height)
        if height not in self._blocks:
            self._blocks[height] = commit_to(self.headers[height], self.members(height), round_=self._round)
        return self._blocks[height]

    def now_ns(self) -> int:
        """Two seconds after the newest block."""
        return self.headers[self.height].time_ns + 2 * SECOND_NS


FOUR = tuple((number, 10) for number in range(4))


class Source:
    """A provider that shows a chain, with some blocks replaced."""

    def __init__(
        self, chain: Chain, *, name: str = "primary", replaced: Mapping[int, LightBlock] | None = None
    ) -> None:
        self.name = name
        self.chain = chain
        self.replaced = dict(replaced or {})
        self.asked: list[int | None] = []
        self.top = chain.height

    async def light_block(self, height: Height | None) -> LightBlock:
        self.asked.append(height)
        wanted = self.top if height is None else height
        if wanted in self.replaced:
            return self.replaced[wanted]
        if not 0 < wanted <= self.top:
            raise Unavailable(f"there is no block {wanted}", code="light_block_unavailable")
        return self.chain.block(wanted)


def changed(block: LightBlock, part: str, **changes: Any) -> LightBlock:
    """A light block with fields of its header, commit or validators replaced; nothing is signed again."""
    replaced = msgspec.structs.replace(getattr(block, part), **changes)
    return msgspec.structs.replace(block, **{part: replaced})
