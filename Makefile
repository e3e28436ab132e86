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
