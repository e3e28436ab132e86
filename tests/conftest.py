"""What holds for every test: no property is judged by the time that an example takes, and recursion ends where it does
for a node.

`py_ecc`, which client libraries load, lets Python recurse 100,000 levels deep in the whole process; hostile JSON
then overflows the stack of C before Python notices. A node does not load it.
"""

import sys

import pytest
from hypothesis import settings

settings.register_profile("plait", deadline=None, print_blob=True)
settings.load_profile("plait")

RECURSION_LIMIT = 3_000


@pytest.fixture(autouse=True)
def _recursion_ends() -> None:
    if sys.getrecursionlimit() > RECURSION_LIMIT:
        sys.setrecursionlimit(RECURSION_LIMIT)
