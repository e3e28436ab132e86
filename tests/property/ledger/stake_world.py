"""An economy that tests drive sub-block by sub-block through the ledger's own steps, with the properties that must
hold after each, and with consensus keys that can sign.
"""

from collections import defaultdict
from collections.abc import Sequence
from functools import cache
from hashlib import sha256
from typing import Any

from Crypto.PublicKey import ECC
from Crypto.Signature import eddsa

from plait.errors import ActionRefused
from plait.ledger import steps
from plait.ledger.draft import Draft
from plait.ledger.economy import TABLES, Economy, decode_economy, economy_root, encode_economy, holdings
from plait.ledger.equivocation import Equivocation, encode_equivocation
from plait.ledger.genesis import GenesisEconomy, GenesisValidator, genesis_economy
from plait.ledger.parameters import TOKEN, LedgerParameters
from plait.ledger.rewards import earned_by
from plait.ledger.rotation import ProposerSet
from plait.ledger.stake import possession_message
from plait.ledger.stake_records import uint64_key
from plait.ledger.table import Table
from plait.limits import SUPPLY_MAX, VOTING_POWER_MAX
from plait.types import (
    Address,
    Agreed,
    BlockIdFlag,
    CommitVote,
    Height,
    Milliseconds,
    Misbehavior,
    MisbehaviorKind,
    NetworkId,
    NetworkParameters,
    Seconds,
    Slot,
)
from plait.types.action import Body, SignedAction
from plait.types.consensus import consensus_address
from plait.types.quantities import Amount

NETWORK = NetworkParameters(
    network_id=NetworkId(7), genesis_time_s=Seconds(1_700_000_000), slot_ms=Milliseconds(1_000), sub_blocks_per_slot=4
)
BEGAN_MS = NETWORK.genesis_time_s * 1_000
ACCOUNTS = tuple(Address(bytes((0xA0 + i,)) * 20) for i in range(8))
"""The first three operate validators of the genesis; the last two own nothing."""
QUICK = LedgerParameters(
    epoch_heights=3,
    validators_max=3,
    unbonding_ms=2_000,
    evidence_age_ms=1_500,
    evidence_age_heights=6,
    downtime_window_heights=10,
    downtime_missed_max_ppm=300_000,
    downtime_jail_ms=1_000,
    slash_downtime_ppm=10_000,
    slash_duplicate_vote_ppm=333_333,
    issuance_ppm_per_year=200_000,
    action_fee=3,
)
"""Everything happens within a few heights."""
BALANCES = (10**21, 7, 10**18 + 10**6, 10**36, 10**20 + 1, 0, 0, 1)


@cache
def consensus_key(index: int) -> ECC.EccKey:
    """A validator's key; the same index, the same key."""
    return ECC.construct(curve="Ed25519", seed=sha256(b"consensus key %d" % index).digest())


@cache
def public_key(index: int) -> bytes:
    """Its 32 public bytes."""
    return bytes(consensus_key(index).public_key().export_key(format="raw"))


def sign(index: int, message: bytes) -> bytes:
    """Ed25519 signature of a consensus key."""
    return bytes(eddsa.new(consensus_key(index), "rfc8032").sign(message))


@cache
def possession(index: int, operator: Address) -> bytes:
    """What CreateValidator carries."""
    return sign(index, possession_message(operator))


@cache
def first_economy(parameters: LedgerParameters = QUICK, stakes: tuple[int, ...] = (5, 3, 1)) -> Economy:
    """Validators with so many tokens each, operated by the first accounts."""
    return genesis_economy(
        GenesisEconomy(
            parameters=parameters,
            accounts=tuple(zip(ACCOUNTS, BALANCES, strict=True)),
            validators=tuple(
                GenesisValidator(
                    operator=ACCOUNTS[i],
                    public_key=public_key(i),
                    stake=stake * TOKEN,
                    name=f"validator {i}",
                    commission_ppm=100_000 * i,
                    commission_step_ppm=100_000,
                )
                for i, stake in enumerate(stakes)
            ),
        )
    )


