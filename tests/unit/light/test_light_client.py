"""The light client believes what more than two thirds signed and nothing else: skipping, bisection, backwards, age,
clocks, and witnesses that show another chain."""

from collections.abc import Callable
from fractions import Fraction

import msgspec
import pytest

from plait.errors import LightConflict, LightRefused, Unavailable
from plait.light import AttackKind, Client, LightBlock, Policy, Provider, Trusted
from plait.light.commits import Commit
from plait.types import Hash32, Height
from plait.types.consensus import BlockIdFlag
from tests.unit.light.light_chains import (
    FOUR,
    Chain,
    Member,
    Source,
    changed,
    commit_to,
    set_of,
)


def client_on(
    source: Source,
    *,
    trusted: int = 1,
    witnesses: tuple[Provider, ...] = (),
    policy: Policy | None = None,
    now_ns: Callable[[], int] | None = None,
) -> Client:
    root = Trusted(Height(trusted), source.chain.block(trusted).hash)
    return Client(
        source, root, witnesses=witnesses, policy=policy, now_ns=now_ns or source.chain.now_ns  # type: ignore[arg-type]
    )  # fmt: skip


async def refusal(client: Client, height: int | None) -> LightRefused:
    """Why a block is refused; what was known before is still all that is known."""
    before = client.newest
    with pytest.raises(LightRefused) as caught:
        await client.verify(None if height is None else Height(height))
    assert client.newest == before
    return caught.value


def rotating(height: int) -> tuple[Member, ...]:
    """One validator of six changes every ten heights."""
    first = height // 10
    return tuple((number, 10) for number in range(first, first + 6))


# ---------------------------------------------------------------- ways to a block
async def test_a_far_block_takes_one_step_while_the_validators_stay() -> None:
    source = Source(Chain(1_000))
    client = client_on(source)
    block = await client.verify(Height(1_000))
    assert block == source.chain.block(1_000)
    assert source.asked == [1, 1_000]
    assert client.signed_power(Height(1_000)) == 30
    assert client.newest == Trusted(Height(1_000), block.hash)


async def test_validators_that_all_change_are_followed_by_bisection() -> None:
    source = Source(Chain(300, rotating))
    client = client_on(source)
    await client.verify(Height(300))
    assert 5 < len(source.asked) < 60
    assert client.statistics()["verified"] < 30


@pytest.mark.parametrize("trusted", [1, 40, 100])
async def test_every_height_can_be_verified_in_any_order(trusted: int) -> None:
    source = Source(Chain(100, rotating))
    client = client_on(source, trusted=trusted)
    for height in (50, 100, 2, 99, 1, 3, 60, 51, 49):
        assert await client.verify(Height(height)) == source.chain.block(height)
    assert await client.verify() == source.chain.block(100)


async def test_a_block_below_the_trusted_one_is_reached_backwards() -> None:
    source = Source(Chain(20))
    client = client_on(source, trusted=20)
    assert await client.verify(Height(12)) == source.chain.block(12)
    assert source.asked == [20, 12, *range(19, 12, -1)]
    source.replaced[11] = changed(source.chain.block(11), "header", app_hash=bytes(32))
    assert (await refusal(client, 11)).code == "light_last_block_mismatch"


async def test_a_block_that_the_provider_does_not_have() -> None:
    client = client_on(Source(Chain(5)))
    with pytest.raises(Unavailable):
        await client.verify(Height(6))


async def test_another_height_than_was_asked_for() -> None:
    source = Source(Chain(9))
    source.replaced[7] = source.chain.block(6)
    assert (await refusal(client_on(source), 7)).code == "light_height_wrong"


# ---------------------------------------------------------------- where trust begins and ends
async def test_a_trusted_hash_that_is_not_the_providers() -> None:
    source = Source(Chain(9))
    client = Client(source, Trusted(Height(3), Hash32(bytes(32))), now_ns=source.chain.now_ns)  # type: ignore[arg-type]
    assert (await refusal(client, 9)).code == "light_trusted_hash_wrong"


@pytest.mark.parametrize(("late_ns", "code"), [(-1, None), (0, "light_trust_expired")])
@pytest.mark.parametrize("height", [9, 2])
async def test_a_trusted_block_expires_at_the_end_of_the_trusting_period(
    late_ns: int, code: str | None, height: int
) -> None:
    source = Source(Chain(9))
    expiry = source.chain.headers[5].time_ns + Policy().trusting_period_ns
    client = client_on(source, trusted=5, now_ns=lambda: expiry + late_ns)
    if code is None:
        assert await client.verify(Height(height)) == source.chain.block(height)
    else:
        assert (await refusal(client, height)).code == code


@pytest.mark.parametrize(("early_ns", "code"), [(-1, None), (0, "light_time_wrong")])
async def test_a_block_may_be_ahead_of_the_clock_by_the_drift(early_ns: int, code: str | None) -> None:
    source = Source(Chain(9))
    now = source.chain.headers[9].time_ns - Policy().clock_drift_ns - early_ns
    client = client_on(source, now_ns=lambda: now)
    if code is None:
        assert await client.verify(Height(9)) == source.chain.block(9)
    else:
        assert (await refusal(client, 9)).code == code


