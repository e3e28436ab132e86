#!/usr/bin/env bash
# Runs every test of the repository; `make test` calls it after set-up. Rust first, then Python on all cores, then the networks of
# real processes by themselves: what they bound (how long a fault costs) should not depend on what computes beside them.
# A test process that crashes ends the run with the stacks of its threads and the failures so far; so does a phase that takes longer
# than PLAIT_TEST_PHASE_S, three times what the longest one takes on two cores.
# Arguments are passed to pytest (for example: tools/test.sh -k merkle).
set -euo pipefail
cd "$(dirname "$0")/.."
workers="${PLAIT_TEST_WORKERS:-2}"
phase_s="${PLAIT_TEST_PHASE_S:-4500}"

python_tests() {
  PYTHONPATH="tools${PYTHONPATH:+:$PYTHONPATH}" timeout --foreground --kill-after=60 "$phase_s" .venv/bin/pytest -q -n "$workers" \
    --dist loadfile --timeout 900 --max-worker-restart 0 -p worker_watch "$@"
}

if [ $# -gt 0 ]; then
  python_tests "$@"
  exit
fi
echo "== Rust core"
(cd native && cargo test --release --locked --quiet --workspace --exclude plait-py)
echo "== Python"
python_tests --ignore=tests/e2e/network --ignore=tests/e2e/opstack
echo "== Networks of real processes"
python_tests tests/e2e/network tests/e2e/opstack
