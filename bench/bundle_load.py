"""The bundles that the benchmarks send: legs of ERC-20 transfers on two rollups, made once and cached.

A load is a list of bundles, each a list of legs (chain id, raw transactions), and per chain the accounts that its
genesis must hold. One sender signs all of a bundle; senders take turns, nonces go up per rollup. A share of the bundles
is hot: every transfer of theirs goes to one recipient, so on a rollup they all read and write one storage slot. The
others have a recipient of their own, different for as many bundles as there are recipients. Everything follows from
the seed.
"""

import hashlib
import os
import pickle
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench import floor, workload

FORMAT = 2
HOT = workload.keccak256(b"plait bench hot recipient")[12:]
Legs = list[tuple[int, list[bytes]]]


@dataclass(frozen=True)
class BundleLoad:
    """Bundles over some rollups, and what their geneses hold."""

    chain_ids: list[int]
    bundles: list[Legs]
    senders: dict[int, list[bytes]]
    """Per chain: who must be funded with ether and tokens."""
    recipients: dict[int, list[bytes]]

    def geneses(self, timestamp_s: int) -> dict[int, bytes]:
        """op-geth genesis JSON per chain: the token, and balances of all senders and recipients."""
        return {
            chain_id: workload.genesis_with_token(
                chain_id,
                timestamp_s,
                [*self.senders[chain_id], *self.recipients[chain_id], HOT],
                self.senders[chain_id],
                interop=True,
            )
            for chain_id in self.chain_ids
        }

    @property
    def transactions(self) -> int:
        """Of all bundles."""
        return sum(len(raws) for bundle in self.bundles for _, raws in bundle)

    def plain(self) -> dict[int, list[bytes]]:
        """The same transactions without bundles, per chain in the order of the bundles."""
        raws: dict[int, list[bytes]] = {chain_id: [] for chain_id in self.chain_ids}
        for bundle in self.bundles:
            for chain_id, leg in bundle:
                raws[chain_id].extend(leg)
        return raws


def make(
    rollups: int, count: int, *, per_leg: int = 1, hot_percent: int = 0, senders: int = 2_000, seed: int = 1
) -> BundleLoad:
    """`count` bundles of two legs with `per_leg` transfers each; with more than two rollups every bundle draws its
    pair."""
    parameters = (FORMAT, rollups, count, per_leg, hot_percent, senders, seed)
    name = hashlib.sha256(repr(parameters).encode()).hexdigest()[:16]
    folder = Path(os.environ.get("PLAIT_CACHE", Path.home() / ".cache" / "plait")) / "bench"
    cached = folder / f"bundles-{name}.pickle"
    if cached.exists():
        found: BundleLoad = pickle.loads(cached.read_bytes())
        return found
    load = _signed(rollups, count, per_leg, hot_percent, min(senders, count), random.Random(seed))
    folder.mkdir(parents=True, exist_ok=True)
    partial = cached.with_suffix(".partial")
    partial.write_bytes(pickle.dumps(load))
    partial.rename(cached)
    return load


def _signed(  # noqa: PLR0917  (the parameters of `make`)
    rollups: int, count: int, per_leg: int, hot_percent: int, senders: int, generator: random.Random
) -> BundleLoad:
    chain_ids = [floor.CHAIN_ID + index for index in range(rollups)]
    keys = [workload.private_key(1, index) for index in range(senders)]
    addresses = [workload.address_of(key) for key in keys]
    nonces: dict[tuple[int, int], int] = {}
    paying: dict[int, dict[bytes, None]] = {chain_id: {} for chain_id in chain_ids}
    paid: dict[int, dict[bytes, None]] = {chain_id: {} for chain_id in chain_ids}
    bundles: list[Legs] = []
    for index, pair in enumerate(_pairs(chain_ids, count, generator)):
        place = index % len(keys)
        hot = generator.randrange(100) < hot_percent
        recipient = HOT if hot else workload.recipient_address(index % 4_096)
        legs: Legs = []
        for chain_id in pair:
            first = nonces.get((chain_id, place), 0)
            nonces[chain_id, place] = first + per_leg
            paying[chain_id][addresses[place]] = None
            paid[chain_id][recipient] = None
            raws = [
                workload.sign_transfer(keys[place], chain_id, nonce, recipient)
                for nonce in range(first, first + per_leg)
            ]
            legs.append((chain_id, raws))
        bundles.append(legs)
    return BundleLoad(
        chain_ids,
        bundles,
        {chain_id: list(found) for chain_id, found in paying.items()},
        {chain_id: list(found) for chain_id, found in paid.items()},
    )


def _pairs(chain_ids: list[int], count: int, generator: random.Random) -> Iterator[list[int]]:
    for _ in range(count):
        yield chain_ids if len(chain_ids) == 2 else sorted(generator.sample(chain_ids, 2))