@pytest.mark.parametrize(
    "policy",
    [
        Policy(trust_level=Fraction(1, 4)),
        Policy(trust_level=Fraction(4, 3)),
        Policy(trusting_period_ns=0),
        Policy(clock_drift_ns=-1),
    ],
)
def test_a_policy_that_cannot_be_meant(policy: Policy) -> None:
    with pytest.raises(LightRefused) as caught:
        client_on(Source(Chain(1)), policy=policy)
    assert caught.value.code == "light_policy_invalid"


# ---------------------------------------------------------------- who signed
def with_commit(block: LightBlock, change: Callable[[Commit], Commit]) -> LightBlock:
    return msgspec.structs.replace(block, commit=change(block.commit))


@pytest.mark.parametrize(
    ("absent", "nil", "code"),
    [((3,), (), None), ((2, 3), (), "light_power_insufficient"), ((3,), (2,), "light_power_insufficient")],
)
async def test_more_than_two_thirds_must_have_signed_the_block(
    absent: tuple[int, ...], nil: tuple[int, ...], code: str | None
) -> None:
    source = Source(Chain(9))
    source.replaced[2] = commit_to(source.chain.headers[2], FOUR, absent=absent, nil=nil)
    if code is None:
        await client_on(source).verify(Height(2))
    else:
        assert (await refusal(client_on(source), 2)).code == code


async def test_exactly_two_thirds_are_too_few() -> None:
    three = tuple((number, 10) for number in range(3))
    source = Source(Chain(9, lambda height: three))
    source.replaced[2] = commit_to(source.chain.headers[2], three, absent=(0,))
    assert (await refusal(client_on(source), 2)).code == "light_power_insufficient"


async def test_exactly_the_trust_level_is_too_little_to_skip() -> None:
    """Of three trusted validators one is left: the way leads over a block in between, which has two."""

    def members(height: int) -> tuple[Member, ...]:
        kept = 3 if height < 4 else 2 if height < 7 else 1
        return tuple((number, 10) for number in (*range(kept), *range(10, 13 - kept)))

    source = Source(Chain(9, members))
    await client_on(source).verify(Height(9))
    assert len(source.asked) > 2


def repeated(commit: Commit) -> Commit:
    """The first validator's signature in two places."""
    first = commit.signatures[0]
    return msgspec.structs.replace(commit, signatures=(first, first, *commit.signatures[2:]))


def swapped(commit: Commit) -> Commit:
    """Two validators' signatures in each other's place."""
    one, other = commit.signatures[0], commit.signatures[1]
    return msgspec.structs.replace(commit, signatures=(other, one, *commit.signatures[2:]))


def exchanged(commit: Commit) -> Commit:
    """Two validators' signatures exchanged, their addresses kept."""
    one, other, *rest = commit.signatures
    one, other = (
        msgspec.structs.replace(one, signature=other.signature),
        msgspec.structs.replace(other, signature=one.signature),
    )
    return msgspec.structs.replace(commit, signatures=(one, other, *rest))


def shorter(commit: Commit) -> Commit:
    return msgspec.structs.replace(commit, signatures=commit.signatures[:-1])


def from_nil(commit: Commit) -> Commit:
    """Votes for no block, shown as votes for it."""
    signatures = tuple(msgspec.structs.replace(one, flag=BlockIdFlag.COMMIT) for one in commit.signatures)
    return msgspec.structs.replace(commit, signatures=signatures)


@pytest.mark.parametrize(
    ("change", "adjacent", "skipping"),
    [
        (repeated, "light_commit_malformed", "light_vote_repeated"),
        (swapped, "light_commit_malformed", "light_commit_malformed"),
        (exchanged, "light_signature_invalid", "light_signature_invalid"),
        (shorter, "light_commit_malformed", "light_commit_malformed"),
    ],
)
async def test_a_commit_that_was_tampered_with(
    change: Callable[[Commit], Commit], adjacent: str, skipping: str
) -> None:
    for height, code in ((2, adjacent), (8, skipping)):
        source = Source(Chain(9))
        source.replaced[height] = with_commit(source.chain.block(height), change)
        assert (await refusal(client_on(source), height)).code == code


async def test_votes_for_nothing_are_no_votes_for_the_block() -> None:
    source = Source(Chain(9))
    nil = commit_to(source.chain.headers[5], FOUR, nil=(0, 1, 2, 3))
    source.replaced[5] = with_commit(nil, from_nil)
    assert (await refusal(client_on(source), 5)).code == "light_signature_invalid"


