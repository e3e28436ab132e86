"""An L1 node over JSON-RPC, read with suspicion: every block it gives is proven by its hash before anyone sees it.

Specification
    - Headers are refused unless their fields have the hash that the block claims, and the hash is the one asked for;
      transactions and receipts unless their root is the header's (headers.py, transactions.py, receipts.py).
    - What no hash proves (head numbers, nonces, fees, balances) is only used to decide what to ask or send next.
    - Reads are repeated up to L1_ATTEMPTS_MAX times when the connection breaks or the node asks for patience; a
      transaction is sent once more by the caller if it wants to (sending twice is harmless, but the caller knows).
    - An answer has at most L1_ANSWER_BYTES_MAX bytes, a request L1_TIMEOUT_S. URLs often hold a key: errors and logs
      name scheme, host and port only.
    - Receipts come by eth_getBlockReceipts; a node that does not have it is asked for each transaction's receipt, one
      that takes no batches for one thing at a time.
Raises Unavailable `l1_unreachable`, L1Refused `l1_block_malformed` (a lie) or `l1_call_refused` (its own refusal).
Level 5.
"""

import asyncio
import itertools
from collections.abc import Sequence
from typing import Any, Final, Literal

import aiohttp
import msgspec

from plait.crypto.ordered_trie import EMPTY_ROOT
from plait.errors import L1Refused, Unavailable
from plait.http_client import JSON, AnswerTooLarge, HttpClient, address_of_url
from plait.l1.fields import as_bytes, as_list, as_object, as_quantity, malformed
from plait.l1.headers import L1Header, header_of
from plait.l1.receipts import L1Receipt, receipts_of
from plait.l1.transactions import L1Block, transactions_of
from plait.limits import (
    L1_ANSWER_BYTES_MAX,
    L1_ATTEMPTS_MAX,
    L1_BATCH_CALLS_MAX,
    L1_RETRY_S,
    L1_SEND_TIMEOUT_S,
    L1_TIMEOUT_S,
)
from plait.types import Address, BlockNumber, Hash32, Wei

Tag = Literal["latest", "safe", "finalized", "pending", "earliest"]
BlockReference = BlockNumber | Hash32 | int | bytes | Tag
"""A number, a hash of 32 bytes, or a tag."""

_METHOD_UNKNOWN: Final = -32_601
_UINT256_MAX: Final = 2**256 - 1
_PATIENCE: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
"""HTTP statuses after which the same request may succeed."""


class L1Fees(msgspec.Struct, frozen=True, kw_only=True):
    """What a transaction sent now would pay, in wei; advice of the node, proven by nothing."""

    base_fee: Wei
    """Of the next block."""
    blob_base_fee: Wei
    priority_fee: Wei


