# Plait: every task of this repository. `make help` lists them.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PLAIT_CACHE ?= $(HOME)/.cache/plait
export PLAIT_CACHE
export CARGO_TARGET_DIR ?= $(PLAIT_CACHE)/native-target
BIN := .venv/bin
UV_VERSION := 0.13.9

.PHONY: help setup native demo devnet test test-fast bench check format clean

help:  ## List the targets
	@grep -hE '^[a-z][a-z-]*:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/|/' | awk -F'|' '{printf "  make %-12s %s\n", $$1, $$2}'

.venv/.ready: requirements/dev.lock tools/bootstrap.sh
	tools/bootstrap.sh $(UV_VERSION)
	@touch $@

NATIVE_SOURCES := $(shell find native -name '*.rs' -o -name Cargo.toml -o -name Cargo.lock.packages 2>/dev/null | grep -v /target/)
.venv/.native: .venv/.ready $(NATIVE_SOURCES)
	$(BIN)/python tools/cargo_lock.py restore
	$(BIN)/maturin develop --release --locked --uv --quiet
	@touch $@

native: .venv/.native  ## Compile the native core into the environment

setup: .venv/.native  ## Environment and native core (what every other target needs)

demo: setup  ## Two rollups: their traffic, then trades over both and their failing twins, with an account of it
	$(BIN)/python -m examples.demo.demo

devnet: setup  ## The same network, kept running until Ctrl-C; continues where it was when started again
	$(BIN)/plait devnet $(ARGS)

.PHONY: testnet
testnet: setup  ## Four validators with a real CometBFT each, until Ctrl-C (needs Go once); ARGS="--validators 7"
	$(BIN)/python tools/build_tools.py cometbft >/dev/null
	$(BIN)/plait testnet $(ARGS)

.PHONY: opstack
opstack: setup  ## An L1, two real OP Stack rollups and their verifiers, until Ctrl-C (needs Go and Node.js once)
	$(BIN)/plait opstack up $(ARGS)

.PHONY: peers
peers: setup  ## Programs the full tests compare with: op-geth, op-node (need Go), client libraries and anvil (need Node.js)
	$(BIN)/python tools/build_tools.py all

test: setup peers  ## Every test: Rust, Python, real clients, op-geth, crashes, simulated seeds
	tools/test.sh

test-fast: setup  ## The tests without processes, peers and long simulations (a few minutes)
	$(BIN)/pytest -q -n 2 tests/unit tests/property

bench: setup peers  ## Measure speed and memory as ratios in one run; writes bench/out/*.json
	$(BIN)/python -m bench $(ARGS)

check: setup  ## Format, lint, types, import contracts, docs
	tools/check.sh

format: setup  ## Rewrite sources in the house format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix-only -q .
	cd native && cargo fmt

clean:  ## Remove the environment and build products of this checkout (the cache stays)
	rm -rf .venv native/target plait/native/_core*.so
