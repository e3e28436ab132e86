"""An independent judge of messages between rollups: accepts a history or names the first bad executing message.

Written from the OP Stack's specification, sharing no code with plait/interop or the builder, so that an error made
there is not made here too. Each rule is one entry of `RULES`; a judgement lists all rules that a message breaks, so no
rule hides behind another.

    access_list  the keys of CrossL2Inbox that a transaction declares are well formed, over all its entries
    event        an ExecutingMessage log is the one canonical encoding
    declared     what an ExecutingMessage log executes, its own transaction declared, by position and checksum
    chain        both chains are in the dependency set
    execution    e >= activation + block time of the executing chain
    initiation   i >= activation + block time of the initiating chain
    future       i <= e
    expired      e - i <= 604,800 s
    exists       a log is at that chain, block and index
    timestamp    its block has the timestamp that the message says
    content      origin and payload of the log give the checksum
    cycle        logs of one timestamp do not depend on themselves

All but `declared` and `cycle` hold for what transactions declare as well as for what they execute; a declaration that
nothing uses is refused too, which is Plait's rule and stricter than the OP Stack's verifier (`declarations=False`
leaves it out).

Cycles: in the graph of all logs of one timestamp, where a log depends on the log before it on its chain and an
ExecutingMessage log also on its initiating log, no log reaches itself. Strongly connected components by Kosaraju's two
passes; the logs between those that matter are left out, which changes no path.

Sources: OP Stack specs, interop/{messaging,predeploys,derivation}.md.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from eth_hash.auto import keccak

from tests.conformance.messages.reading import AccessList, Block, Log

INBOX = bytes.fromhex("4200000000000000000000000000000000000022")
EXECUTING = keccak(b"ExecutingMessage(bytes32,(address,uint256,uint256,uint256,uint256))")
WINDOW_S = 604_800
MESSENGER = bytes.fromhex("4200000000000000000000000000000000000023")
RELAYED = keccak(b"RelayedMessage(uint256,uint256,bytes32,bytes32)")
FEES = bytes.fromhex("504c414954000000000000000000000000000002")
REQUIRED = keccak(b"DeliveryRequired(bytes32)")


class Chain(NamedTuple):
    """A member of the dependency set; times in seconds."""

    chain_id: int
    activation: int
    block_time: int


class Claim(NamedTuple):
    """A message by position and checksum: what a declaration says, and what an executing log amounts to."""

    chain_id: int
    block_number: int
    log_index: int
    timestamp: int
    checksum: bytes


class Judged(NamedTuple):
    """One claim of a block, or something there that could not be read as one."""

    chain_id: int
    block_number: int
    timestamp: int
    transaction: int
    log_index: int | None
    """Of the ExecutingMessage log; None for a declaration."""
    claim: Claim | None
    broken: frozenset[str]
    """Names of rules."""


class Malformed(Exception):
    """Keys or an event that are not what they must be."""


# ---------------------------------------------------------------- what a message is
def payload_hash(log: Log) -> bytes:
    """Keccak of topics and data, joined."""
    return keccak(b"".join(log.topics) + log.data)


def checksum(origin: bytes, payload: bytes, claim: Claim) -> bytes:
    """The commitment to a log at the position of a claim; `payload` is its hash."""
    packed = claim.block_number.to_bytes(20, "big") + claim.timestamp.to_bytes(8, "big")
    inner = keccak(keccak(origin + payload) + packed + claim.log_index.to_bytes(4, "big"))
    return b"\x03" + keccak(inner + claim.chain_id.to_bytes(32, "big"))[1:]


def read_keys(keys: Sequence[bytes]) -> list[Claim]:
    """Declared messages of the joined keys; a small automaton over their types.

    Raises:
        Malformed: another order, padding, or an end within a message.
    """
    claims: list[Claim] = []
    chain_id = number = timestamp = index = 0
    expected = {1}
    for key in keys:
        if len(key) != 32 or key[0] not in expected:
            raise Malformed(f"a key that begins with {key[:1].hex()} where one of {sorted(expected)} must stand")
        if key[0] == 1:
            if key[1:4] != b"\0\0\0":
                raise Malformed("padding of a lookup")
            chain_id, number, timestamp, index = (
                int.from_bytes(key[start:end], "big") for start, end in ((4, 12), (12, 20), (20, 28), (28, 32))
            )
            expected = {2, 3}
        elif key[0] == 2:
            if key[1:8] != bytes(7):
                raise Malformed("padding of an extension")
            chain_id += int.from_bytes(key[8:], "big") * 2**64
            expected = {3}
        else:
            claims.append(Claim(chain_id, number, index, timestamp, key))
            expected = {1}
    if expected != {1}:
        raise Malformed("the keys end within a message")
    return claims


def declared_by(access_list: AccessList) -> list[Claim]:
    """What an access list declares, over all its entries for the inbox.

    Raises:
        Malformed: as `read_keys`.
    """
    return read_keys([key for address, keys in access_list for key in keys if address == INBOX])


def executed_by(log: Log) -> Claim:
    """What an ExecutingMessage log executes.

    Raises:
        Malformed: not the event's canonical encoding.
    """
    if len(log.topics) != 2 or len(log.data) != 160:
        raise Malformed("an ExecutingMessage has two topics and five words")
    origin, number, index, timestamp, chain_id = (
        int.from_bytes(log.data[start : start + 32], "big") for start in range(0, 160, 32)
    )
    if origin >= 2**160 or number >= 2**64 or index >= 2**32 or timestamp >= 2**64:
        raise Malformed("a word of the identifier is too large")
    claim = Claim(chain_id, number, index, timestamp, b"")
    return claim._replace(checksum=checksum(origin.to_bytes(20, "big"), log.topics[1], claim))


# ---------------------------------------------------------------- rules
class Context:
    """A history and the dependency set, with the claim that is being judged."""

    def __init__(self, chains: Iterable[Chain], blocks: Iterable[Block]) -> None:
        self.chains: dict[int, Chain] = {chain.chain_id: chain for chain in chains}
        self.blocks: dict[tuple[int, int], Block] = {}
        self.logs: dict[tuple[int, int], list[Log]] = {}
        for block in blocks:
            key = (block.chain_id, block.number)
            if key in self.blocks:
                raise ValueError(f"block {block.number} of chain {block.chain_id} is given twice")
            self.blocks[key] = block
            self.logs[key] = block.logs

    def log(self, claim: Claim) -> Log | None:
        """The log that a claim names."""
        logs = self.logs.get((claim.chain_id, claim.block_number), [])
        return logs[claim.log_index] if claim.log_index < len(logs) else None


Rule = Callable[[Context, Block, Claim], bool]
"""True when the claim of the block keeps the rule, or the rule cannot be asked because another one is broken."""


def _chain(context: Context, block: Block, claim: Claim) -> bool:
    return block.chain_id in context.chains and claim.chain_id in context.chains


def _execution(context: Context, block: Block, claim: Claim) -> bool:
    chain = context.chains.get(block.chain_id)
    return chain is None or block.timestamp >= chain.activation + chain.block_time


def _initiation(context: Context, block: Block, claim: Claim) -> bool:
    chain = context.chains.get(claim.chain_id)
    return chain is None or claim.timestamp >= chain.activation + chain.block_time


def _future(context: Context, block: Block, claim: Claim) -> bool:
    return claim.timestamp <= block.timestamp


def _expired(context: Context, block: Block, claim: Claim) -> bool:
    return block.timestamp <= claim.timestamp + WINDOW_S


def _exists(context: Context, block: Block, claim: Claim) -> bool:
    return context.log(claim) is not None


def _timestamp(context: Context, block: Block, claim: Claim) -> bool:
    found = context.blocks.get((claim.chain_id, claim.block_number))
    return found is None or found.timestamp == claim.timestamp


def _content(context: Context, block: Block, claim: Claim) -> bool:
    log = context.log(claim)
    if log is None:
        return True
    return checksum(log.origin, payload_hash(log), claim) == claim.checksum


CLAIM_RULES: Mapping[str, Rule] = {
    "chain": _chain,
    "execution": _execution,
    "initiation": _initiation,
    "future": _future,
    "expired": _expired,
    "exists": _exists,
    "timestamp": _timestamp,
    "content": _content,
}
RULES = ("access_list", "event", "declared", *CLAIM_RULES, "cycle")


# ---------------------------------------------------------------- judging
def judge(
    chains: Iterable[Chain],
    blocks: Iterable[Block],
    *,
    declarations: bool = True,
    without: Collection[str] = (),
) -> list[Judged]:
    """Everything that breaks a rule, in the order of timestamp, chain, block, transaction; cycles last per timestamp.

    Args:
        chains: the dependency set.
        blocks: the history of all its chains, in any order, from the first block that is to be judged or referred to.
        declarations: also judge what is declared and not executed.
        without: names of rules that are left out, to see what they are needed for.
    """
    context = Context(chains, blocks)
    found: list[Judged] = []
    for timestamp in sorted({block.timestamp for block in context.blocks.values()}):
        level = sorted(block for block in context.blocks.values() if block.timestamp == timestamp)
        same_time: list[Judged] = []
        for block in level:
            for item in _claims(context, block, declarations):
                broken = item.broken - set(without)
                if broken:
                    found.append(item._replace(broken=broken))
                if item.log_index is not None and item.claim is not None and item.claim.timestamp == timestamp:
                    same_time.append(item)
        if "cycle" not in without:
            at_fault = on_cycles(same_time)
            found += [item._replace(broken=frozenset({"cycle"})) for item in same_time if item in at_fault]
    return found


def first_bad(
    chains: Iterable[Chain], blocks: Iterable[Block], *, declarations: bool = True, without: Collection[str] = ()
) -> Judged | None:
    """The first bad message of a history, or None when all are valid."""
    return next(iter(judge(chains, blocks, declarations=declarations, without=without)), None)


def _claims(context: Context, block: Block, declarations: bool) -> Iterator[Judged]:
    """Declarations and executions of a block, with the rules that each breaks by itself."""
    log_index = -1
    for place, transaction in enumerate(block.transactions):
        at = Judged(block.chain_id, block.number, block.timestamp, place, None, None, frozenset())
        declared: list[Claim] = []
        try:
            declared = declared_by(transaction.access_list)
        except Malformed:
            if declarations:
                yield at._replace(broken=frozenset({"access_list"}))
        if declarations:
            for claim in declared:
                yield at._replace(claim=claim, broken=_broken(context, block, claim))
        for log in transaction.logs:
            log_index += 1
            if log.origin != INBOX or log.topics[:1] != (EXECUTING,):
                continue
            try:
                claim = executed_by(log)
            except Malformed:
                yield at._replace(log_index=log_index, broken=frozenset({"event"}))
                continue
            broken = _broken(context, block, claim)
            yield at._replace(
                log_index=log_index, claim=claim, broken=broken if claim in declared else broken | {"declared"}
            )


def _broken(context: Context, block: Block, claim: Claim) -> frozenset[str]:
    return frozenset(name for name, keeps in CLAIM_RULES.items() if not keeps(context, block, claim))


# ---------------------------------------------------------------- demands (Plait's own rule)
def unmet_demands(blocks: Iterable[Block]) -> list[tuple[int, int, bytes]]:
    """(chain id, block number, message hash) of every DeliveryRequired log without a delivery of that message anywhere
    in these blocks. That both stand in one bundle is not visible in blocks."""
    delivered: set[bytes] = set()
    demanded: list[tuple[int, int, bytes]] = []
    for block in blocks:
        for log in block.logs:
            if log.origin == MESSENGER and len(log.topics) == 4 and log.topics[0] == RELAYED:
                delivered.add(log.topics[3])
            if log.origin == FEES and len(log.topics) == 2 and log.topics[0] == REQUIRED:
                demanded.append((block.chain_id, block.number, log.topics[1]))
    return [demand for demand in demanded if demand[2] not in delivered]


# ---------------------------------------------------------------- cycles
Place = tuple[int, int]
"""Chain id and log index, within one timestamp."""


def on_cycles(executions: Collection[Judged]) -> set[Judged]:
    """Those of one timestamp's executions whose log depends on itself."""
    edges = _dependencies(
        [
            ((item.chain_id, item.log_index), (item.claim.chain_id, item.claim.log_index))
            for item in executions
            if item.log_index is not None and item.claim is not None
        ]
    )
    circular = _circular(edges)
    return {item for item in executions if item.log_index is not None and (item.chain_id, item.log_index) in circular}