class L1Client(HttpClient):
    """A connection to one L1 node. Use as an asynchronous context manager, or call `close`.

    Args:
        rpc_url: http or https.
        timeout_s: of one request.
        attempts_max: times that a read is sent.
    """

    def __init__(self, rpc_url: str, *, timeout_s: float = L1_TIMEOUT_S, attempts_max: int = L1_ATTEMPTS_MAX) -> None:
        super().__init__(timeout_s=timeout_s, answer_bytes_max=L1_ANSWER_BYTES_MAX)
        self._url = rpc_url
        self.address = address_of_url(rpc_url)
        self._attempts_max = attempts_max
        self._ids = itertools.count(1)
        self._block_receipts = True
        self._batches = True

    def __repr__(self) -> str:
        """Without the URL's path, which may be a key."""
        return f"L1Client({self.address})"

    # ------------------------------------------------------------ blocks
    async def chain_id(self) -> int:
        """The chain that the node says it is on."""
        return as_quantity(await self.call("eth_chainId"), "eth_chainId")

    async def block_number(self) -> BlockNumber:
        """Number of the newest block."""
        return BlockNumber(as_quantity(await self.call("eth_blockNumber"), "eth_blockNumber"))

    async def header(self, reference: BlockReference) -> L1Header | None:
        """A block's header, None when the node has no such block.

        Raises:
            L1Refused: `l1_block_malformed`: its hash is another than its fields', or it is not the block asked for.
        """
        method, params = _block_call(reference, full=False)
        return _asked_for(reference, await self.call(method, *params))

    async def heads(self) -> tuple[L1Header | None, L1Header | None, L1Header | None]:
        """(latest, safe, finalized) in one request; the last two None where the node does not know them.

        Raises:
            L1Refused: as `header`.
        """
        tags: tuple[Tag, ...] = ("latest", "safe", "finalized")
        answers = await self._exchange([_block_call(tag, full=False) for tag in tags])
        latest = _asked_for("latest", _result(answers[0], "eth_getBlockByNumber", self.address))
        found = [_asked_for(tag, _answer_or_none(answer)) for tag, answer in zip(tags[1:], answers[1:], strict=True)]
        return latest, found[0], found[1]

    async def headers(self, first: BlockNumber, count: int) -> list[L1Header]:
        """Headers of up to `count` consecutive blocks from `first`, as the node has; each follows the last.

        Fewer also come back when the chain changes between two answers: what is returned is one chain.
        """
        calls = [_block_call(BlockNumber(first + at), full=False) for at in range(count)]
        headers: list[L1Header] = []
        for at, answer in enumerate(await self.batch(calls)):
            header = _asked_for(BlockNumber(first + at), answer)
            if header is None or (headers and header.parent_hash != headers[-1].hash):
                break
            headers.append(header)
        return headers

    async def block(self, reference: BlockReference) -> L1Block | None:
        """A block with its transactions, None when the node has no such block. Raises as `header`."""
        method, params = _block_call(reference, full=True)
        answer = await self.call(method, *params)
        header = _asked_for(reference, answer)
        return None if header is None else L1Block(header=header, transactions=transactions_of(header, answer))

    async def receipts(self, header: L1Header) -> tuple[L1Receipt, ...]:
        """Receipts of a block, in the order of its transactions.

        Raises:
            L1Refused: `l1_block_malformed`: their root is not the header's, or the node gives none for a block that has
                some.
        """
        if header.receipts_root == EMPTY_ROOT:
            return ()
        answer: Any = None
        if self._block_receipts:
            try:
                answer = await self.call("eth_getBlockReceipts", _text(header.hash))
            except L1Refused as error:
                if error.fields.get("number") != _METHOD_UNKNOWN:
                    raise
                self._block_receipts = False
        if not self._block_receipts:
            answer = await self._receipts_one_by_one(header)
        if answer is None:
            raise Unavailable(
                f"The L1 node at {self.address} has no receipts of block {header.number} now.", code="l1_unreachable"
            )
        return receipts_of(header, answer)

    # ------------------------------------------------------------ accounts
    async def nonce(self, account: Address, at: Tag = "latest") -> int:
        """Next nonce of an account; at "pending" its transactions in the node's pool count."""
        return as_quantity(await self.call("eth_getTransactionCount", _text(account), at), "a nonce")

    async def balance(self, account: Address, at: Tag = "latest") -> Wei:
        """Balance in wei."""
        return Wei(as_quantity(await self.call("eth_getBalance", _text(account), at), "a balance", _UINT256_MAX))

    async def code(self, account: Address, at: Tag = "latest") -> bytes:
        """Code of an account."""
        return as_bytes(await self.call("eth_getCode", _text(account), at), "code")

    async def eth_call(self, to: Address, data: bytes, at: BlockReference = "latest") -> bytes:
        """What a call returns. Raises L1Refused `l1_call_refused` when it reverts."""
        result = await self.call("eth_call", {"to": _text(to), "data": _text(data)}, _block_parameter(at))
        return as_bytes(result, "a call's result")

    async def proof(self, account: Address, slots: Sequence[bytes], at: BlockReference) -> dict[str, Any]:
        """`eth_getProof`'s object, unchecked: whoever uses it checks it against a state root."""
        keys = [_text(slot) for slot in slots]
        return dict(as_object(await self.call("eth_getProof", _text(account), keys, _block_parameter(at)), "a proof"))

    async def logs(self, block_hash: Hash32, addresses: Sequence[Address], topic: Hash32) -> list[Any]:
        """`eth_getLogs` of one block, unproven: for displays; what decides anything comes from `receipts`."""
        wanted = {
            "blockHash": _text(block_hash),
            "address": [_text(address) for address in addresses],
            "topics": [_text(topic)],
        }
        return as_list(await self.call("eth_getLogs", wanted), "logs")

    # ------------------------------------------------------------ sending
    async def fees(self) -> L1Fees:
        """What to pay now, as the node advises."""
        history, tip = await self.batch([("eth_feeHistory", ("0x1", "latest", [])), ("eth_maxPriorityFeePerGas", ())])
        found = as_object(history, "a fee history")
        base = as_list(found.get("baseFeePerGas"), "baseFeePerGas")
        blob = as_list(found.get("baseFeePerBlobGas") or ["0x1"], "baseFeePerBlobGas")
        if not base:
            raise malformed("a fee history without base fees")
        return L1Fees(
            base_fee=Wei(as_quantity(base[-1], "a base fee", _UINT256_MAX)),
            blob_base_fee=Wei(max(1, as_quantity(blob[-1], "a blob base fee", _UINT256_MAX))),
            priority_fee=Wei(as_quantity(tip, "a priority fee", _UINT256_MAX)),
        )

    async def send_raw_transaction(self, raw: bytes) -> Hash32:
        """Hands in a signed transaction, once, and returns the hash that the node gives it.

        Args:
            raw: with its sidecar when it has blobs.

        Raises:
            L1Refused: `l1_call_refused`; `fields["reason"]` has the node's words ("nonce too low", "already known",
                "replacement transaction underpriced", ...).
            Unavailable: `l1_unreachable`: it may or may not have arrived.
        """
        answer = await self._post([("eth_sendRawTransaction", (_text(raw),))], timeout_s=L1_SEND_TIMEOUT_S)
        return Hash32(as_bytes(_result(answer[0], "eth_sendRawTransaction", self.address), "a hash", 32))

    async def transaction_receipt(self, transaction_hash: Hash32) -> dict[str, Any] | None:
        """A receipt as the node gives it, None while there is none; unproven."""
        answer = await self.call("eth_getTransactionReceipt", _text(transaction_hash))
        return None if answer is None else dict(as_object(answer, "a receipt"))

    # ------------------------------------------------------------ the wire
    async def call(self, method: str, *params: Any) -> Any:
        """One call's result. Raises L1Refused `l1_call_refused`, Unavailable `l1_unreachable`."""
        answers = await self._exchange([(method, params)])
        return _result(answers[0], method, self.address)

    async def batch(self, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
        """Results of many calls in their order. Raises as `call` for the first that fails."""
        results: list[Any] = []
        for start in range(0, len(calls), L1_BATCH_CALLS_MAX):
            part = calls[start : start + L1_BATCH_CALLS_MAX]
            answers = await self._exchange(part)
            results += [_result(answer, one[0], self.address) for answer, one in zip(answers, part, strict=True)]
        return results

    async def _receipts_one_by_one(self, header: L1Header) -> list[Any]:
        block = as_object(await self.call("eth_getBlockByHash", _text(header.hash), False), "a block")
        hashes = as_list(block.get("transactions"), "transactions")
        return await self.batch([("eth_getTransactionReceipt", (one,)) for one in hashes])

    async def _exchange(self, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
        """Answers to calls in their order; repeated when there is none. Raises Unavailable."""
        if len(calls) > 1 and not self._batches:
            return [(await self._exchange([call]))[0] for call in calls]
        attempts = self._attempts_max
        pause_s = L1_RETRY_S
        for attempt in range(1, attempts + 1):
            try:
                return await self._post(calls)
            except Unavailable:
                if attempt == attempts:
                    raise
            await asyncio.sleep(pause_s)
            pause_s *= 2
        raise AssertionError("the last attempt returns or raises")

    async def _post(self, calls: Sequence[tuple[str, Sequence[Any]]], *, timeout_s: float | None = None) -> list[Any]:
        first = next(self._ids)
        self._ids = itertools.count(first + len(calls))
        requests = [
            {"jsonrpc": "2.0", "id": first + at, "method": method, "params": list(params)}
            for at, (method, params) in enumerate(calls)
        ]
        body = msgspec.json.encode(requests if len(requests) > 1 else requests[0])
        try:
            status, text = await self.request("POST", self._url, headers=JSON, body=body, timeout_s=timeout_s)
            if status in _PATIENCE:
                raise self._unreachable(f"it answers HTTP {status}")
            found = msgspec.json.decode(text)
        except AnswerTooLarge:
            raise self._unreachable(f"its answer is larger than {L1_ANSWER_BYTES_MAX} bytes") from None
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise self._unreachable(f"it answers HTTP {status} and no JSON-RPC") from None
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            # the error's own text may hold the URL
            raise self._unreachable(type(error).__name__) from None
        if len(calls) > 1 and isinstance(found, dict) and isinstance(found.get("error"), dict):
            self._batches = False  # some public nodes take no batches; what is asked next is asked one by one
            return [(await self._post([call]))[0] for call in calls]
        answers = found if isinstance(found, list) else [found]
        by_id = {
            answer.get("id"): answer for answer in answers if isinstance(answer, dict) and _is_id(answer.get("id"))
        }
        missing = [at for at in range(len(calls)) if first + at not in by_id]
        if missing and not (len(by_id) == 1 and None in by_id):
            raise self._unreachable(f"{len(missing)} of {len(calls)} calls have no answer")
        return [by_id.get(first + at, by_id.get(None)) for at in range(len(calls))]

    def _unreachable(self, reason: str) -> Unavailable:
        return Unavailable(
            f"The L1 node at {self.address} cannot be read ({reason}); check that it runs, and l1.rpc_url.",
            code="l1_unreachable",
            address=self.address,
        )


def _is_id(value: Any) -> bool:
    return value is None or isinstance(value, int)


def _asked_for(reference: BlockReference, answer: Any) -> L1Header | None:
    """The header in an answer, which must be the one asked for. Raises L1Refused."""
    if answer is None:
        return None
    if as_object(answer, "a block").get("hash") is None:
        return None  # a pending block has no hash and proves nothing
    header = header_of(answer)
    if isinstance(reference, bytes) and header.hash != reference:
        raise malformed(f"block 0x{header.hash.hex()} came where 0x{reference.hex()} was asked for")
    if isinstance(reference, int) and header.number != reference:
        raise malformed(f"block {header.number} came where {reference} was asked for")
    return header


def _block_call(reference: BlockReference, *, full: bool) -> tuple[str, tuple[Any, ...]]:
    if isinstance(reference, bytes):
        return "eth_getBlockByHash", (_text(reference), full)
    return "eth_getBlockByNumber", (_block_parameter(reference), full)


def _block_parameter(reference: BlockReference) -> Any:
    if isinstance(reference, bytes):
        return {"blockHash": _text(reference)}
    return hex(reference) if isinstance(reference, int) else reference


def _answer_or_none(answer: Any) -> Any:
    """A result, None for a refusal: development nodes may not know every tag."""
    return answer.get("result") if isinstance(answer, dict) else None


def _result(answer: Any, method: str, address: str) -> Any:
    found = as_object(answer, f"the answer to {method}")
    error = found.get("error")
    if error is None:
        return found.get("result")
    reason, number, data = "", None, None
    if isinstance(error, dict):
        reason, number, data = str(error.get("message", "")), error.get("code"), error.get("data")
    raise L1Refused(
        f"The L1 node at {address} refuses {method}: {reason or 'it does not say why'}.",
        code="l1_call_refused",
        method=method,
        reason=reason,
        number=number,
        data=data,
    )


def _text(data: bytes) -> str:
    return "0x" + data.hex()
