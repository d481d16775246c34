# make demo · test · lint · serve · bench · bench-vertical · bench-generators · gallery    (everything happens inside .venv)
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
# small matrices: with more threads OpenBLAS spins (as avsafe/cli/__init__.py)
export OPENBLAS_NUM_THREADS ?= 1

.PHONY: demo test test-slow test-postgresql lint serve bench bench-vertical bench-generators gallery clean
.DEFAULT_GOAL := help

help:
	@echo "make demo    generate, gate, mark, sign, verify, strip, recover, tamper: files in demo/"
	@echo "make test    the test suite; the slowest tests are in: make test-slow"
	@echo "make test-postgresql   what keeps state, once more with PostgreSQL beneath"
	@echo "make serve   the verify page and the gateway at http://127.0.0.1:8000, state in build/serve/"
	@echo "make lint    ruff, mypy --strict, import contracts"
	@echo "make bench   what a pass over clips costs, beside other tools; with MEDIA=folder also the marks on it; build/bench/"
	@echo "make bench-vertical   release and verify every clip of MEDIA; build/bench/vertical/"
	@echo "make bench-generators   cost of every embedded generator, and its growth; build/bench/generator_cost/"
	@echo "make gallery   works of every task through the gate, on one page; build/gallery/"

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.base: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	@touch $@

$(VENV)/.dev: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[dev]"
	@touch $@ $(VENV)/.base

demo: $(VENV)/.base
	$(BIN)/avsafe demo --out demo

test: $(VENV)/.dev
	$(BIN)/python -m pytest -n auto --dist worksteal -m "not slow"

test-slow: $(VENV)/.dev
	$(BIN)/python -m pytest -q -n auto --dist worksteal -m slow

# The same tests of gate, verify, service and commands on the other database (tests/conftest.py).
KEEPING := tests/integration/test_gate.py tests/integration/test_verify.py tests/integration/test_crash.py \
  tests/integration/test_ledger_cli.py $(wildcard tests/integration/test_server_*.py) tests/e2e \
  tests/unit/test_cli_keys.py tests/unit/test_consent.py
test-postgresql: $(VENV)/.dev
	AVSAFE_TEST_DATABASE=postgresql AVSAFE_CRASH_ROUNDS=15 $(BIN)/python -m pytest -q -n auto --dist worksteal $(KEEPING)

PORT ?= 8000
AT := AVSAFE_HOME=$(abspath build/serve)
serve: $(VENV)/.dev
	@test -d build/serve || { mkdir -p build/serve; \
	  $(AT) $(BIN)/avsafe users add --name maker --team lab --role creator; \
	  $(AT) $(BIN)/avsafe users add --name looker --team lab --role reviewer; }
	$(AT) $(BIN)/avsafe serve --generate --port $(PORT)

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

OUT ?= build/bench
# VBENCH=checkout: VBench's own function beside ours
bench: $(VENV)/.dev
	$(BIN)/python benchmarks/bench_cost.py --out $(OUT)/bench_cost $(if $(VBENCH),--vbench $(VBENCH))
ifdef MEDIA
	$(BIN)/python benchmarks/watermark_peers.py --media $(MEDIA) --out $(OUT)/peers
	$(BIN)/avsafe bench run watermark --media $(MEDIA) --out $(OUT)/watermark $(BENCH)
endif

bench-vertical: $(VENV)/.dev
	@test -d "$(MEDIA)" || { echo "Name a folder of clips: make bench-vertical MEDIA=folder"; exit 2; }
	$(BIN)/python benchmarks/vertical.py --media $(MEDIA) --out $(OUT)/vertical

bench-generators: $(VENV)/.dev
	$(BIN)/python benchmarks/generator_cost.py --out $(OUT)/generator_cost $(BENCH)

gallery: $(VENV)/.base
	$(BIN)/avsafe gallery --out build/gallery

clean:
	rm -rf $(VENV) demo build dist
