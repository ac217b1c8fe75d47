# make demo      tag the example clips with the built-in model; installs the package alone into .venv
# make install   and what tests and extras need, all of the tested versions
# make test      the default tests: a few minutes on two cores, no network
# make test-fast PKG=outputs   those of one package or module, tests/outputs or tests/test_outputs.py: within a minute
# make test-all  the slow ones too: the full-size network, thousands of files, the README as it stands
# make test-oldest   at the oldest torch that is allowed, with the torchaudio of its day, in .venv-oldest
# make test-portable   without what only POSIX has, as on Windows: see tests/without_posix.py
# make lint      style, formatting, and types for Linux, Windows and macOS
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
# One process for each core, and one thread for each process; what a file prepares, it prepares once.
TEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist loadfile
PKG ?= outputs

.PHONY: demo install test test-fast test-all test-changed test-oldest test-portable lint format clean

demo: $(or $(wildcard $(VENV)/installed),$(VENV)/demo)
	$(BIN)/ast-tag examples/clips --model tiny

$(VENV)/demo: pyproject.toml constraints.txt
	@echo 'Installing ast-tag and torch into $(VENV): 1.1 GB if torch is built for the CPU, several more for CUDA.' >&2
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	touch $@

install: $(VENV)/installed

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test]'
	touch $@

test: install
	$(TEST)

test-fast: install
	$(TEST) -q $(or $(wildcard tests/$(PKG) tests/test_$(PKG).py),$(error there is no tests/$(PKG)))

test-all: install
	$(TEST) -m ""

# Slow tests of what changed since SINCE, or since the branch left main; see tools/slow_tests.py.
test-changed: install
	files=$$($(BIN)/python tools/slow_tests.py $(SINCE)) && \
	if [ -n "$$files" ]; then $(TEST) -m slow $$files; fi

OLDEST = $(VENV)-oldest
# The lower bound in pyproject.toml: 2.9 means any 2.9.
FLOOR = $(shell sed -n 's/^ *"torch>=\([0-9.]*\)",$$/\1/p' pyproject.toml).*

test-oldest: $(OLDEST)/installed
	OMP_NUM_THREADS=1 $(OLDEST)/bin/python -m pytest --numprocesses auto --dist loadfile \
		tests/networks tests/features tests/audio tests/engines tests/cli tests/training

$(OLDEST)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(OLDEST)
	grep -vE '^(torch|torchaudio|setuptools)==' constraints.txt > $(OLDEST)/constraints.txt
	$(OLDEST)/bin/python -m pip install --quiet --constraint $(OLDEST)/constraints.txt \
		'torch==$(FLOOR)' 'torchaudio==$(FLOOR)' --editable '.[test]'
	touch $@

# What needs no POSIX of its own.
PORTABLE = audio checkpoints cli clips cluster engines explain features networks outputs pipeline report scoring training
test-portable: install
	$(TEST) -p tests.without_posix $(PORTABLE:%=tests/%) tests/test_*.py

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy --platform win32 --cache-dir .mypy_cache/win32
	$(BIN)/mypy --platform darwin --cache-dir .mypy_cache/darwin

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) $(OLDEST) .pytest_cache .mypy_cache .ruff_cache .hypothesis
