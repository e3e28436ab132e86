"""How the demonstration speaks: sentences of at most WIDTH columns, small tables, amounts as traders write them."""

import textwrap
from collections.abc import Sequence

WIDTH = 100
UNIT = 10**18


class DemoFailure(Exception):
    """Something does not hold; the message says what."""


def require(holds: bool, sentence: str) -> None:
    """Raises DemoFailure with the sentence when it does not hold."""
    if not holds:
        raise DemoFailure(sentence)


def title(text: str) -> None:
    """Prints the head of a part."""
    print(f"\n{text}\n{'-' * len(text)}")


def say(text: str) -> None:
    """Prints a paragraph."""
    print(textwrap.fill(" ".join(text.split()), WIDTH, break_on_hyphens=False))


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Prints columns: the first one to the left, numbers and everything else to the right."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    for row in (head, *rows):
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        print(("  " + "   ".join(cells)).rstrip())


def amount(value: int, digits: int = 2) -> str:
    """Smallest units of a token of 18 decimals as a number, rounded towards zero: 20263.1 -> 20,263.10."""
    whole, rest = divmod(abs(value), UNIT)
    sign = "-" if value < 0 else ""
    return f"{sign}{whole:,}" + (f".{rest // 10 ** (18 - digits):0{digits}d}" if digits else "")


def ether(value: int) -> str:
    """Wei as ether with what gas costs still visible."""
    return amount(value, 8)
