"""A rollup whose state another node holds, and a node that fails: for tests of what a network does then.

`FailingNode` answers from a rollup that holds the state, as the next of its moods says:
    ok       every node, code and header that was asked for
    refuse   it raises, as a connection that is refused
    lie      one byte of every node is another
    cut      the last node of the answer is missing
Moods that are used up give way to the last one, `then`.
"""

from collections.abc import Iterable
from typing import Final, Literal, get_args

import msgspec

from plait.ledger.state import genesis_state
from plait.native import Rollup, Store, keccak256
from plait.types import Address, Gas, Hash32, OrderingPolicy, RollupId
from sim.world import Network, Plan, network_of

Mood = Literal["ok", "refuse", "lie", "cut"]
MOODS: Final[tuple[Mood, ...]] = get_args(Mood)
REMOTE, LOCAL = RollupId(901), RollupId(902)
KEEPER_CODE: Final = bytes.fromhex("60203560003555")
"""Stores the second word of its input under the first."""
KEEPER: Final = Address(bytes.fromhex("c0de" + "00" * 17 + "11"))
SLOTS: Final = 120
STRANGERS: Final = tuple(Address(keccak256(number.to_bytes(4, "big"))[:20]) for number in range(120))


class FailingNode:
    """Where a remote rollup reads.

    Args:
        rollup: that holds the state, at the remote one's anchor.
        gives_nodes: whether it gives nodes by their hash.
    """

    def __init__(self, rollup: Rollup, *, gives_nodes: bool = True) -> None:
        self._rollup = rollup
        self._gives_nodes = gives_nodes
        self._known: dict[bytes, bytes] = {}
        self.moods: list[Mood] = []
        """Of the next answers."""
        self.then: Mood = "ok"
        self.asked = 0
        self.answers: list[Mood] = []

    def read(  # noqa: PLR0917 - the native core calls it by position
        self,
        number: int,
        block_hash: bytes,
        accounts: list[tuple[bytes, list[bytes]]],
        codes: list[tuple[bytes, bytes]],
        nodes: list[bytes],
        headers: tuple[int, int] | None,
    ) -> tuple[list[bytes], list[bytes], list[bytes]]:
        """As `plait.native.RemoteReader.read`."""
        del block_hash
        self.asked += 1
        mood = self.moods.pop(0) if self.moods else self.then
        self.answers.append(mood)
        if mood == "refuse":
            raise ConnectionError("refused")
        found: list[bytes] = []
        for account, slots in accounts:
            proof = msgspec.json.decode(self._rollup.proof_json(account, slots, number))
            lists = [proof["accountProof"], *(one["proof"] for one in proof["storageProof"])]
            found += [bytes.fromhex(node[2:]) for one in lists for node in one]
        self._known |= {keccak256(node): node for node in found}
        if self._gives_nodes:
            found += [self._known[node] for node in nodes if node in self._known]
        if mood == "lie":
            found = [bytes((node[0], node[1] ^ 1, *node[2:])) for node in found]
        elif mood == "cut":
            found = found[:-1]
        raw_codes = [self._rollup.code(account, number) for account, _ in codes]
        if mood == "lie":
            raw_codes = [code + b"\0" for code in raw_codes]
        down = [] if headers is None else range(headers[0], headers[1] - 1, -1)
        return found, raw_codes, [self._rollup.raw_header(lower) or b"" for lower in down]


def network_with_state(funded: Iterable[Address], remote: RollupId = REMOTE) -> Network:
    """Two rollups; on one a contract with some hundred slots, and some hundred accounts."""
    plan = Plan(
        nodes=1,
        block_times_slots=(1, 1),
        policies=(OrderingPolicy.PRIORITY_FEE, OrderingPolicy.ARRIVAL),
        gas_limit=Gas(30_000_000),
        users=0,
        heights=0,
    )
    made = network_of(plan, list(funded))
    data = msgspec.json.decode(made.genesis[remote])
    slots = {f"0x{number:064x}": f"0x{number + 1:064x}" for number in range(SLOTS)}
    data["alloc"][KEEPER.hex()] = {"balance": "0x0", "code": "0x" + KEEPER_CODE.hex(), "storage": slots}
    for number, address in enumerate(STRANGERS):
        data["alloc"][address.hex()] = {"balance": hex(number + 1)}
    genesis = made.genesis | {remote: msgspec.json.encode(data)}
    hash_ = Hash32(Rollup.from_genesis(genesis[remote], Store.in_memory()).genesis_hash)
    parameters = [record.parameters for record in made.ledger.rollups]
    place = made.ledger.rollup_ids.index(remote)
    parameters[place] = msgspec.structs.replace(parameters[place], genesis_hash=hash_)
    ledger = genesis_state(made.ledger.parameters, tuple(parameters), made.ledger.economy)
    return Network(ledger=ledger, source=made.source, genesis=genesis)


def remote_rollup(
    network: Network, remote: RollupId = REMOTE, *, gives_nodes: bool = True
) -> tuple[Rollup, FailingNode]:
    """A rollup at its genesis block, and the node that holds its state."""
    genesis = network.genesis[remote]
    whole = Rollup.from_genesis(genesis, Store.in_memory())
    node = FailingNode(whole, gives_nodes=gives_nodes)
    header = whole.raw_header(0)
    assert header is not None
    return Rollup.remote(genesis, Store.in_memory(), header, node, genesis_hash=whole.genesis_hash), node
