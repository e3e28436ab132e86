"""Finds the CometBFT program and makes sure that it is the version this Plait was written for.

Looked for in this order: $PLAIT_COMETBFT, $PLAIT_CACHE (default ~/.cache/plait)/cometbft-v<version>/cometbft, and
`cometbft` on the PATH. `python tools/build_tools.py cometbft` builds it into the cache. Level 5.
"""

import os
import shutil
import subprocess
from pathlib import Path

from plait.errors import ConfigurationError

COMET_VERSION = "0.38.25"


def find_cometbft() -> Path:
    """The program's path.

    Raises:
        ConfigurationError: `cometbft_missing` when there is none, `cometbft_version` when it is not of the 0.38 line
            or older than COMET_VERSION.
    """
    named = os.environ.get("PLAIT_COMETBFT")
    if named:
        if not os.access(named, os.X_OK):
            raise ConfigurationError(
                f"PLAIT_COMETBFT names {named}, which is not a program.", code="cometbft_missing", path=named
            )
        return _checked(Path(named))
    cache = Path(os.environ.get("PLAIT_CACHE") or Path.home() / ".cache" / "plait")
    cached = cache / f"cometbft-v{COMET_VERSION}" / "cometbft"
    if os.access(cached, os.X_OK):
        return _checked(cached)
    found = shutil.which("cometbft")
    if found is None:
        raise ConfigurationError(
            f"CometBFT {COMET_VERSION} is not installed. With Go 1.22 or newer, "
            f"`go install github.com/cometbft/cometbft/cmd/cometbft@v{COMET_VERSION}` installs it; "
            "or name the program with PLAIT_COMETBFT.",
            code="cometbft_missing",
        )
    return _checked(Path(found))


def version_of(program: Path) -> str:
    """What the program says of itself, without build suffix. Raises ConfigurationError (`cometbft_missing`)."""
    try:
        answer = subprocess.run(  # noqa: S603 - the operator's own program
            [program, "version"], capture_output=True, text=True, timeout=30, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise ConfigurationError(
            f"{program} does not tell its version: {error}", code="cometbft_missing", path=str(program)
        ) from error
    return answer.stdout.strip().split("+")[0]


def _checked(program: Path) -> Path:
    version = version_of(program)
    if not _is_usable(version):
        raise ConfigurationError(
            f"{program} is CometBFT {version or 'of an unknown version'}; {COMET_VERSION} or a later one of the same "
            "line is needed.",
            code="cometbft_version",
            path=str(program),
            version=version,
        )
    return program


def _is_usable(version: str) -> bool:
    wanted = [int(part) for part in COMET_VERSION.split(".")]
    try:
        found = [int(part) for part in version.split(".")]
    except ValueError:
        return False
    return found[:2] == wanted[:2] and found[2:] >= wanted[2:]


__all__ = ["COMET_VERSION", "find_cometbft", "version_of"]
