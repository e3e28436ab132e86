"""House style as a test: what no linter checks. Exits 1 with one line per finding.

- no file of code above 800 lines, no line of code in a generated or vendored place
- no registry's address and no path of a developer's machine in any committed file
- every module of the package opens with a docstring (its specification)
- documentation links point at files that exist
- no two files of tests have one name (pytest imports them by it)
"""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LINES_MAX = 800
CODE = {".py", ".rs", ".sol", ".mjs", ".js", ".ts", ".sh"}
# Split so that this file does not contain what it looks for.
FORBIDDEN = [
    re.compile(pattern)
    for pattern in (
        r"pypi"
        r"\.org|pythonhosted"
        r"\.org|registry\.npmjs"
        r"\.org|index\.crates"
        r"\.io|crates\.io"
        r"-index|proxy\.golang"
        r"\.org|repo1?\.maven",
        r"/(?:home|Users)/[a-z]|/wor" r"k/(?:main|shared|plan)",
    )
]
LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)#\s]+)(?:#[^)]*)?\)")


def tracked() -> list[Path]:
    """Files that git tracks and that exist."""
    out = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True).stdout
    return [ROOT / name for name in out.decode().split("\0") if name and (ROOT / name).is_file()]


def findings(path: Path) -> list[str]:
    """What is wrong with one file."""
    name = path.relative_to(ROOT)
    try:
        text = path.read_text()
    except UnicodeDecodeError:
        return []
    found: list[str] = []
    lines = text.splitlines()
    if path.suffix in CODE and len(lines) > LINES_MAX:
        found.append(f"{name}: {len(lines)} lines; split it by idea (at most {LINES_MAX})")
    for number, line in enumerate(lines, 1):
        if any(pattern.search(line) for pattern in FORBIDDEN):
            found.append(f"{name}:{number}: an address of a registry or a path of a machine")
    if (
        path.suffix == ".py"
        and name.parts[0] in {"plait", "sim", "bench"}
        and lines
        and not path.stem.endswith("_pb2")  # generated
        and not text.lstrip().startswith(('"""', 'r"""'))
    ):
        found.append(f"{name}: a module opens with its specification (docstring)")
    if path.suffix == ".md":
        missing = (target for target in LINK.findall(text) if not (path.parent / target).exists())
        found.extend(f"{name}: link to {target}, which does not exist" for target in missing)
    return found


def doubled(paths: list[Path]) -> list[str]:
    """Tests, and modules that tests import by name alone, that share a name: Python would give one for the other."""
    found: list[str] = []
    seen: dict[str, Path] = {}
    for path in paths:
        if "tests" in path.relative_to(ROOT).parts and path.suffix == ".py" and path.name != "conftest.py":
            other = seen.setdefault(path.name, path)
            if other != path:
                found.append(f"{path.relative_to(ROOT)}: has the name of {other.relative_to(ROOT)}")
    return found


def main() -> int:
    """Prints the findings; returns the exit code."""
    paths = tracked()
    found = [finding for path in paths for finding in findings(path)] + doubled(paths)
    for finding in found:
        print(finding)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
