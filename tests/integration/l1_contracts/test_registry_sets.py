"""The registry follows a validator set that more than two thirds of the set before it signed, and no other."""

from __future__ import annotations

import random
from itertools import combinations

import pytest
from contracts_l1 import CHAIN_ID, L1
from validators import (
    DAY,
    NETWORK_ID,
    TRUST_S,
    Member,
    Registry,
    address_of,
    checksummed,
    key_of,
    members,
    raw,
    signed,
)

from plait.l1.attestations import (
    L1Contract,
    attest,
    attester_digest,
    attester_of,
    is_quorum,
    pack,
    set_digest,
    set_hash,
)
from plait.light.validators import Validator, ValidatorSet
from plait.types import Address, Hash32, Height, NetworkId

pytestmark = pytest.mark.node_js

APP = b"\x11" * 32
GROUP_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
"""Of secp256k1."""


@pytest.fixture
def registry(l1: L1) -> Registry:
    return Registry(l1)


def comet_hash(some: list[Member]) -> bytes:
    return ValidatorSet(tuple(Validator(one.validator.public_key, one.validator.power) for one in some)).hash


def test_the_commitment_is_checkable(l1: L1, registry: Registry) -> None:
    """What is stored is the hash of the set and the hash that CometBFT's headers have, of any size and power."""
    for powers in ([1], [2**40, 127, 128, 5, 5], [3] * 7):
        made = Registry(l1, powers)
        stored = made.functions.commitments(1).call()
        assert stored[0] == set_hash([one.validator for one in made.set])
        assert stored[1] == comet_hash(made.set)
        assert stored[2:4] == [sum(powers), 1]
        assert made.functions.isCurrentSet(made.listed()).call()
        assert not made.functions.isCurrentSet([*made.listed(), *made.listed()]).call()


def test_digests_are_the_contracts(l1: L1, registry: Registry) -> None:
    """Python and the contract sign the same bytes, for sets, checkpoints and attesters."""
    after = members([5, 6], first=20)
    assert registry.functions.setDigest(checksummed(after, l1), 9).call() == registry.set_digest(after, 9)
    assert registry.functions.checkpointDigest(9, APP).call() == registry.checkpoint_digest(9, APP)
    one, other = l1.accounts[3], l1.accounts[4]
    mine = attester_digest(registry.identity, operator=raw(one), attester=raw(other), nonce=0)
    assert registry.functions.attesterDigest(one, other).call() == mine


def test_a_set_hands_over_to_the_next(l1: L1, registry: Registry) -> None:
    """A signed update makes the next set current: it signs from then on, and the former one no longer."""
    former, after = registry.set, members([7, 1, 1], first=20)
    l1.send(registry.update(after, 100), what="PlaitRegistry.updateSet, 4 validators to 3")
    assert registry.epoch == 2
    digest = registry.checkpoint_digest(100, APP)
    call = registry.functions.commitCheckpoint(100, APP, registry.listed(), signed(former, digest))
    assert l1.refused(call)[0] == "SetUnknown"
    registry.set = after
    l1.send(registry.checkpoint(100, APP, [0]))
    assert registry.functions.appHashOf(100).call() == APP
    assert registry.functions.commitments(2).call()[1] == comet_hash(after)


def test_exactly_two_thirds_is_not_enough(l1: L1) -> None:
    """The bound is strict: 6 of 9 do not pass, 7 of 9 do."""
    registry = Registry(l1, [3, 3, 1, 1, 1])
    assert l1.refused(registry.checkpoint(5, APP, [0, 1])) == ("PowerTooLow", (6, 9))
    l1.send(registry.checkpoint(5, APP, [0, 1, 4]))