async def test_signatures_for_another_chain_or_round_are_worth_nothing() -> None:
    source = Source(Chain(9))
    header = source.chain.headers[5]
    foreign = commit_to(msgspec.structs.replace(header, chain_id="plait-78"), FOUR)
    source.replaced[5] = foreign
    assert (await refusal(client_on(source), 5)).code == "light_chain_wrong"
    block_id = source.chain.block(5).commit.block_id
    moved = msgspec.structs.replace(foreign.commit, block_id=block_id)
    source.replaced[5] = msgspec.structs.replace(source.chain.block(5), commit=moved)
    assert (await refusal(client_on(source), 5)).code == "light_signature_invalid"
    source.replaced[5] = changed(source.chain.block(5), "commit", round=1)
    assert (await refusal(client_on(source), 5)).code == "light_signature_invalid"


async def test_validators_with_more_power_than_they_have() -> None:
    source = Source(Chain(9))
    mighty = set_of(((0, 1_000), *FOUR[1:]))
    source.replaced[5] = msgspec.structs.replace(
        commit_to(source.chain.headers[5], FOUR, absent=(1, 2, 3)), validators=mighty
    )
    assert (await refusal(client_on(source), 5)).code == "light_validators_mismatch"


async def test_own_validators_need_the_trust_of_the_known_ones() -> None:
    """Somebody with keys of their own makes a whole chain of their own validators."""
    source = Source(Chain(9))
    impostors = Chain(9, lambda height: tuple((number, 10) for number in range(20, 24)), below=source.chain, up_to=4)
    false = Source(impostors)
    assert (await refusal(client_on(false), 9)).code == "light_next_validators_mismatch"


# ---------------------------------------------------------------- witnesses
class Silent:
    """A witness that has nothing."""

    name = "silent"

    async def light_block(self, height: Height | None) -> LightBlock:
        raise Unavailable("pruned", code="light_block_unavailable")


async def test_a_witness_that_agrees_is_counted() -> None:
    chain = Chain(50)
    client = client_on(Source(chain), witnesses=(Source(chain, name="witness"), Silent()))
    await client.verify(Height(50))
    assert client.statistics()["compared"] == 1
    assert set(client.witness_faults) == {"silent"}


async def test_witnesses_of_which_none_confirms_confirm_nothing() -> None:
    assert (await refusal(client_on(Source(Chain(9)), witnesses=(Silent(),)), 9)).code == "light_witness_missing"


async def test_a_witness_that_lags_behind_is_no_conflict() -> None:
    chain = Chain(50)
    behind = Source(chain, name="behind")
    behind.top = 40
    client = client_on(Source(chain), witnesses=(behind, Source(chain, name="other")))
    await client.verify(Height(50))
    assert "height 50" in client.witness_faults["behind"]


async def test_a_witness_that_shows_what_nobody_signed_is_faulty_and_nothing_more() -> None:
    chain = Chain(9)
    false = Source(chain, name="false", replaced={9: changed(chain.block(9), "header", app_hash=bytes(32))})
    client = client_on(Source(chain), witnesses=(false, Source(chain, name="honest")))
    await client.verify(Height(9))
    assert "light_commit_mismatch" in client.witness_faults["false"]


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        ({"salt": b"other"}, AttackKind.EQUIVOCATION),
        ({"salt": b"other", "round_": 3}, AttackKind.AMNESIA),
        ({"app_hash": lambda height: bytes(32)}, AttackKind.LUNATIC),
    ],
)
async def test_two_signed_blocks_of_one_height_are_evidence(settings: dict, kind: AttackKind) -> None:  # type: ignore[type-arg]
    honest = Chain(30)
    forked = Chain(30, below=honest, up_to=12, **settings)
    client = client_on(Source(forked, name="primary"), trusted=5, witnesses=(Source(honest, name="witness"),))
    await client.verify(Height(10))
    with pytest.raises(LightConflict) as caught:
        await client.verify(Height(30))
    assert client.newest.height == 10
    evidence = caught.value.fields["evidence"]
    assert evidence.kind is kind
    assert evidence.common_height == 10
    assert (evidence.primary, evidence.witness) == (forked.block(30), honest.block(30))
    everyone = {one.address for one in set_of(FOUR).validators}
    for accused in (evidence.primary, evidence.witness):
        assert set(evidence.suspects(accused)) == (set() if kind is AttackKind.AMNESIA else everyone)


async def test_a_block_beyond_the_witnesss_newest_that_is_not_later_is_a_conflict() -> None:
    """A forward attack: heights that do not exist yet, with times that do."""
    honest = Chain(20)
    early = Chain(30, below=honest, up_to=12, app_hash=lambda height: bytes(32))
    for height in range(13, 31):
        header = msgspec.structs.replace(early.headers[height], time_ns=honest.headers[12].time_ns + height)
        early.headers[height] = header
    client = client_on(Source(early), witnesses=(Source(honest, name="witness"),), now_ns=honest.now_ns)
    with pytest.raises(LightConflict) as caught:
        await client.verify(Height(30))
    assert caught.value.fields["evidence"].kind is AttackKind.LUNATIC
