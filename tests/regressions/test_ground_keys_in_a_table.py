"""Keys that somebody chose by their hashes made one page of a table as long as he paid for, and every later change of
it cost each node that whole page. Now a change costs a few hundred rows at most, whoever chose the keys.
"""

from hashlib import sha256

from plait.ledger.hash_tree import BUCKET_ROWS_MAX, Node
from plait.ledger.stake_records import ACCOUNTS, Account
from plait.ledger.table import Table

ROWS = 5_000


def ground(accept: int) -> list[bytes]:
    """Neighbouring addresses whose hashes begin with a byte of `accept` or more."""
    found: list[bytes] = []
    number = 0
    while len(found) < ROWS:
        key = bytes([0x77]) * 16 + number.to_bytes(4, "big")
        number += 1
        if sha256(key).digest()[0] >= accept:
            found.append(key)
    return found


def nodes(node: Node | None) -> dict[int, Node]:
    found = {} if node is None else {id(node): node}
    for child in () if node is None else node.children:
        found |= nodes(child)
    return found


def test_a_change_among_ground_keys_touches_few_rows() -> None:
    for accept in (4, 240):
        keys = ground(accept)
        table = Table(ACCOUNTS, [(key, Account(1, 0)) for key in keys])
        after = table.with_changes(
            {keys[ROWS // 2]: Account(2, 0), bytes([0x77]) * 15 + bytes([0x78] * 5): Account(1, 0)}
        )
        fresh = {id(page) for page in after._pages} - {id(page) for page in table._pages}
        assert len(fresh) <= 4
        assert max(len(page.keys) for page in after._pages) <= 128
        before = nodes(table._tree)
        made = [node for at, node in nodes(after._tree).items() if at not in before]
        assert len(made) <= 2 * 8, "two paths from the root"
        assert all(len(node.rows) <= BUCKET_ROWS_MAX for node in made)
        assert after == Table(ACCOUNTS, after.items())
        assert after.root() == Table(ACCOUNTS, after.items()).root()
