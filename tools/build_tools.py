"""Provides the foreign programs that Plait runs beside: OP Stack programs and CometBFT (Go), anvil and cast (npm).

Specification
    op-geth   built once per version into $PLAIT_CACHE/op-geth-<version>/geth. Its module calls itself
              github.com/ethereum/go-ethereum, so a wrapper module with a `replace` is written beside the result and
              built. The module's checksum is pinned below; a proxy that serves other bytes fails the build.
    op-node, op-batcher
              the same way from the OP Stack's monorepo, with the op-geth that this release of it is linked with.
    foundry   `npm ci` in tests/e2e/clients (versions and integrity hashes pinned by its package-lock.json); the
    programs are
              the native binaries inside the platform packages, run directly so that a process id is the program's own.
Every step is atomic (build aside, rename) and keyed by version: an interrupted or concurrent run leaves no half result.

    python tools/build_tools.py op-geth     prints the path of geth, building it when it is missing
    python tools/build_tools.py op-node     the same for op-node, which derives a rollup's blocks from L1 alone
    python tools/build_tools.py op-batcher  the same for op-batcher, which Plait's batches are measured against
    python tools/build_tools.py foundry     prints the paths of anvil and cast
    python tools/build_tools.py cometbft    the same for CometBFT, the engine of a network
    python tools/build_tools.py comet-oracle
                                            prints the path of the program that answers with CometBFT's own code
    python tools/build_tools.py opstack-oracle
                                            the same with op-node's own code
    python tools/build_tools.py clients     installs the packages of the client tests and prints their directory
    python tools/build_tools.py contracts   the same for the contract compiler
    python tools/build_tools.py all         all of them; outside CI a missing toolchain is said and passed over
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
CLIENTS = REPOSITORY / "tests" / "e2e" / "clients"
CONTRACTS = REPOSITORY / "contracts"
COMET_ORACLE = REPOSITORY / "tests" / "peers" / "comet"
OPSTACK_ORACLE = REPOSITORY / "tests" / "peers" / "opstack"

OP_GETH_VERSION = "v1.101702.3"
OP_GETH_MODULE = "github.com/ethereum-optimism/op-geth"
GETH_MODULE = "github.com/ethereum/go-ethereum"
# The geth release that this op-geth declares; only its name matters, the replace supplies the code.
GETH_VERSION = "v1.17.2"
GO_VERSION = "1.24.0"
# go.sum line of the module above: `h1:` is the hash of its file tree (golang.org/ref/mod, section go.sum).
OP_GETH_CHECKSUM = "h1:IIcYQxDh2Qo1j0hjogiE7pMInt60yKXPHgRA/gpG2fM="
OPTIMISM_VERSION = "v1.16.11"
OPTIMISM_MODULE = "github.com/ethereum-optimism/optimism"
OPTIMISM_CHECKSUM = "h1:FCuIlh0qsss0rWdgVufrTtgFcjvTKuRyPxV0MDRHwZ4="
# op-node v1.16.11 does not compile with the op-geth above; the two processes fit together all the same.
OPTIMISM_GETH_VERSION = "v1.101701.0"
OPTIMISM_GETH_CHECKSUM = "h1:wr2vsitEzZN6mUmAVruEPmznGuD+hiZn3ge1qLrWzeo="
# Versions of a module that an indirect dependency names and that no longer exist as they were published.
OPTIMISM_EXCLUDED = {"github.com/kataras/iris/v12": ("v12.2.0-beta5", "v12.2.0", "v12.2.11")}
BUILD_SECONDS_MAX = 1800
COMET_VERSION = "v0.38.25"
COMET_MODULE = "github.com/cometbft/cometbft"
COMET_GO_VERSION = "1.22.11"
COMET_CHECKSUM = "h1:jtGSyssudmkjED2fk9wFGfd/fNyPKvLIinW62ELxZH4="


class ToolMissingError(RuntimeError):
    """A program that a build needs (Go, npm) is not installed, or a build failed; the message says which."""


def cache_directory() -> Path:
    """Directory of built tools: $PLAIT_CACHE, or ~/.cache/plait."""
    return Path(os.environ.get("PLAIT_CACHE") or Path.home() / ".cache" / "plait")


def op_geth_path() -> Path:
    """Where the built op-geth of the pinned version is, or will be."""
    return cache_directory() / f"op-geth-{OP_GETH_VERSION}" / "geth"


@contextmanager
def exclusive(directory: Path) -> Iterator[None]:
    """Holds a lock file beside `directory`, so that two builders take turns instead of both working."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    with open(directory.parent / f".{directory.name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def run(command: list[str], cwd: Path, environment: dict[str, str] | None = None) -> None:
    """Runs a build step with its output on our stderr.

    Raises:
        ToolMissingError: the program is not installed, failed, or took longer than BUILD_SECONDS_MAX.
    """
    if shutil.which(command[0]) is None:
        raise ToolMissingError(f"{command[0]} is not installed")
    try:
        subprocess.run(
            command,
            cwd=cwd,
            env={**os.environ, **(environment or {})},
            stdout=sys.stderr,
            check=True,
            timeout=BUILD_SECONDS_MAX,
        )
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        raise ToolMissingError(f"`{' '.join(command)}` failed: {error}") from error


def build_op_geth() -> Path:
    """Builds op-geth when the cache has none of the pinned version.

    Returns:
        The path of the executable.

    Raises:
        ToolMissingError: Go is missing, the build failed, or the module's checksum is not the pinned one.
    """
    return _build_program(
        op_geth_path(),
        f"{GETH_MODULE}/cmd/geth",
        f"go {GO_VERSION}\n\nrequire {GETH_MODULE} {GETH_VERSION}\n\n"
        f"replace {GETH_MODULE} => {OP_GETH_MODULE} {OP_GETH_VERSION}\n",
        f"{OP_GETH_MODULE} {OP_GETH_VERSION} {OP_GETH_CHECKSUM}\n",
        cgo=True,
    )


def op_stack_path(name: str) -> Path:
    """Where a built program of the OP Stack's monorepo is, or will be.

    Args:
        name: "op-node" or "op-batcher".
    """
    return cache_directory() / f"{name}-{OPTIMISM_VERSION}" / name


def build_op_stack(name: str) -> Path:
    """Builds a program of the OP Stack's monorepo, unmodified, when the cache has none of the pinned version.

    Args:
        name: "op-node" or "op-batcher".

    Returns:
        The path of the executable.

    Raises:
        ToolMissingError: Go is missing, the build failed, or a module's checksum is not the pinned one.
    """
    excluded = "".join(
        f"exclude {module} {version}\n" for module, versions in OPTIMISM_EXCLUDED.items() for version in versions
    )
    return _build_program(
        op_stack_path(name),
        f"{OPTIMISM_MODULE}/{name}/cmd",
        f"go {GO_VERSION}\n\nrequire {OPTIMISM_MODULE} {OPTIMISM_VERSION}\n\n"
        f"replace {GETH_MODULE} => {OP_GETH_MODULE} {OPTIMISM_GETH_VERSION}\n\n{excluded}",
        f"{OPTIMISM_MODULE} {OPTIMISM_VERSION} {OPTIMISM_CHECKSUM}\n"
        f"{OP_GETH_MODULE} {OPTIMISM_GETH_VERSION} {OPTIMISM_GETH_CHECKSUM}\n",
        cgo=True,
    )


def _build_program(target: Path, package: str, requirements: str, checksums: str, *, cgo: bool) -> Path:
    """Builds a program of a published Go module when the cache has none of the pinned version.

    Args:
        target: the executable, in a folder of its own that names the version.
        package: of the program.
        requirements: the rest of a go.mod after its module line.
        checksums: the go.sum that the module must match.
        cgo: whether it is linked with C.
    """
    name = target.name
    with exclusive(target.parent):
        if target.exists():
            return target
        with tempfile.TemporaryDirectory(dir=cache_directory(), prefix=f".{name}-") as scratch:
            work = Path(scratch)
            (work / "go.mod").write_text(f"module plait.build/{name}\n\n{requirements}")
            (work / "go.sum").write_text(checksums)
            run(
                ["go", "build", "-mod=mod", "-trimpath", "-o", name, package],
                work,
                {
                    "GOTOOLCHAIN": os.environ.get("GOTOOLCHAIN", "local"),
                    "CGO_ENABLED": str(int(cgo)),
                    "GOFLAGS": "",
                },
            )
            target.parent.mkdir(parents=True, exist_ok=True)
            for file in ("go.mod", "go.sum", name):  # the executable last: its presence says that all is there
                os.replace(work / file, target.parent / file)
    return target


def build_comet_oracle() -> Path:
    """Builds the program that answers with CometBFT's own code, once per state of its sources.

    Returns:
        The path of the executable.

    Raises:
        ToolMissingError: Go is missing or the build failed (go.sum pins every module's checksum).
    """
    return _build_oracle(COMET_ORACLE, "comet-oracle")


def build_opstack_oracle() -> Path:
    """The same for the program that answers with op-node's own code."""
    return _build_oracle(OPSTACK_ORACLE, "opstack-oracle")


def _build_oracle(folder: Path, name: str) -> Path:
    """Builds a Go program of ours that links a foreign module, when the cache has none of its sources' state."""
    sources = sorted((*folder.glob("*.go"), folder / "go.mod", folder / "go.sum"))
    digest = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:16]
    target = cache_directory() / f"{name}-{digest}" / "oracle"
    with exclusive(target.parent):
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            aside = target.with_name("oracle.new")
            toolchain = {"GOTOOLCHAIN": os.environ.get("GOTOOLCHAIN", "local"), "GOFLAGS": ""}
            run(
                ["go", "build", "-mod=readonly", "-buildvcs=false", "-trimpath", "-o", str(aside), "."],
                folder,
                toolchain,
            )
            os.replace(aside, target)
    return target


