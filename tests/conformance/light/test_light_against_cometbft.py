"""Hashes, sign bytes and verdicts of the light client are those of CometBFT's own Go code, on random input: headers,
validator sets of 1 to 150, commits with absent, nil, wrong, repeated and foreign signatures.

Replay a failure with PLAIT_SEED=<seed>."""

import os
import random
from collections.abc import Iterator
from fractions import Fraction
from hashlib import sha256
from typing import Any

import msgspec
import pytest

from plait.errors import LightRefused
from plait.light import AttackKind, Evidence, Policy, verify, verify_backwards
from plait.light.blocks import (
    LightBlock,
    decode_light_block,
    encode_block_id,
    encode_commit,
    encode_header,
    encode_light_block,
    encode_validators,
    format_time,
)
from plait.light.commits import (
    ABSENT,
    PRECOMMIT,
    PREVOTE,
    Commit,
    CommitSignature,
    check_light,
    check_trusting,
    proposal_sign_bytes,
    vote_sign_bytes,
)
from plait.light.headers import BlockId, Header
from plait.light.protobuf import NANOSECONDS
from plait.light.validators import TOTAL_POWER_MAX, Validator, ValidatorSet
from plait.types import Height
from plait.types.consensus import BlockIdFlag
from tests.peers.comet.oracle import Oracle, Refused, running

pytestmark = pytest.mark.cometbft
SEED = int(os.environ.get("PLAIT_SEED", "1"))
NOW_NS = 1_800_000_000 * NANOSECONDS


@pytest.fixture(scope="module")
def oracle() -> Iterator[Oracle]:
    with running() as found:
        yield found


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> random.Random:
    print(f"PLAIT_SEED={SEED}")
    return random.Random(f"{SEED} {request.node.name}")


# ---------------------------------------------------------------- random values
def some_time(rng: random.Random) -> int:
    """Whole seconds, milliseconds and nanoseconds; far past and far future."""
    seconds = rng.choice([0, 1, 1_790_000_000, rng.randrange(-62_135_596_800, 253_402_300_000)])
    return seconds * NANOSECONDS + rng.choice([0, 1, 500_000_000, 999_999_999, rng.randrange(NANOSECONDS)])


def some_hash(rng: random.Random) -> bytes:
    return rng.randbytes(32)


def some_block_id(rng: random.Random) -> BlockId:
    kind = rng.randrange(8)
    if kind == 0:
        return BlockId()
    return BlockId(some_hash(rng), rng.choice([1, 2, 127, 128, 2**32 - 1]), some_hash(rng))


def some_int(rng: random.Random, top: int) -> int:
    return min(top, rng.choice([0, 1, 127, 128, 300, top, rng.randrange(top + 1)]))


def some_chain_id(rng: random.Random) -> str:
    return "".join(rng.choice("abcéz-_0 9\u4e16") for _ in range(rng.randrange(1, 16)))


def some_header(rng: random.Random, **fields: Any) -> Header:
    def optional_hash() -> bytes:
        return b"" if rng.randrange(6) == 0 else some_hash(rng)

    values: dict[str, Any] = {
        "block_version": rng.choice([0, 11, 2**63 - 1]),
        "app_version": some_int(rng, 2**64 - 1),
        "chain_id": some_chain_id(rng),
        "height": Height(some_int(rng, 2**63 - 1)),
        "time_ns": some_time(rng),
        "last_block_id": some_block_id(rng),
        "last_commit_hash": optional_hash(),
        "data_hash": optional_hash(),
        "validators_hash": some_hash(rng),
        "next_validators_hash": optional_hash(),
        "consensus_hash": optional_hash(),
        "app_hash": rng.randbytes(rng.choice([0, 1, 32, 64])),
        "last_results_hash": optional_hash(),
        "evidence_hash": optional_hash(),
        "proposer_address": rng.choice([b"", rng.randbytes(20)]),
    }
    return Header(**values | fields)


def secret_of(number: int) -> bytes:
    return sha256(b"conformance key %d" % number).digest()