@pytest.mark.parametrize("seed", range(4))
def test_random_sets_and_signers_agree_with_the_model(l1: L1, seed: int) -> None:
    """For random powers and every kind of signers, the registry accepts exactly when the model counts a quorum."""
    rng = random.Random(seed)
    count = rng.randint(1, 7)
    registry = Registry(l1, [rng.choice([1, 2, 3, 10, 2**30, rng.randint(1, 2**40)]) for _ in range(count)])
    validators = [one.validator for one in registry.set]
    subsets = [c for size in range(count + 1) for c in combinations(range(count), size)]
    for height, places in enumerate(rng.sample(subsets, min(len(subsets), 14)), 1):
        call = registry.checkpoint(height, bytes([height]) * 32, places)
        if is_quorum(validators, places):
            l1.send(call)
        else:
            signed_power = sum(validators[place].power for place in places)
            total = sum(one.power for one in validators)
            assert l1.refused(call) == ("PowerTooLow", (signed_power, total)), f"seed {seed}, signers {places}"


def test_a_wrong_signature_spoils_nothing(l1: L1, registry: Registry) -> None:
    """One that signs rubbish, or changes its attester after it has signed, cannot keep others from committing."""
    digest = registry.checkpoint_digest(5, APP)
    rubbish = {0: b"\xff" * 64} | {place: attest(registry.set[place].key, digest) for place in (1, 2, 3)}
    l1.send(registry.functions.commitCheckpoint(5, APP, registry.listed(), pack(rubbish)))
    assert registry.functions.appHashOf(5).call() == APP


def test_a_signature_counts_once_and_in_its_place(l1: L1, registry: Registry) -> None:
    """Signatures listed twice, out of order, for another's place, too few or too many, or tampered make no quorum."""
    digest = registry.checkpoint_digest(5, APP)
    good = [attest(one.key, digest) for one in registry.set]

    def commit(places: int, compact: bytes) -> str:
        call = registry.functions.commitCheckpoint(5, APP, registry.listed(), (places, compact))
        return l1.refused(call)[0]

    assert commit(0b0111, good[0] * 3) == "PowerTooLow"
    assert commit(0b0111, good[1] + good[0] + good[2]) == "PowerTooLow"
    assert commit(0b0111, good[0] + good[1]) == "SignaturesMalformed"
    assert commit(0b0011, b"".join(good)) == "SignaturesMalformed"
    assert commit(0b0111, b"".join(good[:3])[:-1]) == "SignaturesMalformed"
    assert commit(0b1_0111, b"".join(good)) == "SignaturesMalformed"
    assert commit(1 << 255 | 0b0111, b"".join(good)) == "SignaturesMalformed"
    tampered = bytearray(b"".join(good[:3]))
    tampered[40] ^= 1
    assert commit(0b0111, bytes(tampered)) == "PowerTooLow"
    r, vs = good[0][:32], int.from_bytes(good[0][32:], "big")
    high_s = GROUP_ORDER - (vs & ~(1 << 255))
    assert commit(0b0111, r + high_s.to_bytes(32, "big") + good[1] + good[2]) == "PowerTooLow"
    assert commit(0b0111, bytes(64) + good[1] + good[2]) == "PowerTooLow"
    assert commit(0b0000, b"") == "PowerTooLow"


