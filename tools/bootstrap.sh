#!/usr/bin/env bash
# Makes .venv and installs the locked packages into it; nothing global is touched.
# Usage: tools/bootstrap.sh UV_VERSION
set -euo pipefail
cd "$(dirname "$0")/.."
uv_version=$1

for candidate in python3.13 python3.12 python3.11 python3; do
  if command -v "$candidate" >/dev/null && "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    python=$candidate
    break
  fi
done
if [ -z "${python:-}" ]; then
  echo "plait: Python 3.11 or newer is needed and none was found on PATH." >&2
  exit 1
fi
if ! command -v cargo >/dev/null; then
  echo "plait: a Rust toolchain (cargo, 1.94 or newer) is needed to compile the native core and none was found on PATH." >&2
  exit 1
fi

if [ ! -x .venv/bin/python ]; then
  echo "plait: making .venv with $($python --version)"
  "$python" -m venv .venv
fi
if ! .venv/bin/uv --version 2>/dev/null | grep -q " $uv_version"; then
  .venv/bin/python -m pip install --quiet --disable-pip-version-check "uv==$uv_version"
fi
echo "plait: installing the locked packages"
.venv/bin/uv pip install --quiet --python .venv/bin/python --require-hashes -r requirements/dev.lock