def _dependencies(pairs: Sequence[tuple[Place, Place]]) -> dict[Place, list[Place]]:
    """The log graph: from each log that matters to the logs that it depends on."""
    places = sorted({place for pair in pairs for place in pair})
    edges: dict[Place, list[Place]] = {place: [] for place in places}
    for before, after in pairwise(places):
        if before[0] == after[0]:
            edges[after].append(before)
    for executing, initiating in pairs:
        edges[executing].append(initiating)
    return edges


def _circular(edges: Mapping[Place, Sequence[Place]]) -> set[Place]:
    """Nodes on a cycle: of a strongly connected component of several nodes, or with an edge to themselves."""
    finished: list[Place] = []
    seen: set[Place] = set()
    for root in edges:
        finished += _visit(root, edges, seen)
    backwards: dict[Place, list[Place]] = {place: [] for place in edges}
    for place, targets in edges.items():
        for target in targets:
            backwards[target].append(place)
    seen = set()
    circular: set[Place] = set()
    for root in reversed(finished):
        component = _visit(root, backwards, seen)
        if len(component) > 1 or (component and root in edges[root]):
            circular.update(component)
    return circular


def _visit(root: Place, edges: Mapping[Place, Sequence[Place]], seen: set[Place]) -> list[Place]:
    """What a depth-first search from `root` newly reaches, in the order in which it is finished."""
    if root in seen:
        return []
    seen.add(root)
    finished: list[Place] = []
    stack = [(root, iter(edges[root]))]
    while stack:
        place, rest = stack[-1]
        following = next((target for target in rest if target not in seen), None)
        if following is None:
            finished.append(place)
            stack.pop()
        else:
            seen.add(following)
            stack.append((following, iter(edges[following])))
    return finished
