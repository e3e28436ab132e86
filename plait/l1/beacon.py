"""Blobs of L1 from a beacon node, proven by their versioned hashes.

Specification (Ethereum Beacon APIs)
    - slot = (block time - genesis time) / SECONDS_PER_SLOT, from /eth/v1/beacon/genesis and /eth/v1/config/spec.
    - Blobs come from /eth/v1/beacon/blobs/{slot}?versioned_hashes=..., in any order; from nodes without it, from
      /eth/v1/beacon/blob_sidecars/{slot}.
    - A blob is the one asked for when its KZG commitment has the versioned hash; nothing else of the answer counts.
    - Beacon nodes forget blobs after about 18 days.
Raises Unavailable `l1_unreachable`, `l1_blob_missing`; L1Refused `l1_block_malformed`. Level 5.
"""

import asyncio
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Any, Final

import aiohttp
import msgspec

from plait.derivation.blobs import BLOB_BYTES
from plait.errors import L1Refused, Unavailable
from plait.http_client import AnswerTooLarge, HttpClient, address_of_url
from plait.l1.fields import as_bytes, as_list, as_object, malformed
from plait.limits import L1_ANSWER_BYTES_MAX, L1_BLOBS_PER_BLOCK_MAX, L1_TIMEOUT_S
from plait.types import Hash32, Seconds

Commit = Callable[[bytes], bytes]
"""KZG commitment, 48 bytes, of a blob; called in a thread. Raises ValueError or RuntimeError for what is no blob."""
_GONE: Final = frozenset({404, 405, 410, 501})
"""Statuses by which a node says that it does not have this method, or not this slot."""


class BeaconClient(HttpClient):
    """A connection to one beacon node. Use as an asynchronous context manager, or call `close`.

    Args:
        url: http or https, without the path of the API.
        commit: how a blob's commitment is computed.
        timeout_s: of one request.
    """

    def __init__(self, url: str, *, commit: Commit, timeout_s: float = L1_TIMEOUT_S) -> None:
        super().__init__(timeout_s=timeout_s, answer_bytes_max=L1_ANSWER_BYTES_MAX)
        self._url = url.rstrip("/")
        self.address = address_of_url(url)
        self._commit = commit
        self._grid: tuple[int, int] | None = None

    async def blobs(self, block_time_s: Seconds, hashes: Sequence[Hash32]) -> list[bytes]:
        """Blobs by their versioned hashes, in the order asked for.

        Args:
            block_time_s: timestamp of the L1 block that holds them.
            hashes: at most L1_BLOBS_PER_BLOCK_MAX, a hash as often as it is wanted.

        Raises:
            Unavailable: `l1_blob_missing` when the node does not have one, `l1_unreachable`.
            L1Refused: `l1_block_malformed` for an answer of another shape.
        """
        if len(hashes) > L1_BLOBS_PER_BLOCK_MAX:
            raise malformed(f"a block names {len(hashes)} blobs")
        if not hashes:
            return []
        slot = await self._slot_of(block_time_s)
        wanted = "&".join("versioned_hashes=0x" + one.hex() for one in dict.fromkeys(hashes))
        found = await self._by_hash(await self._get(f"blobs/{slot}?{wanted}"))
        if any(one not in found for one in hashes):
            found |= await self._by_hash(await self._get(f"blob_sidecars/{slot}"))
        missing = [one for one in hashes if one not in found]
        if missing:
            raise Unavailable(
                f"The beacon node at {self.address} does not have blob 0x{missing[0].hex()} of slot {slot}; use one "
                "that keeps blobs for long enough.",
                code="l1_blob_missing",
                slot=slot,
            )
        return [found[one] for one in hashes]

    async def _slot_of(self, time_s: Seconds) -> int:
        if self._grid is None:
            genesis = as_object(await self._read("beacon/genesis"), "a beacon genesis")
            spec = as_object(await self._read("config/spec"), "a beacon specification")
            self._grid = (_decimal(genesis, "genesis_time"), max(1, _decimal(spec, "SECONDS_PER_SLOT")))
        genesis_s, slot_s = self._grid
        if time_s < genesis_s:
            raise malformed(f"a block of time {time_s} is older than the beacon chain")
        return (time_s - genesis_s) // slot_s

    async def _read(self, path: str) -> Any:
        found = await self._get_data(path)
        if found is None:
            raise self._unreachable(f"it has no /eth/v1/{path}")
        return found

    async def _get(self, path: str) -> list[Any]:
        found = await self._get_data(f"beacon/{path}")
        return [] if found is None else as_list(found, "blobs")

    async def _get_data(self, path: str) -> Any:
        headers = {"Accept": "application/json"}
        try:
            status, text = await self.request("GET", f"{self._url}/eth/v1/{path}", headers=headers)
            if status in _GONE:
                return None
            if status != 200:
                raise self._unreachable(f"it answers HTTP {status}")
            return as_object(msgspec.json.decode(text), "a beacon answer").get("data")
        except AnswerTooLarge:
            raise self._unreachable(f"its answer is larger than {L1_ANSWER_BYTES_MAX} bytes") from None
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise self._unreachable("it does not answer JSON") from None
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self._unreachable(type(error).__name__) from None

    async def _by_hash(self, entries: list[Any]) -> dict[Hash32, bytes]:
        """Blobs by the hash that their own commitment has, whatever the node says of them."""
        found: dict[Hash32, bytes] = {}
        for entry in entries[:L1_BLOBS_PER_BLOCK_MAX]:
            blob = as_bytes(entry.get("blob") if isinstance(entry, dict) else entry, "a blob", BLOB_BYTES)
            try:
                commitment = await asyncio.to_thread(self._commit, blob)
            except (ValueError, RuntimeError):
                raise malformed("a blob holds what is no field element") from None
            found[Hash32(b"\x01" + sha256(commitment).digest()[1:])] = blob
        return found

    def _unreachable(self, reason: str) -> Unavailable:
        return Unavailable(
            f"The beacon node at {self.address} cannot be read ({reason}); check that it runs, and l1.beacon_url.",
            code="l1_unreachable",
            address=self.address,
        )


def _decimal(found: Any, name: str) -> int:
    value = found.get(name)
    if isinstance(value, str) and value.isdigit() and len(value) <= 20:
        return int(value)
    raise L1Refused(f"The beacon node has no {name}.", code="l1_block_malformed", field=name)
