"""Calls of StakeVault and of its token, and what is read of them. Level 5, pure but for the reads."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from plait.errors import CodecError
from plait.l1.abi import Tail, address_of_word, arguments, padded, selector, tail_bytes, word, words_of
from plait.l1.client import L1Client
from plait.l1.contract_proofs import AccountProof, Place, SubBlockProof
from plait.types import Address, Height, Seconds

_PLACE: Final = "(uint256,uint256,bytes32[])"
_WHERE: Final = "(uint64,bytes[])"
_PROOF: Final = f"(bytes,{_PLACE},bytes32[][],bytes32[],uint256,bytes32[])"
_REQUEST: Final = selector(f"request(address,{_WHERE},{_PROOF})")


class ServedProof(msgspec.Struct, frozen=True, kw_only=True):
    """What `plait_getL1AccountProof` answers."""

    balance: int
    where: SubBlockProof
    proof: AccountProof


class Withdrawal(msgspec.Struct, frozen=True, kw_only=True):
    """A withdrawal of the vault."""

    number: int
    recipient: Address
    amount: int
    paid: bool
    ready_at: Seconds
    """It may be claimed after this second."""


def approve_call(spender: Address, amount: int) -> bytes:
    """Lets the vault take tokens."""
    return selector("approve(address,uint256)") + padded(spender) + word(amount)


def deposit_call(account: Address, amount: int) -> bytes:
    """Locks tokens for an account of the ledger."""
    return selector("deposit(address,uint256)") + padded(account) + word(amount)


def claim_call(number: int) -> bytes:
    """Pays a withdrawal whose time is over."""
    return selector("claim(uint256)") + word(number)


def request_call(recipient: Address, served: ServedProof) -> bytes:
    """Starts the withdrawal of what a recipient's exit account has received since the last one."""
    proof = served.proof
    where = Tail(arguments((word(served.where.checkpoint), _array([tail_bytes(one) for one in served.where.headers]))))
    shown = Tail(
        arguments(
            (
                tail_bytes(proof.row),
                Tail(arguments((word(proof.bucket.index), word(proof.bucket.count), _array(proof.bucket.path)))),
                _array([_array(path) for path in proof.branch_paths]),
                _array(proof.economy_path),
                word(proof.ledger_leaves),
                _array(proof.ledger_path),
            )
        )
    )
    return _REQUEST + arguments((padded(recipient), where, shown))


def served_proof(answer: Any) -> ServedProof:
    """Reads an answer of `plait_getL1AccountProof`. Raises CodecError `codec_invalid`."""
    try:
        proof, bucket = answer["proof"], answer["proof"]["bucket"]
        return ServedProof(
            balance=int(answer["balance"], 16),
            where=SubBlockProof(Height(answer["checkpoint"]), _all(answer["headers"])),
            proof=AccountProof(
                row=_data(proof["row"]),
                bucket=Place(bucket["index"], bucket["count"], _all(bucket["path"])),
                branch_paths=tuple(_all(path) for path in proof["branchPaths"]),
                economy_path=_all(proof["economyPath"]),
                ledger_leaves=proof["ledgerLeaves"],
                ledger_path=_all(proof["ledgerPath"]),
            ),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise CodecError("the node's proof of an account cannot be read") from error


async def token_of(client: L1Client, vault: Address) -> Address:
    """The token that a vault holds. Raises Unavailable, L1Refused."""
    found = await client.eth_call(vault, selector("token()"))
    return address_of_word(words_of(found, 1, "StakeVault's token")[0])


async def released_of(client: L1Client, vault: Address, recipient: Address) -> int:
    """How much of a recipient's exit balance was requested already. Raises Unavailable, L1Refused."""
    found = await client.eth_call(vault, selector("released(address)") + padded(recipient))
    return words_of(found, 1, "StakeVault's released")[0]


async def withdrawals_of(
    client: L1Client, vault: Address, recipient: Address, *, newest: int = 100
) -> list[Withdrawal]:
    """A recipient's withdrawals among the newest of the vault. Raises Unavailable, L1Refused."""
    count = words_of(await client.eth_call(vault, selector("withdrawalCount()")), 1, "StakeVault's count")[0]
    found = []
    for number in range(max(1, count - newest + 1), count + 1):
        answer = await client.eth_call(vault, selector("withdrawalAt(uint256)") + word(number))
        owner, _, paid, amount = words_of(answer, 4, "a withdrawal")
        if address_of_word(owner) != recipient:
            continue
        ready = words_of(await client.eth_call(vault, selector("readyAt(uint256)") + word(number)), 1, "readyAt")[0]
        found.append(
            Withdrawal(number=number, recipient=recipient, amount=amount, paid=bool(paid), ready_at=Seconds(ready))
        )
    return found


def _array(parts: Sequence[bytes]) -> Tail:
    return Tail(word(len(parts)) + arguments(parts))


def _data(text: str) -> bytes:
    if not text.startswith("0x"):
        raise ValueError("0x and digits are expected")
    return bytes.fromhex(text[2:])


def _all(texts: Sequence[str]) -> tuple[bytes, ...]:
    return tuple(_data(text) for text in texts)


__all__ = [
    "ServedProof",
    "Withdrawal",
    "approve_call",
    "claim_call",
    "deposit_call",
    "released_of",
    "request_call",
    "served_proof",
    "token_of",
    "withdrawals_of",
]
