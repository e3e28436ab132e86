"""Changes to a history, each with the rules that its mutated message then breaks.

A mutation takes a history and the place of one executing message and gives a changed history, or None where it cannot
be applied. `only` says that at the place nothing but the named rule may break, so that a checker without that rule
accepts the message. Some are named valid: they move a message to the very edge of a rule.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import NamedTuple

from tests.conformance.messages.checker import EXECUTING, INBOX, WINDOW_S, Chain, Claim, checksum
from tests.conformance.messages.histories import History, claim_of, executing_log, keys_of
from tests.conformance.messages.reading import Block, Log, Transaction


class Spot(NamedTuple):
    """One executing message of a history."""

    block: Block
    transaction: int
    log: int
    """Among the transaction's logs."""
    log_index: int
    claim: Claim
    source: Log
    """The initiating log."""


Mutation = Callable[[Random, History, Spot], History | None]


def spots(history: History) -> list[Spot]:
    """All executing messages of a valid history."""
    at = {(block.chain_id, block.number): block for block in history.blocks}
    found = []
    for block in history.blocks:
        index = -1
        for place, transaction in enumerate(block.transactions):
            for position, log in enumerate(transaction.logs):
                index += 1
                if log.origin != INBOX or log.topics[:1] != (EXECUTING,):
                    continue
                number, source_index, _, chain_id = (
                    int.from_bytes(log.data[start : start + 32], "big") for start in range(32, 160, 32)
                )
                source = at[chain_id, number]
                initiating = source.logs[source_index]
                claim = claim_of(initiating, chain_id, number, source.timestamp, source_index)
                found.append(Spot(block, place, position, index, claim, initiating))
    return found


# ---------------------------------------------------------------- pieces
def _with_block(history: History, old: Block, new: Block | None) -> History:
    blocks = [new if block is old else block for block in history.blocks]
    return history._replace(blocks=tuple(block for block in blocks if block is not None))


def _with_transaction(history: History, spot: Spot, transaction: Transaction) -> History:
    block = spot.block
    transactions = list(block.transactions)
    transactions[spot.transaction] = transaction
    return _with_block(history, block, block._replace(transactions=tuple(transactions)))


def _claiming(history: History, spot: Spot, log: Log, claim: Claim) -> History:
    """The message at the spot claims something else, in its event as in its access list, with the checksum that
    CrossL2Inbox would compute."""
    event = executing_log(log, claim)
    made = checksum(log.origin, event.topics[1], claim)
    transaction = spot.block.transactions[spot.transaction]
    logs = list(transaction.logs)
    logs[spot.log] = event
    keys = tuple(keys_of(claim._replace(checksum=made)))
    return _with_transaction(history, spot, Transaction((*transaction.access_list, (INBOX, keys)), tuple(logs)))


def _source_block(history: History, spot: Spot) -> Block:
    wanted = (spot.claim.chain_id, spot.claim.block_number)
    return next(block for block in history.blocks if (block.chain_id, block.number) == wanted)


def _without_log(block: Block, index: int) -> Block:
    transactions = []
    for transaction in block.transactions:
        count = len(transaction.logs)
        logs = transaction.logs[:index] + transaction.logs[index + 1 :] if 0 <= index < count else transaction.logs
        transactions.append(transaction._replace(logs=logs))
        index -= count
    return block._replace(transactions=tuple(transactions))


def _with_chain(history: History, chain_id: int, first_timestamp: int) -> History:
    """The chain takes part from this timestamp on."""
    chains = [
        Chain(chain_id, first_timestamp - chain.block_time, chain.block_time) if chain.chain_id == chain_id else chain
        for chain in history.chains
    ]
    return history._replace(chains=tuple(chains))


# ---------------------------------------------------------------- what the message says
def wrong_index(random: Random, history: History, spot: Spot) -> History | None:
    """Another log of the same block."""
    logs = _source_block(history, spot).logs
    others = [index for index, log in enumerate(logs) if (log.origin, log.topics, log.data) != tuple(spot.source)]
    if not others:
        return None
    return _claiming(history, spot, spot.source, spot.claim._replace(log_index=random.choice(others)))


