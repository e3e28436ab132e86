#!/usr/bin/env bash
# Runs every test of the repository; `make test` calls it after set-up. Rust first, then Python by kind, quick ones first.
# Arguments are passed to pytest (for example: tools/test.sh -k merkle).
set -euo pipefail
cd "$(dirname "$0")/.."

if [ $# -eq 0 ]; then
  echo "== Rust core"
  (cd native && cargo test --release --locked --quiet --workspace --exclude plait-py)
fi
echo "== Python"
exec .venv/bin/pytest -q -n "${PLAIT_TEST_WORKERS:-2}" --dist loadfile --timeout 900 "$@"
