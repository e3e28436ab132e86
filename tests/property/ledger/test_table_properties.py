"""A table is a sorted map whose root depends on its content alone."""

from hypothesis import given
from hypothesis import strategies as st

from plait.codec.rlp import Reader, encode_list, encode_uint
from plait.crypto.merkle import root as plain_root
from plait.ledger.table import Table, TableKind, decode_table


def _decode(reader: Reader) -> int:
    value = reader.read_uint()
    reader.end()
    return value


NUMBERS = TableKind[int]("numbers", 2, lambda value: encode_list((encode_uint(value),)), _decode)
KEYS = st.integers(0, 600).map(lambda number: number.to_bytes(2, "big"))
CHANGES = st.dictionaries(KEYS, st.one_of(st.none(), st.integers(0, 5)), max_size=40)


@given(st.lists(CHANGES, max_size=12), st.binary(max_size=2))
def test_a_table_after_any_changes_equals_one_made_at_once(
    rounds: list[dict[bytes, int | None]], prefix: bytes
) -> None:
    table, model = Table(NUMBERS), dict[bytes, int]()
    for changes in rounds:
        before, kept = list(table.items()), table
        table = table.with_changes(changes)
        assert list(kept.items()) == before, "a table changed under its reader"
        for key, value in changes.items():
            model.pop(key, None)
            if value is not None:
                model[key] = value
        assert list(table.items()) == sorted(model.items())
        assert len(table) == len(model)
        fresh = Table(NUMBERS, sorted(model.items(), reverse=True))
        assert table == fresh
        assert table.root() == fresh.root()
    assert all(table.get(key) == model.get(key) for key in (n.to_bytes(2, "big") for n in range(602)))
    assert list(table.items(prefix)) == [row for row in sorted(model.items()) if row[0].startswith(prefix)]
    again = decode_table(NUMBERS, Reader(encode_list(table.leaves())).read_list("table"))
    assert again == table
    assert again.root() == table.root()


@given(st.dictionaries(KEYS, st.integers(0, 5), max_size=300), KEYS, st.integers(0, 5))
def test_every_record_counts_for_the_root(rows: dict[bytes, int], key: bytes, value: int) -> None:
    table = Table(NUMBERS, rows.items())
    other = table.with_changes({key: value})
    assert (other.root() == table.root()) == (rows.get(key) == value)
    if len(rows) < 2:
        assert table.root() == plain_root(list(table.leaves()))
