"""How deeply JSON is nested, found without recursion.

A decoder that recurses is stopped by Python's recursion limit, which belongs to the whole process: libraries lift it
(py_ecc to 100,000), and then hostile JSON overflows the stack of C before Python notices (Python 3.11). So what comes
from elsewhere into processes that are not ours is measured first. One pass, no state per level. Level 0.
"""

import re
from array import array
from itertools import accumulate
from typing import Final

_SIGNS: Final = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")
_OTHERS: Final = bytes(sorted(set(range(256)) - set(b'[{]}"')))
_STRING: Final = re.compile(rb'"[^"]*"?')


def json_depth(data: bytes) -> int:
    """Levels of arrays and objects within each other.

    Args:
        data: JSON; of anything else the answer is some number that is not below the levels a decoder would enter.
    """
    if b"\\" in data:
        data = data.replace(b"\\\\", b"").replace(b'\\"', b"")  # what is left of quotes begins or ends a string
    # two quotes in a row go: in a string or not, what comes after them is what it was
    signs = data.translate(_SIGNS, _OTHERS).replace(b'""', b"")
    if b'"' in signs:
        signs = _STRING.sub(b"", signs)
    return max(accumulate(array("b", signs), initial=0))


def is_deeper(data: bytes, levels: int) -> bool:
    """Whether JSON has more levels; most answers are seen not to without looking at their strings."""
    if data.count(b"[") + data.count(b"{") <= levels:
        return False
    return json_depth(data) > levels


__all__ = ["is_deeper", "json_depth"]
