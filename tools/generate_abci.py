"""Generates plait/engines/cometbft/abci_pb2.py and its stubs from abci.proto; grpcio-tools has the compiler.

python tools/generate_abci.py           writes both files
python tools/generate_abci.py --check   compares; exits with 1 when they differ
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from grpc_tools import protoc

REPOSITORY = Path(__file__).resolve().parent.parent
FOLDER = REPOSITORY / "plait" / "engines" / "cometbft"
NAMES = ("abci_pb2.py", "abci_pb2.pyi")


def generate() -> dict[str, bytes]:
    """The generated files by name.

    Raises:
        RuntimeError: the compiler refuses abci.proto.
    """
    with tempfile.TemporaryDirectory() as scratch:
        arguments = ["protoc", f"-I{FOLDER}", f"--python_out={scratch}", f"--pyi_out={scratch}", "abci.proto"]
        if protoc.main(arguments) != 0:
            raise RuntimeError("protoc refuses abci.proto")
        return {name: (Path(scratch) / name).read_bytes() for name in NAMES}


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description="Generate the ABCI messages from abci.proto.")
    parser.add_argument("--check", action="store_true", help="compare with what is checked in")
    arguments = parser.parse_args()
    code = 0
    for name, data in generate().items():
        path = FOLDER / name
        if not arguments.check:
            path.write_bytes(data)
        elif path.read_bytes() != data:
            print(f"{path.relative_to(REPOSITORY)} is not what abci.proto gives", file=sys.stderr)
            code = 1
    return code


if __name__ == "__main__":
    raise SystemExit(main())
