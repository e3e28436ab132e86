"""A chain with some state, a reader that answers from it, and remote rollups on it."""

import json
from collections.abc import Callable

from eth_utils import keccak

from plait.native import Rollup, Store, Transaction
from tests.unit.native.builders import ALICE, BOB, address, attributes, decode, genesis, sign, transfer

# Stores the second word of its input under the first, unless both are empty: then it answers the hash of block 1.
KEEPER_CODE = bytes.fromhex("60203560003555")
KEEPER = bytes.fromhex("c0de" + "00" * 17 + "11")
# BLOCKHASH of the first word of the input, stored under it.
HASHES_CODE = bytes.fromhex("600035406000355500")
HASHES = bytes.fromhex("c0de" + "00" * 17 + "12")
STRANGERS = 300
SLOTS = 200


def held() -> bytes:
    """A genesis with some hundred accounts, and a contract with some hundred slots."""
    slots = {f"0x{number:064x}": f"0x{number + 1:064x}" for number in range(SLOTS)}
    alloc = json.loads(genesis())["alloc"]
    alloc[KEEPER.hex()] = {"balance": "0x0", "code": "0x" + KEEPER_CODE.hex(), "storage": slots}
    alloc[HASHES.hex()] = {"balance": "0x0", "code": "0x" + HASHES_CODE.hex()}
    for number in range(STRANGERS):
        alloc[keccak(number.to_bytes(4, "big"))[:20].hex()] = {"balance": hex(number + 1)}
    return genesis(alloc=alloc)


class LocalReader:
    """Answers from a rollup that holds the state; gives no nodes by hash unless told to.

    With `at_latest` it answers at that rollup's head, whichever block is asked for. The journal has what it answered.
    """

    def __init__(self, rollup: Rollup, *, gives_nodes: bool = False) -> None:
        self.rollup = rollup
        self.gives_nodes = gives_nodes
        self.calls = 0
        self.siblings = 0
        self.spoil: Callable[[list[bytes]], list[bytes]] = lambda nodes: nodes
        self.known: dict[bytes, bytes] = {}
        self.is_closed = False
        self.at_latest = False
        self.journal: tuple[list[bytes], list[bytes], list[bytes]] = ([], [], [])

    def read(  # noqa: PLR0917 - the native core calls it by position
        self,
        number: int,
        block_hash: bytes,
        accounts: list[tuple[bytes, list[bytes]]],
        codes: list[tuple[bytes, bytes]],
        nodes: list[bytes],
        headers: tuple[int, int] | None,
    ) -> tuple[list[bytes], list[bytes], list[bytes]]:
        if self.is_closed:
            raise TimeoutError("nobody is to be asked")
        self.calls += 1
        self.siblings += len(nodes)
        assert keccak(self.rollup.raw_header(number) or b"") == block_hash
        number = self.rollup.head.number if self.at_latest else number
        found: list[bytes] = []
        for account, slots in accounts:
            proof = json.loads(self.rollup.proof_json(account, slots, number))
            found += [bytes.fromhex(node[2:]) for node in proof["accountProof"]]
            found += [bytes.fromhex(node[2:]) for one in proof["storageProof"] for node in one["proof"]]
        self.known |= {keccak(node): node for node in found}
        if self.gives_nodes:
            found += [self.known[node] for node in nodes if node in self.known]
        down = [] if headers is None else range(headers[0], headers[1] - 1, -1)
        raw = [self.rollup.raw_header(lower) or b"" for lower in down]
        answer = self.spoil(found), [self.rollup.code(account, number) for account, _ in codes], raw
        for kept, new in zip(self.journal, answer, strict=True):
            kept.extend(new)
        return answer


def chain(blocks: int, *, undo_blocks: int = 0) -> Rollup:
    """A rollup that holds its state, some blocks above genesis, none open."""
    rollup = Rollup.from_genesis(held(), Store.in_memory(), undo_blocks=undo_blocks)
    session = rollup.session()
    for number in range(1, blocks + 1):
        session.open(attributes(number))
        session.run([transfer(BOB, number - 1, address(ALICE), 7)])
        session.seal()
    rollup.commit(session)
    return rollup


def remote(rollup: Rollup, reader: LocalReader, store: Store | None = None, *, undo_blocks: int = 0) -> Rollup:
    """A rollup on the head of one that holds the state."""
    header = rollup.raw_header(rollup.head.number)
    assert header is not None
    store = store or Store.in_memory()
    return Rollup.remote(genesis(), store, header, reader, genesis_hash=rollup.genesis_hash, undo_blocks=undo_blocks)


def keep(nonce: int, slot: int, value: int) -> Transaction:
    """A transaction of Alice that stores `value`."""
    return decode(sign(ALICE, nonce, KEEPER, data=slot.to_bytes(32, "big") + value.to_bytes(32, "big"), gas=100_000))[0]
