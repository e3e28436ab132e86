"""The checker accepts histories that are valid by construction, from raw bytes as well as read; the mutations and the
comparison with plait/interop are in test_judge_mutations.py and test_agreement.py.

More: PLAIT_MESSAGES_SEEDS=20000 pytest tests/conformance/messages
"""

from __future__ import annotations

import os
from random import Random

import pytest

from tests.conformance.messages.checker import Claim, Judged, first_bad, on_cycles
from tests.conformance.messages.histories import encode_chain, random_history, schedulable
from tests.conformance.messages.reading import Block, ReadingError, read_chain

SEEDS = int(os.environ.get("PLAIT_MESSAGES_SEEDS", "300"))


def test_histories_valid_by_construction_are_accepted() -> None:
    """No message of any of them is bad, and they hold messages of every kind that matters."""
    executed = same_time = extended = 0
    for seed in range(SEEDS):
        history = random_history(seed)
        assert first_bad(history.chains, history.blocks) is None, f"random_history({seed})"
        for block in history.blocks:
            for transaction in block.transactions:
                keys = [key for _, keys in transaction.access_list for key in keys]
                executed += sum(1 for key in keys if key[0] == 3)
                extended += sum(1 for key in keys if key[0] == 2)
                same_time += sum(
                    1 for key in keys if key[0] == 1 and int.from_bytes(key[20:28], "big") == block.timestamp
                )
    assert min(executed, same_time, extended) > SEEDS, "too few messages to show anything"


def test_raw_blocks_read_as_what_was_encoded() -> None:
    """Blocks and receipts in raw bytes read back, and one changed byte of a receipt or another order is noticed."""
    random = Random(1)
    for seed in range(30):
        history = random_history(seed)
        for chain in history.chains:
            blocks = [block for block in history.blocks if block.chain_id == chain.chain_id]
            raw = encode_chain(blocks)
            assert read_chain(chain.chain_id, raw) == blocks
            place = random.randrange(len(raw))
            body, receipts = raw[place]
            for changed in (
                (body, [receipts[0][:-1] + b"\x01", *receipts[1:]]),
                (body, receipts[:-1]),
                (body[:-1], receipts),
            ):
                with pytest.raises(ReadingError):
                    read_chain(chain.chain_id, [*raw[:place], changed, *raw[place + 1 :]])
            if len(raw) > 2:
                with pytest.raises(ReadingError):
                    read_chain(chain.chain_id, [raw[0], *raw[2:]])


def test_a_cycle_is_where_no_order_of_emission_exists() -> None:
    """Random references within a level: some log is on a cycle exactly when the logs cannot be emitted one by one."""
    circular = 0
    for seed in range(10 * SEEDS):
        random = Random(seed)
        places = [(chain, index) for chain in range(random.randrange(1, 4)) for index in range(random.randrange(1, 5))]
        kinds = {place: random.randrange(2) == 0 for place in places}
        references = {place: random.choice(places) for place, executes in kinds.items() if executes}
        executions = [
            Judged(chain, 1, 1, 0, index, Claim(target[0], 1, target[1], 1, b""), frozenset())
            for (chain, index), target in references.items()
        ]
        found = on_cycles(executions)
        assert bool(found) != schedulable(kinds, references), f"seed {seed}: {references}"
        circular += bool(found)
    assert SEEDS < circular < 9 * SEEDS


def test_the_same_block_given_twice_is_the_callers_error() -> None:
    """Two blocks of one chain and number are no history."""
    history = random_history(1)
    with pytest.raises(ValueError, match="twice"):
        first_bad(history.chains, [*history.blocks, Block(*history.blocks[0])])
