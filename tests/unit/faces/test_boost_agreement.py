"""Boost faces that agree: no block is answered whose other half is not, whatever happens in which order."""

from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from plait.rollups.opstack.faces.boost_agreement import Agreement, BlockKey
from plait.types import BlockNumber, RollupId


def key(rollup: int, number: int) -> BlockKey:
    return RollupId(rollup), BlockNumber(number)


KEYS = [key(rollup, number) for rollup in (1, 2, 3) for number in (1, 2, 3)]
keys = st.sampled_from(KEYS)
events = st.lists(
    st.one_of(
        st.tuples(st.just("ready"), keys, st.frozensets(st.sampled_from([*KEYS, key(9, 1)]), max_size=3)),
        st.tuples(st.just("withdraw"), keys, st.just(frozenset())),
        st.tuples(st.just("adopted"), keys, st.just(frozenset())),
    ),
    max_size=30,
)


def _answered(agreement: Agreement, needs: dict[BlockKey, frozenset[BlockKey]]) -> Iterator[BlockKey]:
    return (item for item in needs if agreement.is_taken(item))


@given(events)
def test_whatever_a_taken_block_needs_is_taken_adopted_or_no_faces_business(
    history: list[tuple[str, BlockKey, frozenset[BlockKey]]],
) -> None:
    agreement = Agreement([RollupId(1), RollupId(2), RollupId(3)])
    needs: dict[BlockKey, frozenset[BlockKey]] = {}
    adopted: dict[RollupId, int] = {}
    for what, item, needed in history:
        if what == "ready" and not agreement.is_taken(item):
            needs[item] = needed - {item}
            agreement.ready(item, needed)
        elif what == "withdraw" and not agreement.is_bound(item):
            agreement.withdraw(item)
        elif what == "adopted" and agreement.is_taken(item):
            adopted[item[0]] = max(adopted.get(item[0], 0), item[1])
            agreement.adopted(*item)
        for taken in _answered(agreement, needs):
            for rollup_id, number in needs[taken]:
                stands = agreement.is_taken(key(rollup_id, number)) or number <= adopted.get(rollup_id, 0)
                assert stands or rollup_id == 9, (taken, rollup_id, number)


def test_halves_that_need_each_other_are_taken_at_once_and_never_given_up() -> None:
    agreement = Agreement([RollupId(1), RollupId(2)])
    told: list[bool] = []
    agreement.listen(lambda: told.append(agreement.is_taken(key(1, 5))))
    agreement.ready(key(1, 5), frozenset({key(2, 7)}))
    assert not agreement.is_taken(key(1, 5))
    agreement.ready(key(2, 7), frozenset({key(1, 5)}))
    assert agreement.is_taken(key(1, 5))
    assert agreement.is_taken(key(2, 7))
    assert agreement.is_bound(key(1, 5))
    assert told[-1], "who waits is told"


def test_the_loss_of_one_half_is_known_to_the_other_and_a_block_alone_is_bound_to_nothing() -> None:
    agreement = Agreement([RollupId(1), RollupId(2)])
    agreement.ready(key(2, 1), frozenset())
    assert agreement.is_taken(key(2, 1))
    assert not agreement.is_bound(key(2, 1))
    agreement.ready(key(1, 5), frozenset({key(2, 7)}))
    agreement.withdraw(key(2, 6))
    assert agreement.is_hopeless(frozenset({key(2, 7)})), "nothing of ours comes above a lost block"
    agreement.ready(key(2, 6), frozenset())
    assert not agreement.is_hopeless(frozenset({key(2, 7)})), "op-node asked again"


def test_replaced_blocks_bind_nobody() -> None:
    agreement = Agreement([RollupId(1), RollupId(2)])
    agreement.ready(key(1, 5), frozenset({key(2, 7)}))
    agreement.ready(key(2, 7), frozenset({key(1, 5)}))
    agreement.reset(RollupId(1), BlockNumber(4))
    agreement.reset(RollupId(2), BlockNumber(6))
    assert not agreement.is_taken(key(1, 5))
    agreement.ready(key(1, 5), frozenset())
    assert agreement.is_taken(key(1, 5))
