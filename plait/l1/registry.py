"""PlaitRegistry over an L1 client: what it holds, who attests for whom, and the calls that commit to it.

Everything is read at one L1 block, named by its hash, so that what is read fits together. Nothing here is proven by a
hash: a node that lies about the registry makes validators sign what the contract refuses, and makes the sender pay for
it; it can have nothing signed that is not so. Level 5.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from plait.errors import L1Refused, Unavailable
from plait.l1.abi import Tail, address_of_word, arguments, padded, selector, tail_bytes, word, words_of
from plait.l1.attestations import AttestedValidator, L1Contract, checkpoint_digest, set_digest
from plait.l1.client import L1Client
from plait.types import Address, BlockNumber, Hash32, Height, NetworkId, Seconds

_SET: Final = "(address,bytes32,uint64)[]"
_SIGNATURES: Final = "(uint256,bytes)"
_COMMIT: Final = selector(f"commitCheckpoint(uint64,bytes32,{_SET},{_SIGNATURES})")
_UPDATE: Final = selector(f"updateSet({_SET},{_SET},uint64,{_SIGNATURES})")
_ZERO: Final = Hash32(bytes(32))


class RegistryState(msgspec.Struct, frozen=True, kw_only=True):
    """What a registry holds at one L1 block."""

    contract: L1Contract
    network_id: NetworkId
    epoch: int
    """Number of the current set."""
    set_hash: Hash32
    set_height: Height
    """First height at which the current set acts."""
    committed_at: Seconds
    trusting_period_s: int
    conflict_height: int
    """Not 0 while the registry is halted."""
    block_number: BlockNumber
    block_hash: Hash32
    block_time: Seconds

    @property
    def trusted_until(self) -> Seconds:
        """Last second at which the current set's signatures count."""
        return Seconds(self.committed_at + self.trusting_period_s)

    @property
    def expired(self) -> bool:
        """Whether only the timelock can go on."""
        return self.block_time > self.trusted_until

    @property
    def used_percent(self) -> int:
        """How much of the current set's time is over."""
        return max(0, self.block_time - self.committed_at) * 100 // max(1, self.trusting_period_s)

    def checkpoint_digest(self, height: Height, app_hash: Hash32) -> bytes:
        """What the current set signs for a checkpoint."""
        return checkpoint_digest(self.contract, self.network_id, epoch=self.epoch, height=height, app_hash=app_hash)

    def set_digest(self, height: Height, validators: Sequence[AttestedValidator]) -> bytes:
        """What the current set signs for the next one, which acts from `height` on."""
        return set_digest(
            self.contract,
            self.network_id,
            epoch=self.epoch + 1,
            height=height,
            previous=self.set_hash,
            validators=validators,
        )


async def read_registry(client: L1Client, contract: L1Contract) -> RegistryState:
    """The registry at L1's newest block.

    Raises:
        Unavailable: `l1_unreachable`.
        L1Refused: `l1_contract_wrong`: no PlaitRegistry is at this address; others as the client does.
    """
    header = await client.header("latest")
    if header is None:
        raise Unavailable(f"The L1 node at {client.address} has no blocks.", code="l1_unreachable")
    views = ("networkId()", "epoch()", "trustingPeriodS()", "conflictHeight()")
    network_id, epoch, trust_s, conflict = (
        words_of(found, 1, "PlaitRegistry's answer")[0]
        for found in await _views(client, contract, [selector(one) for one in views], header.hash)
    )
    call = selector("commitments(uint64)") + word(epoch)
    (found,) = await _views(client, contract, [call], header.hash)
    set_hash, _, _, height, committed_at = words_of(found, 5, "PlaitRegistry's commitment")
    return RegistryState(
        contract=contract,
        network_id=NetworkId(network_id),
        epoch=epoch,
        set_hash=Hash32(word(set_hash)),
        set_height=Height(height),
        committed_at=Seconds(committed_at),
        trusting_period_s=trust_s,
        conflict_height=conflict,
        block_number=header.number,
        block_hash=header.hash,
        block_time=header.timestamp,
    )


async def read_attesters(client: L1Client, state: RegistryState, operators: Sequence[Address]) -> list[Address]:
    """The key that attests for each operator. Raises Unavailable, L1Refused."""
    calls = [selector("attesterOf(address)") + padded(operator) for operator in operators]
    found = await _views(client, state.contract, calls, state.block_hash)
    return [address_of_word(words_of(one, 1, "attesterOf")[0]) for one in found]


async def read_checkpoints(client: L1Client, state: RegistryState, heights: Sequence[Height]) -> list[Hash32 | None]:
    """The committed app hash of each height; None where there is none, and everywhere in a halted registry."""
    if state.conflict_height or not heights:
        return [None] * len(heights)
    calls = [selector("appHashOf(uint64)") + word(height) for height in heights]
    found = await _views(client, state.contract, calls, state.block_hash)
    hashes = [Hash32(word(words_of(one, 1, "appHashOf")[0])) for one in found]
    return [None if one == _ZERO else one for one in hashes]


def commit_call(
    height: Height, app_hash: Hash32, validators: Sequence[AttestedValidator], packed: tuple[int, bytes]
) -> bytes:
    """Calldata of commitCheckpoint.

    Args:
        validators: the current set, in order.
        packed: places and signatures (`plait.l1.attestations.pack`).
    """
    parts = (word(height), app_hash, _encode_set(validators), _encode_signatures(packed))
    return _COMMIT + arguments(parts)


def update_call(
    current: Sequence[AttestedValidator],
    following: Sequence[AttestedValidator],
    height: Height,
    packed: tuple[int, bytes],
) -> bytes:
    """Calldata of updateSet; arguments as `commit_call`'s."""
    parts = (_encode_set(current), _encode_set(following), word(height), _encode_signatures(packed))
    return _UPDATE + arguments(parts)


def _encode_set(validators: Sequence[AttestedValidator]) -> Tail:
    rows = (padded(one.operator) + one.public_key + word(one.power) for one in validators)
    return Tail(word(len(validators)) + b"".join(rows))


def _encode_signatures(packed: tuple[int, bytes]) -> Tail:
    places, signatures = packed
    return Tail(arguments((word(places), tail_bytes(signatures))))


async def _views(client: L1Client, contract: L1Contract, calls: Sequence[bytes], at: Hash32) -> list[bytes]:
    target, block = "0x" + contract.address.hex(), {"blockHash": "0x" + at.hex()}
    asked = [("eth_call", ({"to": target, "data": "0x" + call.hex()}, block)) for call in calls]
    try:
        return [_bytes(found) for found in await client.batch(asked)]
    except L1Refused as error:
        if error.code != "l1_call_refused":
            raise
        raise L1Refused(
            f"The contract {target} on L1 does not answer as PlaitRegistry does ({error.fields.get('reason')}); "
            "check its address.",
            code="l1_contract_wrong",
        ) from error


def _bytes(found: object) -> bytes:
    return bytes.fromhex(found[2:]) if isinstance(found, str) and found.startswith("0x") else b""


__all__ = [
    "RegistryState",
    "commit_call",
    "read_attesters",
    "read_checkpoints",
    "read_registry",
    "update_call",
]