def test_a_signature_is_worth_nothing_elsewhere(l1: L1, registry: Registry) -> None:
    """Signed for another chain, contract, network, epoch, height or hash, nothing is accepted."""
    twin = Registry(l1)
    after = members([4, 4], first=30)
    listed_after = checksummed(after, l1)
    right = {
        "epoch": 2,
        "height": Height(50),
        "previous": set_hash([one.validator for one in registry.set]),
        "validators": [one.validator for one in after],
    }
    wrong = [
        set_digest(L1Contract(1, registry.identity.address), NETWORK_ID, **right),
        set_digest(twin.identity, NETWORK_ID, **right),
        set_digest(registry.identity, NetworkId(78), **right),
        set_digest(registry.identity, NETWORK_ID, **{**right, "epoch": 3}),
        set_digest(registry.identity, NETWORK_ID, **{**right, "epoch": 1}),
        set_digest(registry.identity, NETWORK_ID, **{**right, "height": Height(51)}),
        set_digest(registry.identity, NETWORK_ID, **{**right, "previous": Hash32(bytes(32))}),
        set_digest(registry.identity, NETWORK_ID, **{**right, "validators": right["validators"][:1]}),
        registry.checkpoint_digest(50, APP),
    ]
    for digest in wrong:
        call = registry.functions.updateSet(registry.listed(), listed_after, 50, signed(registry.set, digest))
        assert l1.refused(call)[0] == "PowerTooLow"
    digest = set_digest(registry.identity, NETWORK_ID, **right)
    call = registry.functions.updateSet(registry.listed(), listed_after, 50, signed(registry.set, digest))
    l1.send(call)
    assert l1.refused(call)[0] == "HeightNotAbove"
    registry.set = after
    assert registry.checkpoint_digest(60, APP, epoch=1) != registry.checkpoint_digest(60, APP)
    stale = signed(after, registry.checkpoint_digest(60, APP, epoch=1))
    call = registry.functions.commitCheckpoint(60, APP, registry.listed(), stale)
    assert l1.refused(call)[0] == "PowerTooLow"


def test_a_set_cannot_come_back_by_its_old_update(l1: L1, registry: Registry) -> None:
    """After A, B, A the update that once led from A to B does not lead there again."""
    first, second = registry.set, members([5, 5], first=40)
    to_second = registry.update(second, 10)
    l1.send(to_second)
    registry.set = second
    l1.send(registry.update(first, 20))
    registry.set = first
    old = to_second.args
    replayed = registry.functions.updateSet(old[0], old[1], 30, old[3])
    assert l1.refused(replayed)[0] == "PowerTooLow"


def test_impossible_sets_are_refused(l1: L1, registry: Registry) -> None:
    """Empty, unordered, with a validator twice, without power or operator, too large or too strong: never committed."""
    some = members([9, 8, 8, 1], first=50)
    twice_operator = [*some[:3], Member(type(some[0].validator)(some[0].validator.operator, b"\x09" * 32, 1), b"")]
    twice_key = [
        *some[:3],
        Member(type(some[0].validator)(Address(b"\x09" * 20), some[0].validator.public_key, 1), b""),
    ]
    no_power = [*some[:3], Member(type(some[0].validator)(Address(b"\x09" * 20), b"\x09" * 32, 0), b"")]
    no_operator = [Member(type(some[0].validator)(Address(bytes(20)), b"\x09" * 32, 9), b"")]
    huge = members([2**59, 2**59, 2**59], first=50)
    for after, error in (
        ([], "SetEmpty"),
        ([some[1], some[0]], "SetUnordered"),
        ([some[0], some[2], some[1]], "SetUnordered"),
        (twice_operator, "ValidatorTwice"),
        (twice_key, "ValidatorTwice"),
        (no_power, "PowerOutOfBounds"),
        (no_operator, "OperatorZero"),
        (huge, "PowerOutOfBounds"),
        (members([1] * 201, first=100), "SetTooLarge"),
    ):
        assert l1.refused(registry.update(after, 10))[0] == error


def test_two_updates_fit_one_transaction(l1: L1, registry: Registry) -> None:
    """The marks against doubles are of one set: a contract that updates twice in a transaction may keep validators."""
    aggregate = l1.deploy("Multicall")
    calls = []
    for height in (10, 20):
        digest = set_digest(
            registry.identity,
            NETWORK_ID,
            epoch=height // 10 + 1,
            height=Height(height),
            previous=set_hash([one.validator for one in registry.set]),
            validators=[one.validator for one in registry.set],
        )
        arguments = [registry.listed(), registry.listed(), height, signed(registry.set, digest)]
        calls.append((registry.contract.address, False, registry.contract.encode_abi("updateSet", arguments)))
    l1.send(aggregate.functions.aggregate3(calls))
    assert registry.epoch == 3


