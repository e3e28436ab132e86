#!/usr/bin/env bash
# Runs every test of the repository; `make test` calls it after set-up. Rust first, then Python on all cores, then the networks of
# real processes by themselves: what they bound (how long a fault costs) should not depend on what computes beside them.
# Arguments are passed to pytest (for example: tools/test.sh -k merkle).
set -euo pipefail
cd "$(dirname "$0")/.."
workers="${PLAIT_TEST_WORKERS:-2}"

if [ $# -gt 0 ]; then
  exec .venv/bin/pytest -q -n "$workers" --dist loadfile --timeout 900 "$@"
fi
echo "== Rust core"
(cd native && cargo test --release --locked --quiet --workspace --exclude plait-py)
echo "== Python"
.venv/bin/pytest -q -n "$workers" --dist loadfile --timeout 900 --ignore=tests/e2e/network --ignore=tests/e2e/opstack
echo "== Networks of real processes"
.venv/bin/pytest -q -n "$workers" --dist loadfile --timeout 900 tests/e2e/network tests/e2e/opstack