class Keys:
    """Ed25519 keys by number; CometBFT signs."""

    def __init__(self, oracle: Oracle, count: int) -> None:
        self._oracle = oracle
        self.secrets = [secret_of(number) for number in range(count)]
        signed = oracle.call("sign", secrets=[s.hex() for s in self.secrets], messages=[""] * count)
        self.public_keys = [bytes.fromhex(one["public_key"]) for one in signed]
        self.number_of = {key: number for number, key in enumerate(self.public_keys)}

    def sign(self, work: list[tuple[bytes, bytes]]) -> list[bytes]:
        """Signatures of (public key, message)."""
        secrets = [self.secrets[self.number_of[key]].hex() for key, _ in work]
        messages = [message.hex() for _, message in work]
        return [
            bytes.fromhex(one["signature"]) for one in self._oracle.call("sign", secrets=secrets, messages=messages)
        ]

    def some_set(self, rng: random.Random, size: int) -> ValidatorSet:
        numbers = rng.sample(range(len(self.public_keys)), size)
        top = rng.choice([1, 10, 10**6, TOTAL_POWER_MAX // size])
        found = [Validator(self.public_keys[number], rng.randint(1, top)) for number in numbers]
        return ValidatorSet(tuple(sorted(found, key=lambda one: (-one.power, one.address))))

    def commit(self, header: Header, validators: ValidatorSet, round_: int, flags: list[BlockIdFlag]) -> Commit:
        block_id = BlockId(header.hash, 1, sha256(header.hash).digest())
        voters = [(one, flag) for one, flag in zip(validators.validators, flags, strict=True)]
        times = [header.time_ns + 1_000 * place for place in range(len(voters))]
        messages = [
            (
                one.public_key,
                vote_sign_bytes(
                    header.chain_id, PRECOMMIT, height=header.height, round_=round_,
                    block_id=block_id if flag is BlockIdFlag.COMMIT else BlockId(), time_ns=times[place],
                ),
            )
            for place, (one, flag) in enumerate(voters)
        ]  # fmt: skip
        signatures = tuple(
            ABSENT if flag is BlockIdFlag.ABSENT else CommitSignature(flag, one.address, times[place], signed)
            for place, ((one, flag), signed) in enumerate(zip(voters, self.sign(messages), strict=True))
        )
        return Commit(header.height, round_, block_id, signatures)


@pytest.fixture(scope="module")
def keys(oracle: Oracle) -> Keys:
    return Keys(oracle, 200)


# ---------------------------------------------------------------- hashes and sign bytes
def test_header_hashes(oracle: Oracle, rng: random.Random) -> None:
    for _ in range(300):
        header = some_header(rng)
        assert oracle.call("header_hash", header=encode_header(header)) == header.hash.hex(), header


def test_validator_set_hashes_of_1_to_150(oracle: Oracle, rng: random.Random, keys: Keys) -> None:
    for size in range(1, 151):
        validators = keys.some_set(rng, size)
        assert oracle.call("validators_hash", validators=encode_validators(validators)) == validators.hash.hex(), size


def test_sign_bytes_of_votes_and_proposals(oracle: Oracle, rng: random.Random) -> None:
    for _ in range(300):
        kind, height, round_ = rng.choice([PREVOTE, PRECOMMIT]), some_int(rng, 2**63 - 1), some_int(rng, 2**31 - 1)
        block_id, time_ns, chain_id = some_block_id(rng), some_time(rng), some_chain_id(rng)
        shown = {"chain_id": chain_id, "height": str(height), "round": round_, "timestamp": format_time(time_ns)}
        shown["block_id"] = encode_block_id(block_id)
        voted = vote_sign_bytes(chain_id, kind, height=height, round_=round_, block_id=block_id, time_ns=time_ns)
        assert oracle.call("vote_sign_bytes", type=kind, **shown) == voted.hex(), shown
        pol_round = rng.choice([-1, 0, some_int(rng, 2**31 - 1)])
        proposed = proposal_sign_bytes(
            chain_id, height=height, round_=round_, pol_round=pol_round, block_id=block_id, time_ns=time_ns
        )
        assert oracle.call("proposal_sign_bytes", pol_round=pol_round, **shown) == proposed.hex(), shown


# ---------------------------------------------------------------- commits
def some_flags(rng: random.Random, size: int) -> list[BlockIdFlag]:
    weights = rng.choice([(0, 1, 0), (1, 3, 0), (1, 4, 1), (1, 1, 1), (2, 1, 0)])
    return rng.choices([BlockIdFlag.ABSENT, BlockIdFlag.COMMIT, BlockIdFlag.NIL], weights, k=size)


def tampered(rng: random.Random, commit: Commit) -> Commit:
    """A commit with one thing wrong, or nothing."""
    signatures = list(commit.signatures)
    place, other = rng.randrange(len(signatures)), rng.randrange(len(signatures))
    what = rng.choice(
        ["nothing", "nothing", "flip", "repeat", "swap", "time", "round", "height", "flag", "drop", "stranger"]
    )
    replace = msgspec.structs.replace
    if what == "flip" and signatures[place].signature:
        broken = bytearray(signatures[place].signature)
        broken[rng.randrange(64)] ^= 1 << rng.randrange(8)
        signatures[place] = replace(signatures[place], signature=bytes(broken))
    elif what == "repeat":
        signatures[place] = signatures[other]
    elif what == "swap":
        signatures[place], signatures[other] = signatures[other], signatures[place]
    elif what == "time":
        signatures[place] = replace(signatures[place], time_ns=signatures[place].time_ns + 1)
    elif what == "flag" and signatures[place].signature:
        signatures[place] = replace(signatures[place], flag=rng.choice([BlockIdFlag.COMMIT, BlockIdFlag.NIL]))
    elif what == "drop":
        signatures.pop(place)
    elif what == "stranger" and signatures[place].signature:
        signatures[place] = replace(signatures[place], address=rng.randbytes(20))
    commit = replace(commit, signatures=tuple(signatures))
    if what == "round":
        commit = replace(commit, round=commit.round + 1)
    if what == "height":
        commit = replace(commit, height=Height(commit.height + 1))
    return commit


def verdict_of(check: Any, *arguments: Any) -> str | None:
    try:
        check(*arguments)
    except LightRefused as refused:
        return refused.code
    return None


def answer_of(oracle: Oracle, op: str, **fields: Any) -> str | None:
    try:
        oracle.call(op, **fields)
    except Refused as refused:
        return str(refused)
    return None


@pytest.mark.parametrize("top", [4, 20, 150])
def test_verdicts_on_commits(oracle: Oracle, rng: random.Random, keys: Keys, top: int) -> None:
    """For 2/3 of the set itself, and for any trust level of another set that shares validators with it."""
    accepted = {"light": 0, "trusting": 0}
    rounds = {4: 120, 20: 80, 150: 60}[top]
    for _ in range(rounds):
        size = rng.randint(1, top)
        validators = keys.some_set(rng, size)
        header = some_header(rng, chain_id="plait-1", height=Height(rng.randint(1, 2**40)), time_ns=NOW_NS)
        commit = tampered(rng, keys.commit(header, validators, rng.randrange(3), some_flags(rng, size)))
        known = rng.choice([validators, keys.some_set(rng, rng.randint(1, top))])
        level = rng.choice([Fraction(1, 3), Fraction(2, 3), Fraction(1, 2), Fraction(1)])
        shown = {"chain_id": "plait-1", "commit": encode_commit(commit)}
        if commit.signatures:
            told = answer_of(
                oracle, "verify_light", validators=encode_validators(validators), height=str(commit.height),
                block_id=encode_block_id(commit.block_id), **shown,
            )  # fmt: skip
            found = verdict_of(check_light, "plait-1", validators, commit)
            assert (told is None) == (found is None), (told, found, commit)
            accepted["light"] += found is None
        told = answer_of(
            oracle, "verify_trusting", validators=encode_validators(known), numerator=str(level.numerator),
            denominator=str(level.denominator), **shown,
        )  # fmt: skip
        found = verdict_of(check_trusting, "plait-1", known, commit, level)
        assert (told is None) == (found is None), (told, found, commit)
        accepted["trusting"] += found is None
    assert all(5 < count < rounds for count in accepted.values()), f"one-sided: {accepted} of {rounds}"


# ---------------------------------------------------------------- light blocks
KINDS = {
    "light_trust_expired": "ErrOldHeaderExpired",
    "light_trust_insufficient": "ErrNewValSetCantBeTrusted",
    "light_power_insufficient": "ErrInvalidHeader",
    "light_time_wrong": "ErrInvalidHeader",
    "light_height_wrong": "",
    "light_validators_mismatch": "ErrInvalidHeader",
    "light_commit_mismatch": "ErrInvalidHeader",
    "light_chain_wrong": "ErrInvalidHeader",
    "light_block_malformed": "ErrInvalidHeader",
    "light_commit_malformed": "",
    "light_vote_repeated": "",
    "light_signature_invalid": "",
    "light_next_validators_mismatch": "",
}


def some_pair(rng: random.Random, keys: Keys) -> tuple[LightBlock, LightBlock]:
    """A trusted block and one that may follow it: in half of the cases nothing, in the others one thing or more is
    wrong."""

    def either(right: Any, *wrong: Any) -> Any:
        return rng.choice(wrong) if spoiled and rng.randrange(4) == 0 else right

    spoiled = rng.randrange(2) == 0
    size = rng.randint(1, 12)
    first, then = keys.some_set(rng, size), keys.some_set(rng, size)
    if rng.randrange(3):
        then = first
    height = rng.choice([1, 5, 2**40])
    fields: dict[str, Any] = {"block_version": 11, "proposer_address": rng.randbytes(20)}
    fields |= {name: some_hash(rng) for name in ("consensus_hash", "last_results_hash", "next_validators_hash")}
    age_ns = either(rng.choice([10**9, 10**13]), 1, 10**14, 2 * 10**14)
    trusted_header = some_header(
        rng, chain_id="plait-1", height=Height(height), time_ns=NOW_NS - age_ns,
        **fields | {"validators_hash": first.hash, "next_validators_hash": either(then.hash, some_hash(rng))},
    )  # fmt: skip
    header = some_header(
        rng,
        chain_id=either("plait-1", "plait-2"),
        height=Height(height + either(rng.choice([1, 2, 7]), 0)),
        time_ns=trusted_header.time_ns + either(rng.choice([1, 10**8]), 0, -1, 10**9, 10**14),
        **fields | {"validators_hash": either(then.hash, first.hash, some_hash(rng))},
    )
    trusted = LightBlock(
        header=trusted_header, validators=first, commit=keys.commit(trusted_header, first, 0, some_flags(rng, size))
    )
    flags = some_flags(rng, size) if spoiled else [BlockIdFlag.COMMIT] * size
    commit = keys.commit(header, then, 0, flags)
    return trusted, LightBlock(header=header, validators=then, commit=either(commit, *[tampered(rng, commit)] * 3))


def test_verdicts_on_light_blocks(oracle: Oracle, rng: random.Random, keys: Keys) -> None:
    seen: dict[str | None, int] = {}
    for _ in range(400):
        trusted, new = some_pair(rng, keys)
        policy = Policy(trusting_period_ns=10**14, clock_drift_ns=rng.choice([0, 10**9]))
        told = answer_of(
            oracle, "verify", trusted=encode_light_block(trusted), untrusted=encode_light_block(new),
            now=format_time(NOW_NS), trusting_period_ns=str(policy.trusting_period_ns),
            drift_ns=str(policy.clock_drift_ns), numerator="1", denominator="3",
        )  # fmt: skip
        try:
            verify(trusted, new, now_ns=NOW_NS, policy=policy)
            found = None
        except LightRefused as refused:
            found = refused.code
        assert (told is None) == (found is None), (told, found, trusted, new)
        if found is not None and told is not None:
            # One signature alone is checked there before its power is compared.
            alone = len(new.commit.signatures) == 1 and "wrong signature" in told
            assert KINDS[found] in told or alone, (told, found)
        seen[found] = seen.get(found, 0) + 1
    assert seen[None] > 80
    assert len(seen) >= 9, seen


def test_verdicts_on_older_headers(oracle: Oracle, rng: random.Random) -> None:
    accepted = 0
    for _ in range(100):
        older = some_header(
            rng, chain_id="plait-1", block_version=11, height=Height(7), time_ns=NOW_NS, proposer_address=bytes(20),
            next_validators_hash=some_hash(rng), consensus_hash=some_hash(rng),
        )  # fmt: skip
        named = rng.choice([older.hash, older.hash, some_hash(rng)])
        above = some_header(
            rng, chain_id=rng.choice(["plait-1"] * 5 + ["plait-2"]), height=Height(8),
            time_ns=NOW_NS + rng.choice([1, 0, 10**9]), last_block_id=BlockId(named, 1, some_hash(rng)),
        )  # fmt: skip
        told = answer_of(oracle, "verify_backwards", untrusted=encode_header(older), trusted=encode_header(above))
        found = verdict_of(verify_backwards, older, above)
        assert (told is None) == (found is None), (told, found)
        accepted += found is None
    assert 10 < accepted < 90


def test_what_cometbft_writes_is_read_back(rng: random.Random, keys: Keys) -> None:
    for _ in range(50):
        _, block = some_pair(rng, keys)
        assert decode_light_block(encode_light_block(block)) == block


# ---------------------------------------------------------------- evidence
def test_evidence_accuses_whom_cometbft_accuses(oracle: Oracle, rng: random.Random, keys: Keys) -> None:
    seen: set[AttackKind] = set()
    for _ in range(60):
        size = rng.randint(1, 9)
        members = keys.some_set(rng, size)
        known = rng.choice([members, keys.some_set(rng, size)])
        fields: dict[str, Any] = {"block_version": 11, "chain_id": "plait-1", "proposer_address": bytes(20)}
        fields |= {"validators_hash": members.hash, "app_hash": bytes(32), "time_ns": NOW_NS}
        one = some_header(rng, height=Height(9), **fields)
        other = msgspec.structs.replace(
            one, data_hash=some_hash(rng), app_hash=rng.choice([bytes(32), bytes(32), some_hash(rng)])
        )
        common = some_header(rng, height=Height(5), **fields | {"validators_hash": known.hash})
        blocks = [
            LightBlock(header=h, validators=v, commit=keys.commit(h, v, r, some_flags(rng, len(v.validators))))
            for h, v, r in ((common, known, 0), (one, members, 0), (other, members, rng.choice([0, 0, 1])))
        ]
        evidence = Evidence(common=blocks[0], primary=blocks[1], witness=blocks[2], witness_name="w")
        told = oracle.call(
            "evidence", common=encode_light_block(blocks[0]), conflicting=encode_light_block(blocks[1]),
            trusted=encode_light_block(blocks[2]), shown=evidence.against(blocks[1]),
        )  # fmt: skip
        assert told["same"], (evidence.kind, told)
        seen.add(evidence.kind)
    assert seen == set(AttackKind)
