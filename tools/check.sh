#!/usr/bin/env bash
# Format, lint, types, import contracts and documentation; `make check` calls it.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=.venv/bin

$bin/ruff format --check .
$bin/ruff check .
$bin/mypy
$bin/lint-imports
$bin/python tools/tidy.py
(cd native && cargo fmt --check && cargo clippy --release --locked --quiet --workspace --all-targets -- -D warnings)
