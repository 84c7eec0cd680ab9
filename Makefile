# `make` alone lists the targets. Only `system` needs root; all else stays inside this folder.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Tests run on every core; `make test WORKERS=0` keeps them in one process (for a debugger).
WORKERS ?= $(shell nproc 2>/dev/null || echo 2)
# Workers that each solve on every core would only wait for one another.
PYTEST := OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest
# Tests of one `xdist_group` share a worker, and with it what they build.
SPREAD := -n $(WORKERS) --dist loadgroup

.DEFAULT_GOAL := help
.PHONY: help system setup demo check test quick bench accuracy clean

help:  ## list the targets
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 18

# ip (iproute2) builds the virtual cluster that network predictions are judged on; ensurepip is what
# `python3 -m venv` needs, and some distributions ship it apart.
system:  ## install what the system must have (Debian and kin; needs root or sudo)
	@missing=""; \
	PATH="$$PATH:/usr/sbin:/sbin" command -v ip >/dev/null || missing="$$missing iproute2"; \
	$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || missing="$$missing python3-venv"; \
	if [ -z "$$missing" ]; then echo "system: nothing to install"; exit 0; fi; \
	if ! command -v apt-get >/dev/null; then echo "system: no apt-get here; please install:$$missing"; exit 0; fi; \
	sudo=""; \
	if [ "$$(id -u)" != 0 ]; then \
	  if sudo -n true 2>/dev/null; then sudo="sudo -n"; \
	  else echo "system: skipped, this needs root; please install:$$missing"; exit 0; fi; \
	fi; \
	$$sudo env DEBIAN_FRONTEND=noninteractive apt-get update -q && \
	$$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $$missing

setup: $(READY)  ## make .venv with everything in it (instant when nothing changed)

$(READY): pyproject.toml constraints.txt simulator/version.py
	@echo "setup: installing into $(VENV), about a minute"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -qq --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: setup  ## calibrate this computer, predict, measure and show how wrong the prediction was
	$(BIN)/scalemodel demo --out demo

check: setup  ## style, types and who may import whom
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

test: check  ## everything that CI runs: `check`, tests, doctests, documents and examples
	$(PYTEST) $(SPREAD)

quick: setup  ## the tests that take less than a few seconds each
	$(PYTEST) $(SPREAD) -m "not slow and not benchmark"

bench: setup  ## time the engine and the models, as ratios against a baseline in the same run
	$(PYTEST) -m benchmark -s

accuracy: setup  ## predicted against measured for every suite; writes ACCURACY.md
	$(BIN)/scalemodel compare --all

clean:  ## remove what building, testing and the demo left behind (keeps .venv)
	rm -rf build dist demo *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .benchmarks
	find . -path ./$(VENV) -prune -o -name __pycache__ -type d -exec rm -rf {} +