def test_the_largest_set_fits_a_transaction(l1: L1) -> None:
    """200 validators hand over to 200, signed by 134 of them, within a transaction's gas."""
    registry = Registry(l1, [1] * 200)
    assert l1.deployment_gas["PlaitRegistry"] < 15_000_000
    after = members([1] * 200, first=300)
    receipt = l1.send(
        registry.update(after, 10, range(134)), what="PlaitRegistry.updateSet, 200 validators, 134 signatures"
    )
    assert receipt["gasUsed"] < 10_000_000
    registry.set = after
    l1.send(
        registry.checkpoint(10, APP, range(134)), what="PlaitRegistry.commitCheckpoint, 200 validators, 134 signatures"
    )


def test_an_operator_appoints_its_attester(l1: L1) -> None:
    """The appointed key signs instead of the operator's; it must show that it wants to, and serves one operator."""
    registry = Registry(l1, [10, 10, 10])
    operator = l1.accounts[4]
    key, other = key_of(900), key_of(901)
    hot = l1.web3.to_checksum_address(address_of(key))

    def proof(with_key: bytes, nonce: int) -> bytes:
        digest = attester_digest(registry.identity, operator=raw(operator), attester=address_of(key), nonce=nonce)
        made = attest(with_key, digest)
        assert attester_of(digest, made) == address_of(with_key)
        s = int.from_bytes(made[32:], "big")
        return made[:32] + (s & ~(1 << 255)).to_bytes(32, "big") + bytes((27 + (s >> 255),))

    appoint = registry.functions.appointAttester
    assert registry.functions.attesterOf(operator).call() == operator
    assert l1.refused(appoint(hot, proof(other, 0)), sender=4)[0] == "AttesterUnproven"
    assert l1.refused(appoint(hot, proof(key, 0)), sender=5)[0] == "AttesterUnproven"
    l1.send(appoint(hot, proof(key, 0)), sender=4, what="PlaitRegistry.appointAttester")
    assert registry.functions.attesterOf(operator).call() == hot
    assert l1.refused(appoint(hot, proof(key, 0)), sender=4)[0] == "AttesterTaken"
    assert l1.refused(appoint(hot, proof(key, 0)), sender=5)[0] == "AttesterTaken"
    l1.send(appoint("0x" + "00" * 20, b""), sender=4)
    assert registry.functions.attesterOf(operator).call() == operator
    assert l1.refused(appoint(hot, proof(key, 0)), sender=4)[0] == "AttesterUnproven"
    l1.send(appoint(hot, proof(key, 2)), sender=4)


def test_an_appointed_key_replaces_the_operators(l1: L1) -> None:
    """In a set, a validator's appointed key counts and its operator's own no longer."""
    registry = Registry(l1, [10])
    (member,) = registry.set
    l1.rpc("anvil_impersonateAccount", l1.web3.to_checksum_address(member.validator.operator))
    l1.rpc("anvil_setBalance", l1.web3.to_checksum_address(member.validator.operator), hex(10**20))
    key = key_of(902)
    digest = attester_digest(registry.identity, operator=member.validator.operator, attester=address_of(key), nonce=0)
    made = attest(key, digest)
    s = int.from_bytes(made[32:], "big")
    proof = made[:32] + (s & ~(1 << 255)).to_bytes(32, "big") + bytes((27 + (s >> 255),))
    data = registry.contract.encode_abi("appointAttester", [l1.web3.to_checksum_address(address_of(key)), proof])
    sent = {
        "from": l1.web3.to_checksum_address(member.validator.operator),
        "to": registry.contract.address,
        "data": data,
        "gas": hex(300_000),
    }
    assert l1.raw(sent)["status"] == 1
    assert l1.refused(registry.checkpoint(5, APP))[0] == "PowerTooLow"
    registry.set = [Member(member.validator, key)]
    l1.send(registry.checkpoint(5, APP))