def index_beyond(random: Random, history: History, spot: Spot) -> History:
    """One after the last log of the block."""
    count = len(_source_block(history, spot).logs)
    return _claiming(history, spot, spot.source, spot.claim._replace(log_index=count))


def wrong_timestamp(random: Random, history: History, spot: Spot) -> History | None:
    """A second before the block's."""
    return _claiming(history, spot, spot.source, spot.claim._replace(timestamp=spot.claim.timestamp - 1))


def wrong_block(random: Random, history: History, spot: Spot) -> History:
    """A block that the chain has not reached."""
    return _claiming(history, spot, spot.source, spot.claim._replace(block_number=spot.claim.block_number + 10**6))


def wrong_origin(random: Random, history: History, spot: Spot) -> History:
    """Another contract."""
    return _claiming(history, spot, spot.source._replace(origin=random.randbytes(20)), spot.claim)


def wrong_payload(random: Random, history: History, spot: Spot) -> History:
    """One byte more."""
    return _claiming(history, spot, spot.source._replace(data=spot.source.data + b"\0"), spot.claim)


def wrong_chain(random: Random, history: History, spot: Spot) -> History | None:
    """Another chain of the set, which has no equal log there."""
    number, index = spot.claim.block_number, spot.claim.log_index
    equal = {block.chain_id for block in history.blocks if block.number == number and spot.source in block.logs[index:]}
    others = [chain.chain_id for chain in history.chains if chain.chain_id not in equal]
    if not others:
        return None
    return _claiming(history, spot, spot.source, spot.claim._replace(chain_id=random.choice(others)))


def chain_of_nobody(random: Random, history: History, spot: Spot) -> History:
    """A chain that does not exist, whose id has the same lower 64 bits."""
    return _claiming(history, spot, spot.source, spot.claim._replace(chain_id=spot.claim.chain_id ^ 2**70))


# ---------------------------------------------------------------- how it is declared
def undeclared(random: Random, history: History, spot: Spot) -> History:
    """No access list."""
    return _with_transaction(history, spot, spot.block.transactions[spot.transaction]._replace(access_list=()))


def declared_by_another(random: Random, history: History, spot: Spot) -> History | None:
    """The access list stands at the transaction before."""
    if spot.transaction == 0:
        return None
    transactions = list(spot.block.transactions)
    declared = transactions[spot.transaction].access_list
    before = transactions[spot.transaction - 1]
    transactions[spot.transaction - 1] = before._replace(access_list=(*before.access_list, *declared))
    transactions[spot.transaction] = transactions[spot.transaction]._replace(access_list=())
    return _with_block(history, spot.block, spot.block._replace(transactions=tuple(transactions)))


def _declaring_also(history: History, spot: Spot, keys: list[bytes]) -> History:
    """A transaction more, after the spot's block, that declares and does nothing."""
    added = Transaction(((INBOX, tuple(keys)),), ())
    transactions = (*spot.block.transactions, added)
    return _with_block(history, spot.block, spot.block._replace(transactions=transactions))


def malformed_keys(kind: str) -> Mutation:
    """A transaction whose keys are malformed in one way."""

    def mutate(random: Random, history: History, spot: Spot) -> History:
        lookup, mark = keys_of(spot.claim)[0], spot.claim.checksum
        extension = b"\x02" + (2**190 + 1).to_bytes(31, "big")
        keys = {
            "no checksum": [lookup],
            "no lookup": [mark],
            "lookup twice": [lookup, lookup, mark],
            "checksum twice": [lookup, mark, mark],
            "checksum first": [mark, lookup],
            "extension first": [extension, lookup, mark],
            "extension twice": [lookup, extension, extension, mark],
            "extension last": [lookup, extension],
            "lookup padding": [lookup[:3] + b"\x01" + lookup[4:], mark],
            "extension padding": [lookup, b"\x02\0\0\0\0\0\0\x01" + extension[8:], mark],
            "type 0": [lookup, bytes(32)],
            "type 4": [lookup, b"\x04" + mark[1:]],
            "hidden behind a good one": [lookup, mark, lookup],
        }[kind]
        return _declaring_also(history, spot, keys)

    mutate.__doc__ = f"Malformed keys: {kind}."
    return mutate