def cometbft_path() -> Path:
    """Where the built CometBFT of the pinned version is, or will be."""
    return cache_directory() / f"cometbft-{COMET_VERSION}" / "cometbft"


def build_cometbft() -> Path:
    """Builds CometBFT, unmodified, when the cache has none of the pinned version.

    Returns:
        The path of the executable.

    Raises:
        ToolMissingError: Go is missing, the build failed, or the module's checksum is not the pinned one.
    """
    return _build_program(
        cometbft_path(),
        f"{COMET_MODULE}/cmd/cometbft",
        f"go {COMET_GO_VERSION}\n\nrequire {COMET_MODULE} {COMET_VERSION}\n",
        f"{COMET_MODULE} {COMET_VERSION} {COMET_CHECKSUM}\n",
        cgo=False,
    )


def install_packages(folder: Path) -> Path:
    """Installs the npm packages of `folder` when its lock file changed since the last time.

    Args:
        folder: holds package.json and package-lock.json.

    Returns:
        `folder`, whose node_modules is complete.

    Raises:
        ToolMissingError: npm is missing or the installation failed.
    """
    lock = folder / "package-lock.json"
    stamp = folder / "node_modules" / ".plait-installed"
    with exclusive(cache_directory() / f"npm-{folder.name}"):
        if not stamp.exists() or stamp.read_bytes() != lock.read_bytes():
            run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"], folder)
            stamp.write_bytes(lock.read_bytes())
    return folder