class World:
    """A chain of sub-blocks over one economy. `sets[h]` is the engine's set of height h, by the engine's own rules."""

    def __init__(self, economy: Economy | None = None) -> None:
        self.economy = first_economy() if economy is None else economy
        self.height = 0
        self.time_ms = BEGAN_MS
        rotation = self.economy.rotation
        self.sets: dict[int, ProposerSet] = {1: rotation.current, 2: rotation.following}
        self.effects: list[Any] = []
        self.refusals: list[str | None] = []

    def context(self) -> steps.SubBlockContext:
        """Of the next sub-block."""
        return steps.SubBlockContext(
            height=Height(self.height + 1),
            slot=Slot((self.time_ms - BEGAN_MS) // NETWORK.slot_ms),
            time_ms=Milliseconds(self.time_ms),
            network=NETWORK,
        )

    def signed(self, sender: Address, body: Body, *, nonce: int, max_fee: int = 10**30) -> SignedAction:
        """An action as the protocol hands it over: its signature is checked before."""
        raw = sha256(repr((sender, nonce, body)).encode()).digest()
        return SignedAction(
            raw=raw, hash=sha256(raw).digest(), sender=sender, nonce=nonce, max_fee=Amount(max_fee), body=body
        )

    def agreed(
        self, absent: Sequence[int] = (), led_by: int | None = None, misbehavior: Sequence[Misbehavior] = ()
    ) -> Agreed:
        """What the engine says about the next height: positions of absent votes, and of another leader."""
        height = self.height + 1
        votes: tuple[CommitVote, ...] = ()
        if height > 1:
            before = self.sets[height - 1]
            order = before.by_power()
            gone = {order[position % len(order)] for position in absent}
            votes = tuple(
                CommitVote(a, before.power_of(a), BlockIdFlag.ABSENT if a in gone else BlockIdFlag.COMMIT)
                for a in order
            )
        now = self.sets[height]
        proposer = now.leader if led_by is None else now.addresses[led_by % len(now.addresses)]
        return Agreed(proposer=proposer, votes=votes, misbehavior=tuple(misbehavior))

    def fault(
        self, key: int, *, heights_ago: int = 0, kind: MisbehaviorKind = MisbehaviorKind.DUPLICATE_VOTE
    ) -> Misbehavior:
        """Evidence of the engine against a consensus key."""
        height = max(1, self.height - heights_ago)
        time_ms = self.time_ms - 250 * heights_ago
        address = consensus_address(public_key(key))
        return Misbehavior(
            kind=kind, address=address, power=1, height=Height(height), time_ms=Milliseconds(time_ms), total_power=9
        )

    def sub_block(
        self,
        *actions: tuple[Address, Body],
        absent: Sequence[int] = (),
        led_by: int | None = None,
        misbehavior: Sequence[Misbehavior] = (),
        elapsed_ms: int = 250,
    ) -> list[str | None]:
        """Decides one sub-block; returns the code of each action's refusal, or None. Checks all properties after it."""
        self.time_ms += elapsed_ms
        ctx = self.context()
        draft = Draft(self.economy)
        steps.begin(draft, ctx, self.agreed(absent, led_by, misbehavior))
        refusals: list[str | None] = []
        for sender, body in actions:
            refusals.append(self.act(draft, ctx, sender, body))
        ended = steps.end(draft, ctx, {})
        before, self.economy = self.economy, draft.freeze()
        self.height += 1
        self.effects, self.refusals = draft.effects, refusals
        updates = {consensus_address(update.public_key): update.power for update in ended.validator_updates}
        assert len(updates) == len(ended.validator_updates), "one validator is updated twice"
        self.sets[self.height + 2] = self.sets[self.height + 1].updated(updates).step()
        self.check(before)
        return refusals

    def act(self, draft: Draft, ctx: steps.SubBlockContext, sender: Address, body: Body) -> str | None:
        """Applies one action in a draft; a refused one must leave no trace."""
        before, effects = draft.freeze(), len(draft.effects)
        action = self.signed(sender, body, nonce=draft.nonce(sender))
        code = None
        try:
            steps.act(draft, ctx, action)
        except ActionRefused as refusal:
            code = refusal.code
        if code is not None:
            assert draft.freeze() == before, f"{code} left a trace"
            assert len(draft.effects) == effects, f"{code} left an effect"
        assert conserved(draft.freeze()), f"{type(body).__name__} made or lost tokens"
        return code

    def heights(self, count: int, **how: Any) -> None:
        """Decides sub-blocks without actions."""
        for _ in range(count):
            self.sub_block(**how)

    def epoch(self) -> None:
        """Decides sub-blocks until an epoch has ended."""
        number = self.economy.clock.epoch
        while self.economy.clock.epoch == number:
            self.sub_block()

    # ------------------------------------------------------------ reads
    def balance(self, account: Address) -> int:
        """Spendable base units."""
        return Draft(self.economy).balance(account)

    def worth(self, delegator: Address, operator: Address) -> int:
        """Base units that a delegation could unbond now."""
        validator = self.economy.validators.get(operator)
        shares = Draft(self.economy).shares(delegator, operator)
        return 0 if validator is None or not shares else validator.tokens * shares // validator.shares

    def earned(self, delegator: Address, operator: Address) -> int:
        """Base units that a delegation would be paid now."""
        return earned_by(Draft(self.economy), delegator, operator)

    # ------------------------------------------------------------ properties
    def check(self, before: Economy) -> None:
        """Every property of the economy that holds after every sub-block."""
        economy = self.economy
        assert conserved(economy), f"height {self.height}: {holdings(economy)} of {economy.supply}"
        check_stake(economy)
        check_set(economy, self.sets[self.height + 1], self.sets[self.height + 2])
        seats = len(economy.seats.addresses)
        assert seats <= max(economy.parameters.validators_max, len(before.seats.addresses))
        assert economy.supply.burned >= before.supply.burned
        assert economy.supply.issued >= before.supply.issued
        if self.height % 5 == 0:
            data = encode_economy(economy)
            again = decode_economy(data)
            assert again == economy, "other than what was encoded"
            assert encode_economy(again) == data
            assert economy_root(again) == economy_root(economy), "the root depends on how the economy came about"


def conserved(economy: Economy) -> bool:
    """Whether all tokens are somewhere, and nowhere are fewer than none."""
    held = holdings(economy)
    numbers = [getattr(held, name) for name in held.__struct_fields__]
    balances = [account.balance for _, account in economy.accounts.items()]
    made = economy.supply.genesis + economy.supply.issued
    return held.total == made <= SUPPLY_MAX and min([*numbers, *balances]) >= 0


def check_stake(economy: Economy) -> None:
    """Shares, rewards and marks add up, validator by validator."""
    shares: dict[bytes, int] = defaultdict(int)
    pending: dict[bytes, int] = defaultdict(int)
    earned: dict[bytes, int] = defaultdict(int)
    waiting: dict[bytes, int] = defaultdict(int)
    draft = Draft(economy)
    for key, delegation in economy.delegations.items():
        delegator, operator = Address(key[:20]), Address(key[20:])
        assert 0 < delegation.shares >= delegation.pending_shares >= 0
        shares[operator] += delegation.shares
        earned[operator] += earned_by(draft, delegator, operator)
        if delegation.pending_shares:
            waiting[operator + uint64_key(delegation.pending_epoch)] += 1
            if delegation.pending_epoch == economy.clock.epoch:
                pending[operator] += delegation.pending_shares
    for operator, v in economy.validators.items():
        assert min(v.tokens, v.shares, v.rewards, v.commission, v.power, v.pending_shares) >= 0
        assert v.shares == shares[operator], "shares are not those of the delegations"
        assert (v.pending_shares if v.pending_epoch == economy.clock.epoch else 0) == pending[operator]
        assert earned[operator] <= v.rewards, "more was earned than put aside"
        assert v.shares or not (v.tokens or v.rewards), "tokens without an owner"
        assert economy.keys.get(consensus_address(v.public_key)) == operator
        assert not v.tombstoned or v.jailed
    assert set(shares) <= {operator for operator, _ in economy.validators.items()}
    assert {key: mark.waiting for key, mark in economy.marks.items()} == waiting, "marks that nobody waits for"
    for key, amount in economy.unbondings.items():
        assert amount > 0
        assert economy.validators.get(key[8:28]) is not None, "a validator was forgotten while its stake unbonds"


def check_set(economy: Economy, current: ProposerSet, following: ProposerSet) -> None:
    """The announced set, the seats and the engine's set are the same, never empty, never too strong."""
    assert economy.rotation.current == current, "the rotation is not the engine's"
    assert economy.rotation.following == following
    powers = {
        consensus_address(validator.public_key): validator.power
        for _, validator in economy.validators.items()
        if validator.power
    }
    assert dict(zip(following.addresses, following.powers, strict=True)) == powers
    assert economy.seats.addresses == following.addresses
    assert 0 < sum(powers.values()) <= VOTING_POWER_MAX
    seats = economy.seats
    assert len(set(seats.numbers)) == len(seats.numbers)
    in_window: dict[int, int] = defaultdict(int)
    for row in economy.absences.items():
        numbers = row[1]
        for at in range(0, len(numbers), 4):
            in_window[int.from_bytes(numbers[at : at + 4], "big")] += 1
    assert all(missed == in_window[n] for n, missed in zip(seats.numbers, seats.missed, strict=True))


def rebuilt(economy: Economy) -> Economy:
    """The same economy with tables made anew, rows in reverse."""
    values = {name: getattr(economy, name) for name in Economy.__struct_fields__}
    for kind in TABLES:
        values[kind.name] = Table(kind, reversed(list(values[kind.name].items())))
    return Economy(**values)


def proposal_sign_bytes(height: int, round_number: int, block: bytes, chain_id: str = "plait-7") -> bytes:
    """What CometBFT's signer signs for a proposal (canonical protobuf behind its length), written independently."""

    def field(number: int, data: bytes) -> bytes:
        return bytes((number << 3 | 2,)) + varint(len(data)) + data

    parts = b"\x08\x20\x11" + height.to_bytes(8, "little")
    if round_number:
        parts += b"\x19" + round_number.to_bytes(8, "little")
    parts += b"\x20" + varint(2**64 - 1)  # no proof-of-lock round: -1
    block_hash = sha256(block).digest()
    parts += field(5, field(1, block_hash) + field(2, b"\x08\x01" + field(2, block_hash)))
    parts += field(6, b"\x08" + varint(1_700_000_000)) + field(7, chain_id.encode())
    return varint(len(parts)) + parts


def varint(number: int) -> bytes:
    """Protobuf's variable-length integer."""
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*out, number))


def two_proposals(key: int, height: int, round_number: int = 0) -> bytes:
    """Payload of an evidence action: two proposals of one round, signed by a consensus key."""
    first, second = (proposal_sign_bytes(height, round_number, block) for block in (b"one", b"other"))
    proof = Equivocation(
        first=first, first_signature=sign(key, first), second=second, second_signature=sign(key, second)
    )
    return encode_equivocation(proof)
