"""docs/interop.md lists every refusal of the validity rules with its number, and no other."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from plait.interop import validity
from plait.interop.validity import RpcCode

ROOT = Path(__file__).resolve().parents[3]


def test_the_rules_page_lists_every_refusal() -> None:
    """Codes and numbers of the tables are those that plait/interop/validity.py gives."""
    table = dict(re.findall(r"\| `([a-z_]+)` \| (-\d+) \|$", (ROOT / "docs/interop.md").read_text(), re.MULTILINE))
    given: dict[str, int] = {code: number for code, number, _ in validity._ABSENCES.values()}
    for node in ast.walk(ast.parse(Path(validity.__file__).read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args:
            first = node.args[0]
            if node.func.id == "_conflict" and isinstance(first, ast.Constant):
                given[first.value] = RpcCode.CONFLICT
            elif node.func.id == "MessageRefusal" and isinstance(first, ast.Constant):
                number = node.args[1]
                assert isinstance(number, ast.Attribute)
                given[first.value] = RpcCode[number.attr]
    assert len(given) == 14
    assert {code: int(number) for code, number in table.items()} == given
