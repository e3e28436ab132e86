"""A short history of a network of two rollups, made by the real application, with CometBFT's blocks over it; and a
provider that shows it, honestly or with one thing changed."""

from collections.abc import Sequence
from functools import cache

from plait.errors import Unavailable
from plait.light import Client, Trusted
from plait.protocol.proposal import decode_header, decode_proposal, encode_header
from plait.types import Hash32, Height, Milliseconds, RollupId, Slot
from sim.situation import ARRIVAL, FEE, Situation, queues, small_network, transfer
from tests.unit.light.light_chains import Chain, Source

PER_SLOT = 4
ROLLUPS = (FEE, ARRIVAL)


class History:
    """Decided sub-blocks: canonical headers, items and app hashes by height."""

    def __init__(self, slots: int, *, skipped: Sequence[int] = ()) -> None:
        self.headers: dict[int, bytes] = {}
        self.items: dict[int, dict[RollupId, list[bytes]]] = {}
        self.app_hashes: dict[int, Hash32] = {}
        network = small_network()
        start_ms = network.ledger.time_ms
        situation = Situation(
            network=network, proposer=network.application(), judge=network.application(), time_ms=start_ms, honest=b""
        )
        nonces = [0, 0, 0, 0]
        for slot in range(1, slots + 1):
            if slot in skipped:
                continue
            for sub_index in range(PER_SLOT):
                situation.time_ms = Milliseconds(start_ms + slot * 1_000 + sub_index * 250)
                user = (slot + sub_index) % len(nonces)
                candidates = {}
                if sub_index % 2:  # half of the sub-blocks have items
                    raws = [transfer(FEE, user, nonces[user]), transfer(FEE, user, nonces[user] + 1)]
                    nonces[user] += 2
                    candidates = {FEE: queues(FEE, [raws], situation.time_ms - 100)}
                proposal = situation.prepare(candidates).proposal
                situation.decide(proposal)
                self._note(proposal, situation.judge.info().app_hash)

    def _note(self, proposal: bytes, app_hash: Hash32) -> None:
        decoded = decode_proposal(proposal)
        height = decoded.header.height
        self.headers[height] = encode_header(decoded.header)
        self.items[height] = {rollup_id: list(items) for rollup_id, items in decoded.blocks}
        self.app_hashes[height] = app_hash

    @property
    def height(self) -> int:
        return max(self.headers)

    def slot_of(self, height: int) -> int:
        return decode_header(self.headers[height]).slot

    def heights_of(self, first: int, last: int) -> tuple[int, int]:
        """First height of the slots, and the first one after them."""
        start = next((h for h in sorted(self.headers) if self.slot_of(h) >= first), self.height + 1)
        end = next((h for h in sorted(self.headers) if self.slot_of(h) > last), self.height + 1)
        return start, end

    def chain(self) -> Chain:
        """CometBFT's blocks: that of height H + 1 has the app hash of sub-block H."""
        return Chain(self.height + 1, app_hash=lambda height: self.app_hashes.get(height - 1, bytes(32)))


@cache
def shared() -> tuple[History, Chain]:
    """12 slots, the sixth without any sub-block."""
    history = History(12, skipped=(6,))
    return history, history.chain()


class StreamSource(Source):
    """A provider over a history; the lists that it shows can be changed."""

    def __init__(self, history: History, chain: Chain, **settings: object) -> None:
        super().__init__(chain, **settings)  # type: ignore[arg-type]
        self.headers = dict(history.headers)
        self.items = {height: {k: list(v) for k, v in found.items()} for height, found in history.items.items()}
        self.history = history
        self.heights: tuple[int, int] | None = None
        self.calls = 0

    async def heights_of_slots(self, first: Slot, last: Slot) -> tuple[Height, Height]:
        self.calls += 1
        start, end = self.heights or self.history.heights_of(first, last)
        return Height(start), Height(end)

    async def sub_block_headers(self, first: Height, last: Height) -> Sequence[bytes]:
        self.calls += 1
        if last not in self.headers:
            raise Unavailable(f"there is no sub-block {last}", code="height_unknown")
        return [self.headers[height] for height in range(first, last + 1) if height in self.headers]

    async def sub_block_items(self, heights: Sequence[Height], rollup_id: RollupId) -> Sequence[Sequence[bytes]]:
        self.calls += 1
        return [tuple(self.items[height].get(rollup_id, ())) for height in heights]


def client_of(source: StreamSource, height: int = 1) -> Client:
    """A client that trusts the honest block of a height."""
    return Client(source, Trusted(Height(height), source.chain.block(height).hash), now_ns=source.chain.now_ns)
