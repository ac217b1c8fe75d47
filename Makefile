# make demo      tag the example clips with the built-in model, in an environment of its own
# make install   that environment: .venv, with the tested set of packages
# make test      the default tests: a few minutes on two cores, no network
# make test-all  the full-size network too
# make lint      style, formatting, types
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
# One process for each core, and one thread for each process.
TEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist worksteal

.PHONY: demo install test test-all lint format clean

demo: install
	$(BIN)/ast-tag examples/clips --model tiny

install: $(VENV)/installed

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test]'
	touch $@

test: install
	$(TEST)

test-all: install
	$(TEST) -m ""

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
