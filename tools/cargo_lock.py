"""Keeps Cargo's lock in the repository without the address of any registry.

Cargo.lock names the registry of every package; this repository names packages and versions only. The committed form,
`native/Cargo.lock.packages`, is Cargo.lock with each registry source replaced by the word `registry`; names, versions
and checksums stay, so the lock is as strict as Cargo's own.

    cargo_lock.py restore   writes native/Cargo.lock from the committed form (cargo itself is asked for the name)
    cargo_lock.py record    writes the committed form from native/Cargo.lock
"""

import subprocess
import sys
import tempfile
from pathlib import Path

NATIVE = Path(__file__).resolve().parent.parent / "native"
LOCK = NATIVE / "Cargo.lock"
RECORDED = NATIVE / "Cargo.lock.packages"
PLACEHOLDER = 'source = "registry"'


def source_line() -> str:
    """The line cargo writes for its default registry on this machine, read from a lock that cargo makes."""
    with tempfile.TemporaryDirectory() as folder:
        probe = Path(folder)
        (probe / "src").mkdir()
        (probe / "src" / "lib.rs").write_text("")
        (probe / "Cargo.toml").write_text(
            '[package]\nname = "probe"\nversion = "0.0.0"\nedition = "2021"\n'
            '[dependencies]\ncfg-if = "1"\n[workspace]\n'
        )
        subprocess.run(["cargo", "generate-lockfile", "--quiet"], cwd=probe, check=True)
        for line in (probe / "Cargo.lock").read_text().splitlines():
            if line.startswith("source = "):
                return line
    raise SystemExit("cargo wrote a lock without a source line; is its default registry configured?")


def restore() -> None:
    """Writes Cargo.lock unless it already holds the same packages."""
    recorded = RECORDED.read_text()
    if LOCK.exists() and recorded == _without_addresses(LOCK.read_text()):
        return
    LOCK.write_text(recorded.replace(PLACEHOLDER, source_line()))


def record() -> None:
    """Writes the committed form of Cargo.lock."""
    RECORDED.write_text(_without_addresses(LOCK.read_text()))


def _without_addresses(text: str) -> str:
    return (
        "\n".join(PLACEHOLDER if line.startswith('source = "registry+') else line for line in text.splitlines()) + "\n"
    )


if __name__ == "__main__":
    commands = {"restore": restore, "record": record}
    if len(sys.argv) != 2 or sys.argv[1] not in commands:
        raise SystemExit("usage: cargo_lock.py restore|record")
    commands[sys.argv[1]]()