MALFORMED = (
    "no checksum", "no lookup", "lookup twice", "checksum twice", "checksum first", "extension first",
    "extension twice", "extension last", "lookup padding", "extension padding", "type 0", "type 4",
    "hidden behind a good one",
)  # fmt: skip


def declared_and_unused(random: Random, history: History, spot: Spot) -> History:
    """A declaration, well formed and false, that nothing executes."""
    return _declaring_also(history, spot, keys_of(spot.claim._replace(checksum=b"\x03" + random.randbytes(31))))


# ---------------------------------------------------------------- time
def expired(random: Random, history: History, spot: Spot) -> History:
    """Executed a second after the window."""
    later = spot.block._replace(timestamp=spot.claim.timestamp + WINDOW_S + 1)
    return _with_block(history, spot.block, later)


def at_expiry(random: Random, history: History, spot: Spot) -> History | None:
    """Valid: executed in the window's last second."""
    if _source_block(history, spot) is spot.block:
        return None
    return _with_block(history, spot.block, spot.block._replace(timestamp=spot.claim.timestamp + WINDOW_S))


def from_the_future(random: Random, history: History, spot: Spot) -> History | None:
    """Executed a second before it is sent."""
    if _source_block(history, spot) is spot.block:
        return None
    return _with_block(history, spot.block, spot.block._replace(timestamp=spot.claim.timestamp - 1))


def executed_before_activation(random: Random, history: History, spot: Spot) -> History:
    """The executing chain takes part from the next second on."""
    return _with_chain(history, spot.block.chain_id, spot.block.timestamp + 1)


def executed_at_activation(random: Random, history: History, spot: Spot) -> History | None:
    """Valid: the executing chain takes part from this block on."""
    if spot.claim.chain_id == spot.block.chain_id:
        return None
    return _with_chain(history, spot.block.chain_id, spot.block.timestamp)


def sent_before_activation(random: Random, history: History, spot: Spot) -> History:
    """The initiating chain takes part from the next second on."""
    return _with_chain(history, spot.claim.chain_id, spot.claim.timestamp + 1)


def sent_at_activation(random: Random, history: History, spot: Spot) -> History:
    """Valid: the initiating chain takes part from that block on."""
    return _with_chain(history, spot.claim.chain_id, spot.claim.timestamp)


# ---------------------------------------------------------------- the world around it
def chain_not_in_the_set(random: Random, history: History, spot: Spot) -> History:
    """The initiating chain is left out of the dependency set."""
    kept = tuple(chain for chain in history.chains if chain.chain_id != spot.claim.chain_id)
    return history._replace(chains=kept)


def executing_chain_not_in_the_set(random: Random, history: History, spot: Spot) -> History:
    """The executing chain is left out of the dependency set."""
    kept = tuple(chain for chain in history.chains if chain.chain_id != spot.block.chain_id)
    return history._replace(chains=kept)


def log_removed(random: Random, history: History, spot: Spot) -> History | None:
    """The initiating log is gone; later logs of its block move up, but not an equal one to its place."""
    block = _source_block(history, spot)
    following = block.logs[spot.claim.log_index + 1 : spot.claim.log_index + 2]
    if block is spot.block or following == [spot.source]:
        return None
    return _with_block(history, block, _without_log(block, spot.claim.log_index))


def block_removed(random: Random, history: History, spot: Spot) -> History | None:
    """The initiating block is gone."""
    block = _source_block(history, spot)
    return None if block is spot.block else _with_block(history, block, None)


def event_padding(random: Random, history: History, spot: Spot) -> History:
    """A bit above the log index in the event."""
    return _with_event(history, spot, lambda data: data[:64] + b"\x01" + data[65:])


def event_cut(random: Random, history: History, spot: Spot) -> History:
    """The event's data is a byte short."""
    return _with_event(history, spot, lambda data: data[:-1])


