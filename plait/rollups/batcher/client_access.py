"""The batcher's view of L1 through an L1 client: `L1Access` over JSON-RPC."""

from plait.derivation.rollup_config import BlockId
from plait.errors import L1Refused
from plait.l1.client import L1Client
from plait.l1.fields import as_bytes, as_quantity
from plait.rollups.batcher.l1_access import L1Prices, L1Receipt, Tag
from plait.types import Address, BlockNumber, Gas, Hash32, Wei

_UINT256_MAX = 2**256 - 1


class ClientAccess:
    """Asks an L1 client. All methods raise Unavailable (`l1_unreachable`) and L1Refused as the client does."""

    def __init__(self, client: L1Client) -> None:
        self._client = client

    async def block(self, at: Tag | int) -> BlockId | None:
        """The canonical block at a tag or number; None when there is none, or no such tag yet."""
        try:
            header = await self._client.header(at)
        except L1Refused as error:
            # go-ethereum answers a tag that no block has yet with an error
            if error.code == "l1_call_refused" and at in ("safe", "finalized"):
                return None
            raise
        return None if header is None else BlockId(header.number, header.hash)

    async def nonce(self, address: Address) -> int:
        """Transactions of an account in the canonical chain."""
        return await self._client.nonce(address)

    async def prices(self) -> L1Prices:
        """What the next block asks for."""
        fees = await self._client.fees()
        return L1Prices(base_fee=fees.base_fee, blob_base_fee=fees.blob_base_fee, tip=fees.priority_fee)

    async def receipt(self, hash_: Hash32) -> L1Receipt | None:
        """Of an included transaction."""
        found = await self._client.transaction_receipt(hash_)
        if found is None or found.get("blockHash") is None:
            return None
        block = BlockId(
            BlockNumber(as_quantity(found.get("blockNumber"), "a block number")),
            Hash32(as_bytes(found.get("blockHash"), "a block hash", 32)),
        )
        return L1Receipt(
            hash=hash_,
            block=block,
            gas_used=Gas(as_quantity(found.get("gasUsed"), "gas used")),
            gas_price=Wei(as_quantity(found.get("effectiveGasPrice"), "a gas price", _UINT256_MAX)),
            blob_gas_used=Gas(as_quantity(found.get("blobGasUsed") or "0x0", "blob gas used")),
            blob_gas_price=Wei(as_quantity(found.get("blobGasPrice") or "0x0", "a blob gas price", _UINT256_MAX)),
        )

    async def send(self, raw: bytes) -> str | None:
        """None when L1's pool has the transaction, else L1's words why not."""
        try:
            await self._client.send_raw_transaction(raw)
        except L1Refused as error:
            if error.code != "l1_call_refused":
                raise
            return str(error.fields.get("reason") or error.message)
        return None
