# Each target works alone on a bare machine with Python 3.11 or later: what it needs is installed
# into .venv with uv, at the versions of constraints.txt.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
APPROVE ?= policy
FAULT ?=
# tests/conftest.py says in which order.
PYTEST_ARGS ?= --numprocesses 2 --dist loadgroup --no-loadscope-reorder

.PHONY: demo test lint bench lab docs screenshot clean
.DEFAULT_GOAL := test

$(BIN)/uv:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv

$(VENV)/.installed-%: pyproject.toml constraints.txt | $(BIN)/uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt --editable ".[$*]"
	@touch $@

demo: $(VENV)/.installed-lab
	$(BIN)/python -m aof_nb.lab.demo --approve $(APPROVE) $(if $(FAULT),--fault $(FAULT))

test: $(VENV)/.installed-test
	$(BIN)/python -m coverage erase
	$(BIN)/python -m coverage run -m pytest $(PYTEST_ARGS)
	$(BIN)/python -m coverage combine --quiet
	$(BIN)/python -m coverage report --skip-covered | tail -n 30

lint: $(VENV)/.installed-lint $(VENV)/.installed-lab
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

bench: $(VENV)/.installed-bench
	$(BIN)/python -m benchmarks

lab: $(VENV)/.installed-lab
	$(BIN)/aofctl lab up

docs: $(VENV)/.installed-docs
	$(BIN)/sphinx-build --fail-on-warning --keep-going --builder html docs docs/_build/html

screenshot: $(VENV)/.installed-test
	AOF_SCREENSHOTS=1 $(BIN)/python -m pytest -p no:cacheprovider tests/e2e/test_jupyterlab.py
	$(BIN)/python -m tests.e2e.tour

clean:
	rm -rf $(VENV) docs/_build .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache
