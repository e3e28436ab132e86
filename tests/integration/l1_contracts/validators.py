"""Validators with keys, the registry that knows them, and a model of when it accepts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Any, NamedTuple

from contracts_l1 import CHAIN_ID, L1
from eth_account import Account
from web3.contract import Contract

from plait.l1.attestations import (
    AttestedValidator,
    L1Contract,
    attest,
    checkpoint_digest,
    in_order,
    pack,
    set_digest,
    set_hash,
)
from plait.types import Address, Hash32, Height, NetworkId

NETWORK_ID = NetworkId(77)
DAY = 86_400
TRUST_S = 7 * DAY
PROPOSER = 1
"""Account that announces at the timelock."""
ACCOUNTS_SHAPE = (1, 8, 21)


def key_of(number: int) -> bytes:
    """Secret of an operator's or attester's key; the same number, the same key."""
    return sha256(b"attester %d" % number).digest()


def address_of(key: bytes) -> Address:
    return raw(Account.from_key(key).address)


def raw(address: str) -> Address:
    return Address(bytes.fromhex(address[2:]))


class Member(NamedTuple):
    """A validator with the key that attests for it."""

    validator: AttestedValidator
    key: bytes


def members(powers: Sequence[int], *, first: int = 0) -> list[Member]:
    """Validators with these powers and keys numbered from `first`, in the set's order."""
    made: dict[AttestedValidator, bytes] = {}
    for number, power in enumerate(powers, first):
        key = key_of(number)
        made[AttestedValidator(address_of(key), sha256(b"consensus %d" % number).digest(), power)] = key
    return [Member(one, made[one]) for one in in_order(made)]


def listed(some: Iterable[Member]) -> list[tuple[str, bytes, int]]:
    """A set as the ABI wants it."""
    return [("0x" + one.validator.operator.hex(), one.validator.public_key, one.validator.power) for one in some]


def checksummed(some: Iterable[Member], l1: L1) -> list[tuple[str, bytes, int]]:
    return [(l1.web3.to_checksum_address(operator), key, power) for operator, key, power in listed(some)]


def signed(some: Sequence[Member], digest: bytes, places: Iterable[int] | None = None) -> tuple[int, bytes]:
    """Attestations of the validators at `places`, of all of them without that, packed for the contracts."""
    chosen = range(len(some)) if places is None else places
    return pack({place: attest(some[place].key, digest) for place in chosen})


class Registry:
    """A deployed registry, its timelock and its current set."""

    def __init__(
        self,
        l1: L1,
        powers: Sequence[int] = (10, 10, 10, 10),
        *,
        some: Sequence[Member] = (),
        height: int = 1,
        network: int = NETWORK_ID,
    ) -> None:
        """With `some` as its first set, or validators of these powers."""
        self.l1 = l1
        self.network_id = NetworkId(network)
        self.set = list(some) or members(powers)
        self.timelock = l1.deploy("Timelock", DAY, [l1.accounts[PROPOSER]])
        start = (self.network_id, self.timelock.address, TRUST_S, ACCOUNTS_SHAPE, checksummed(self.set, l1), height)
        self.contract: Contract = l1.deploy("PlaitRegistry", *start)
        self.functions = self.contract.functions
        self.identity = L1Contract(CHAIN_ID, raw(self.contract.address))

    @property
    def epoch(self) -> int:
        return int(self.functions.epoch().call())

    def listed(self) -> list[tuple[str, bytes, int]]:
        return checksummed(self.set, self.l1)

    def checkpoint_digest(self, height: int, app_hash: bytes, *, epoch: int | None = None) -> bytes:
        return checkpoint_digest(
            self.identity,
            self.network_id,
            epoch=self.epoch if epoch is None else epoch,
            height=Height(height),
            app_hash=Hash32(app_hash),
        )

    def checkpoint(self, height: int, app_hash: bytes, places: Iterable[int] | None = None) -> Any:
        """The call that commits a checkpoint signed by the validators at `places`."""
        digest = self.checkpoint_digest(height, app_hash)
        return self.functions.commitCheckpoint(height, app_hash, self.listed(), signed(self.set, digest, places))

    def set_digest(self, after: Sequence[Member], height: int) -> bytes:
        return set_digest(
            self.identity,
            self.network_id,
            epoch=self.epoch + 1,
            height=Height(height),
            previous=set_hash([one.validator for one in self.set]),
            validators=[one.validator for one in after],
        )

    def update(self, after: Sequence[Member], height: int, places: Iterable[int] | None = None) -> Any:
        """The call that commits the next set signed by the current validators at `places`."""
        signatures = signed(self.set, self.set_digest(after, height), places)
        return self.functions.updateSet(self.listed(), checksummed(after, self.l1), height, signatures)

    def by_timelock(self, name: str, *arguments: Any) -> Any:
        """Announces a call, waits, and gives the call that carries it out."""
        what = (self.contract.address, 0, self.contract.encode_abi(name, list(arguments)), bytes(32), bytes(32))
        self.l1.send(self.timelock.functions.schedule(*what, DAY), sender=PROPOSER)
        self.l1.warp(DAY)
        return self.timelock.functions.execute(*what)