def _with_event(history: History, spot: Spot, change: Callable[[bytes], bytes]) -> History:
    transaction = spot.block.transactions[spot.transaction]
    logs = list(transaction.logs)
    logs[spot.log] = logs[spot.log]._replace(data=change(logs[spot.log].data))
    return _with_transaction(history, spot, transaction._replace(logs=tuple(logs)))


# ---------------------------------------------------------------- cycles
def _mutual(random: Random, history: History, spot: Spot, *, emit_first: tuple[bool, bool]) -> History | None:
    """Two chains with blocks of the spot's timestamp execute a new log of each other's."""
    level = [block for block in history.blocks if block.timestamp == spot.block.timestamp]
    chains = {chain.chain_id: chain for chain in history.chains}
    level = [b for b in level if b.timestamp >= chains[b.chain_id].activation + chains[b.chain_id].block_time]
    if len(level) < 2 or spot.block not in level:
        return None
    pair = (spot.block, random.choice([block for block in level if block is not spot.block]))
    plain = [Log(random.randbytes(20), (), random.randbytes(8)) for _ in pair]
    claims = []
    for block, log, first in zip(pair, plain, emit_first, strict=True):
        index = len(block.logs) + (0 if first else 1)
        claims.append(claim_of(log, block.chain_id, block.number, block.timestamp, index))
    for side, block in enumerate(pair):
        other = 1 - side
        emitting = Transaction((), (plain[side],))
        executing = Transaction(
            ((INBOX, tuple(keys_of(claims[other]))),), (executing_log(plain[other], claims[other]),)
        )
        added = (emitting, executing) if emit_first[side] else (executing, emitting)
        history = _with_block(history, block, block._replace(transactions=(*block.transactions, *added)))
    return history


def mutual_validating_first(random: Random, history: History, spot: Spot) -> History | None:
    """Each chain executes the other's log before it emits its own."""
    return _mutual(random, history, spot, emit_first=(False, False))


def mutual_emitting_first(random: Random, history: History, spot: Spot) -> History | None:
    """Valid: each chain emits before it executes the other's log."""
    return _mutual(random, history, spot, emit_first=(True, True))


def mutual_one_emitting_first(random: Random, history: History, spot: Spot) -> History | None:
    """Valid: one of the two emits first."""
    return _mutual(random, history, spot, emit_first=(True, False))


INVALID: dict[str, tuple[Mutation, str]] = {
    "another log of the block": (wrong_index, "content"),
    "index after the last log": (index_beyond, "exists"),
    "a second earlier": (wrong_timestamp, "timestamp"),
    "a block not reached": (wrong_block, "exists"),
    "another origin": (wrong_origin, "content"),
    "another payload": (wrong_payload, "content"),
    "another chain of the set": (wrong_chain, "exists|content|timestamp"),
    "a chain with the same lower 64 bits": (chain_of_nobody, "chain"),
    "undeclared": (undeclared, "declared"),
    "declared by another transaction": (declared_by_another, "declared"),
    "declared, false and unused": (declared_and_unused, "content"),
    **{f"keys: {kind}": (malformed_keys(kind), "access_list") for kind in MALFORMED},
    "a second after the window": (expired, "expired"),
    "a second before it is sent": (from_the_future, "future"),
    "executed before activation": (executed_before_activation, "execution"),
    "sent before activation": (sent_before_activation, "initiation"),
    "initiating chain not in the set": (chain_not_in_the_set, "chain"),
    "executing chain not in the set": (executing_chain_not_in_the_set, "chain"),
    "initiating log removed": (log_removed, "exists|content"),
    "initiating block removed": (block_removed, "exists"),
    "event with a word too large": (event_padding, "event"),
    "event cut": (event_cut, "event"),
    "mutual, both execute first": (mutual_validating_first, "cycle"),
}
"""Name to mutation and the rule (one of them) that the message breaks."""

VALID: dict[str, Mutation] = {
    "in the window's last second": at_expiry,
    "executed at activation": executed_at_activation,
    "sent at activation": sent_at_activation,
    "mutual, both emit first": mutual_emitting_first,
    "mutual, one emits first": mutual_one_emitting_first,
}
"""Name to a change after which the message at the spot is still valid."""