def foundry_path(name: str) -> Path:
    """Path of a Foundry program inside its npm platform package.

    Args:
        name: "anvil" or "cast".

    Raises:
        ToolMissingError: npm failed, or there is no package for this platform.
    """
    machine = {"x86_64": "amd64", "AMD64": "amd64", "aarch64": "arm64", "arm64": "arm64"}.get(platform.machine(), "")
    package = f"{name}-{platform.system().lower()}-{machine}"
    found = install_packages(CLIENTS) / "node_modules" / "@foundry-rs" / package / "bin" / name
    if not found.exists():
        raise ToolMissingError(f"npm installed no {package}")
    return found


def build_all() -> int:
    """Everything that the tests use. A missing toolchain is an error in CI; elsewhere the tests that need it skip.

    Returns:
        Exit code.
    """
    code = 0
    for build in (
        build_op_geth,
        lambda: build_op_stack("op-node"),
        lambda: build_op_stack("op-batcher"),
        build_cometbft,
        build_comet_oracle,
        build_opstack_oracle,
        lambda: install_packages(CLIENTS),
        lambda: install_packages(CONTRACTS),
    ):
        try:
            print(build())
        except ToolMissingError as error:
            print(f"build_tools: {error}; the tests that need it are skipped", file=sys.stderr)
            code = 1 if os.environ.get("CI") == "true" else code
    return code


def main() -> int:
    """Command line: builds what is named and prints its path."""
    parser = argparse.ArgumentParser(description="Build or install the programs that tests compare Plait with.")
    parser.add_argument(
        "tool",
        choices=[
            "op-geth",
            "op-node",
            "op-batcher",
            "cometbft",
            "comet-oracle",
            "opstack-oracle",
            "foundry",
            "clients",
            "contracts",
            "all",
        ],
    )
    arguments = parser.parse_args()
    try:
        match arguments.tool:
            case "op-geth":
                print(build_op_geth())
            case "op-node" | "op-batcher":
                print(build_op_stack(arguments.tool))
            case "cometbft":
                print(build_cometbft())
            case "comet-oracle":
                print(build_comet_oracle())
            case "opstack-oracle":
                print(build_opstack_oracle())
            case "foundry":
                print(foundry_path("anvil"))
                print(foundry_path("cast"))
            case "clients":
                print(install_packages(CLIENTS))
            case "contracts":
                print(install_packages(CONTRACTS))
            case "all":
                return build_all()
    except ToolMissingError as error:
        print(f"build_tools: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
