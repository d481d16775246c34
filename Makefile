# make demo · test · lint · bench · bench-vertical · bench-generators · gallery    (everything happens inside .venv)
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
# small matrices: with more threads OpenBLAS spins (as avsafe/cli/__init__.py)
export OPENBLAS_NUM_THREADS ?= 1

.PHONY: demo test lint bench bench-vertical bench-generators gallery clean
.DEFAULT_GOAL := help

help:
	@echo "make demo    generate, gate, mark, sign, verify, strip, recover, tamper: files in demo/"
	@echo "make test    the whole test suite"
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
	$(BIN)/python -m pytest -n auto --dist worksteal

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
