# make setup    .venv with the headrace command         make lint     ruff, mypy --strict, pyright
# make demo     files to tables in a minute             make bench    the table of benchmarks/README.md (long)
# make test     everything that must hold (15 min)      make soak     the long trials of docs/guarantees.md (an hour or more)
# make account  the trial in a real AWS account, which docs/aws/proven.md tells of: it costs money, and asks for an account
.DEFAULT_GOAL := help
.PHONY: help setup dev demo test lint bench soak account lock clean tools ministack checks

BIN := .venv/bin
CORE := .venv/.core-installed
DEV := .venv/.dev-installed
MINISTACK := .ministack/.installed
CHECKS := .checks/.installed

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

$(CORE): constraints.txt pyproject.toml tools/setup
	@tools/setup core
	@touch $@

$(DEV): $(CORE) constraints-dev.txt
	@tools/setup dev
	@touch $@

$(MINISTACK): constraints-ministack.txt
	@tools/setup ministack
	@touch $@

$(CHECKS): constraints-checks.txt
	@tools/setup checks
	@touch $@

ministack: $(MINISTACK)

checks: $(CHECKS)

# What tests use beside .venv. Without a Python 3.12 they go on without the emulator, and say so; not where HEADRACE_CI is set.
tools: checks
	@$(MAKE) --no-print-directory ministack || [ -z "$$HEADRACE_CI" ]

setup: $(CORE)

dev: $(DEV)

demo: $(CORE)
	@$(BIN)/headrace demo
	@echo "(\`. .venv/bin/activate\` puts headrace on your path)"

test: $(DEV) tools
	$(BIN)/python -m pytest -n 3 --dist worksteal -m "not soak" $(ARGS)

lint: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pyright --pythonpath $(BIN)/python

bench: $(CORE)
	@$(BIN)/python -m benchmarks $(ARGS)

soak: $(DEV) tools
	$(BIN)/python -m pytest -n 2 --dist worksteal -m soak -vv --durations=20 $(ARGS)

account: $(DEV)
	$(BIN)/python -m pytest -n 0 -vv -rs tests/aws $(ARGS)

lock:
	@tools/lock $(ARGS)

clean:
	rm -rf .venv .ministack .checks .pytest_cache .mypy_cache .ruff_cache .hypothesis benchmarks/work