def test_trust_ends_and_is_renewed(l1: L1, registry: Registry) -> None:
    """After the trusting period nothing that the set signs counts; renewing it in time keeps it, at a later height."""
    l1.warp(TRUST_S - 100)
    l1.send(registry.update(registry.set, 10), what="PlaitRegistry.updateSet, renewal of 4 validators")
    l1.warp(TRUST_S - 100)
    l1.send(registry.checkpoint(11, APP))
    l1.warp(200)
    assert l1.refused(registry.checkpoint(12, APP))[0] == "SetExpired"
    assert l1.refused(registry.update(registry.set, 20))[0] == "SetExpired"
    assert registry.functions.appHashOf(11).call() == APP


def test_only_the_timelock_restarts_and_only_when_it_must(l1: L1, registry: Registry) -> None:
    """A usable set cannot be replaced over its head; an expired one can, by announcement."""
    after = members([5, 5, 5], first=60)
    arguments = (checksummed(after, l1), 50)
    assert l1.refused(registry.functions.restart(*arguments))[0] == "NotTimelock"
    assert l1.refused(registry.by_timelock("restart", *arguments))[0] == "RegistryUsable"
    l1.warp(TRUST_S)
    assert l1.refused(registry.functions.restart(*arguments))[0] == "NotTimelock"
    what = (
        registry.contract.address,
        0,
        registry.contract.encode_abi("restart", list(arguments)),
        bytes(32),
        bytes(32),
    )
    l1.send(registry.timelock.functions.execute(*what), what="PlaitRegistry.restart, 3 validators, by the timelock")
    registry.set = after
    l1.send(registry.checkpoint(50, APP))


def test_a_registry_needs_a_timelock(l1: L1) -> None:
    """It is not deployed with a wallet, or nothing, in the timelock's place."""
    for owner in (l1.accounts[0], "0x" + "00" * 20):
        with pytest.raises(AssertionError, match="was not deployed"):
            l1.deploy("PlaitRegistry", NETWORK_ID, owner, TRUST_S, (1, 8, 21), checksummed(members([1]), l1), 1)


def test_a_registry_trusts_for_a_possible_time(l1: L1, registry: Registry) -> None:
    """No trusting period, or more than a year: not deployed."""
    for trust in (0, 365 * DAY + 1, 2**256 - 1):
        start = (NETWORK_ID, registry.timelock.address, trust, (1, 8, 21), registry.listed(), 1)
        with pytest.raises(AssertionError, match="TrustingPeriodOutOfBounds"):
            l1.deploy("PlaitRegistry", *start)


def test_rollups_are_registered_by_announcement(l1: L1, registry: Registry) -> None:
    """Only the timelock lists a rollup, moves it or takes it off, and sets where accounts lie."""
    where = tuple(l1.accounts[5:8])
    assert l1.refused(registry.functions.setRollup(901, where))[0] == "NotTimelock"
    assert l1.refused(registry.functions.setLedgerShape((1, 2, 3)))[0] == "NotTimelock"
    assert l1.refused(registry.functions.rollupOf(901))[0] == "RollupUnknown"
    l1.send(registry.by_timelock("setRollup", 901, where), what="PlaitRegistry.setRollup, by the timelock")
    assert registry.functions.rollupOf(901).call() == where
    l1.send(registry.by_timelock("setRollup", 901, ("0x" + "00" * 20,) * 3))
    assert l1.refused(registry.functions.rollupOf(901))[0] == "RollupUnknown"
    l1.send(registry.by_timelock("setLedgerShape", (2, 9, 22)))
    assert registry.functions.ledgerShapeOf().call() == (2, 9, 22)
    assert l1.now() > DAY
    assert l1.web3.eth.chain_id == CHAIN_ID
