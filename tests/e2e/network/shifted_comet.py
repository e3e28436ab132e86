"""CometBFT with a clock that can be wrong: the pinned sources, but its one function that reads the time adds the
milliseconds of PLAIT_TEST_CLOCK_OFFSET_MS. Go programs do not read the clock through libc, so that nothing outside of
the program could do this. Built into the cache from a changed copy, for tests only.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[3] / "tools"))

from build_tools import COMET_MODULE, COMET_VERSION, build_cometbft, cache_directory, exclusive, run

_READS = "Canonical(time.Now())"
_SHIFTED = "Canonical(time.Now().Add(plaitOffset))"
_OFFSET = """
var plaitOffset = func() time.Duration {
	offset, _ := time.ParseDuration(os.Getenv("PLAIT_TEST_CLOCK_OFFSET_MS") + "ms")
	return offset
}()
"""


def _writable(source: str, target: str) -> None:
    shutil.copyfile(source, target)  # the module cache is read-only, and so would copies of its files be


def shifted_cometbft() -> Path:
    """The program's path; built when the cache has none. Raises ToolMissingError."""
    plain = build_cometbft()
    target = cache_directory() / f"cometbft-{COMET_VERSION}-shifted" / "cometbft"
    with exclusive(target.parent):
        if target.exists():
            return target
        with tempfile.TemporaryDirectory(dir=cache_directory(), prefix=".shifted-") as scratch:
            work = Path(scratch)
            for name in ("go.mod", "go.sum"):
                (work / name).write_bytes((plain.parent / name).read_bytes())
            module = subprocess.run(
                ["go", "list", "-mod=mod", "-m", "-f", "{{.Dir}}", COMET_MODULE],
                cwd=work, check=True, capture_output=True, text=True, env={**os.environ, "GOFLAGS": ""},
            ).stdout.strip()  # fmt: skip
            shutil.copytree(
                module, work / "source", copy_function=_writable, ignore=shutil.ignore_patterns("docs", "spec")
            )
            file = work / "source" / "types" / "time" / "time.go"
            text = file.read_text()
            assert text.count(_READS) == 1, "CometBFT reads its clock elsewhere now"
            file.write_text(text.replace(_READS, _SHIFTED).replace("import (\n", 'import (\n\t"os"\n') + _OFFSET)
            with (work / "go.mod").open("a") as written:
                written.write(f"\nreplace {COMET_MODULE} => ./source\n")
            run(
                ["go", "build", "-mod=mod", "-trimpath", "-o", "cometbft", f"{COMET_MODULE}/cmd/cometbft"],
                work,
                {"GOTOOLCHAIN": os.environ.get("GOTOOLCHAIN", "local"), "CGO_ENABLED": "0", "GOFLAGS": ""},
            )
            target.parent.mkdir(parents=True, exist_ok=True)
            (work / "cometbft").replace(target)
    return target
