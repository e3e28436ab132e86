"""The documents say what the code does: docs/errors.md lists every error code and no other, the guide every method."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from plait.mempool.refusals import REASONS
from plait.rpc.openrpc import reference

ROOT = Path(__file__).resolve().parents[3]
ERRORS = (ROOT / "docs/errors.md").read_text()
CODE = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)+\Z")
WRITERS = {"refusal", "sentence", "_evict", "_refused", "_refuse", "refused", "_fail"}
WRITERS |= {"Mishap", "Failure", "MessageFailure", "MessageRefusal", "_conflict"}
"""Functions whose string argument is a code."""
NATIVE = re.compile(
    r"(?:Error::new\(|Error::with_data\(|Refusal::new\(|[Ff]ailure ?[({] ?(?:code: )?|=> \(?|^\s*\()"
    r'\s*"([a-z]+(?:_[a-z0-9]+)+)",',
    re.MULTILINE,
)


def codes_of_python(path: Path) -> Iterator[str]:
    """Codes that a module gives: as `code`, as `default_code`, in a dictionary under "code", or to a WRITER."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            yield from (k.value.value for k in node.keywords if k.arg == "code" and isinstance(k.value, ast.Constant))
            if name in WRITERS:
                yield from (a.value for a in node.args if isinstance(a, ast.Constant) and is_code(a.value))
        elif isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if isinstance(key, ast.Constant) and key.value == "code" and isinstance(value, ast.Constant):
                    yield value.value
        elif isinstance(node, ast.AnnAssign | ast.Assign):
            targets = [node.target] if isinstance(node, ast.AnnAssign) else node.targets
            if any(getattr(t, "id", "") == "default_code" for t in targets) and isinstance(node.value, ast.Constant):
                yield node.value.value


def is_code(value: object) -> bool:
    return isinstance(value, str) and CODE.match(value) is not None


def codes_of_native() -> set[str]:
    found: set[str] = set()
    for path in (ROOT / "native/crates").rglob("*.rs"):
        if "tests" not in path.parts:
            found |= set(NATIVE.findall(path.read_text()))
            if path.name == "codes.rs":
                found |= set(re.findall(r'"([a-z]+(?:_[a-z0-9]+)+|reverted|halted)"', path.read_text()))
    return found


def codes_in_use() -> set[str]:
    python = {
        code
        for path in (ROOT / "plait").rglob("*.py")
        for code in codes_of_python(path)
        if isinstance(code, str) and "_" in code
    }
    return python | set(REASONS) | codes_of_native()


def documented() -> dict[str, str]:
    return dict(re.findall(r"^\| `([a-z0-9_]+)` \|(.*)\|$", ERRORS, re.MULTILINE))


def test_every_code_is_documented_with_a_sentence() -> None:
    missing = sorted(codes_in_use() - documented().keys())
    assert missing == [], f"add them to docs/errors.md: {missing}"
    assert all(text.strip(" |") for text in documented().values())


def test_every_documented_code_is_in_use() -> None:
    sources = "".join(path.read_text() for path in (ROOT / "plait").rglob("*.py"))
    sources += "".join(path.read_text() for path in (ROOT / "native/crates").rglob("*.rs"))
    stale = sorted(code for code in documented() if f'"{code}"' not in sources)
    assert stale == [], f"remove them from docs/errors.md: {stale}"


@pytest.mark.parametrize("code", sorted(REASONS))
def test_the_pools_texts_are_the_documents(code: str) -> None:
    reason = REASONS[code]
    assert reason.phrase in documented()[code]
    assert reason.advice in documented()[code]


def test_the_guides_table_is_generated_from_the_method_table() -> None:
    guide = (ROOT / "docs/guides/rpc.md").read_text()
    written = guide.split("<!-- methods -->\n")[1].split("<!-- /methods -->")[0]
    assert written == reference(), "run `python -m plait.rpc.openrpc` and put its output between the markers"
