# One virtual environment, .venv, holds everything. A stamp in it says what was installed for which pyproject.toml,
# so nothing is installed twice. `make PYTHON=python3.12 demo` chooses another interpreter.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip
STAMPS := $(VENV)/stamps

# The tests start thousands of Python processes; none of them is to compile the package anew.
unexport PYTHONDONTWRITEBYTECODE

.DELETE_ON_ERROR:
.PHONY: help demo test test-long check browser clean

help:
	@echo "make demo        install, then edit and score drawn scenes on two CPU devices (under a minute)"
	@echo "make test        install what the tests need (torch among it, about 6 GB), then run them"
	@echo "make test-long   the long tests too"
	@echo "make check       lint, format, types, import rules"
	@echo "make clean       remove .venv, caches and build output; runs are kept"

demo: $(STAMPS)/package
	$(BIN)/edit-eval demo

# Most tests wait for processes: three at a time are faster on two cores, and do not disturb each other.
test: $(STAMPS)/test browser
	$(BIN)/python -m pytest -m "not long" --numprocesses 3 --dist worksteal

test-long: $(STAMPS)/test browser
	$(BIN)/python -m pytest --numprocesses 3 --dist worksteal

check: $(STAMPS)/check
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Debian's Chromium, for the tests of the page. Where it cannot be installed these are skipped, and say so.
browser:
	@command -v chromium >/dev/null \
	|| { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update -qq \
	     && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium; } \
	|| echo "there is no chromium ('apt-get install chromium' as root): the tests in a browser will be skipped"

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +

$(STAMPS)/venv:
	@$(PYTHON) -c 'import sys; sys.exit("edit-eval needs Python 3.11 or newer and $(PYTHON) is %d.%d; name another: make PYTHON=python3.12 demo" % sys.version_info[:2] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/package: pyproject.toml | $(STAMPS)/venv
	$(PIP) install --editable ".[tiny]"
	@touch $@

$(STAMPS)/check: pyproject.toml | $(STAMPS)/venv
	$(PIP) install --editable ".[check,tiny]"
	@touch $@ $(STAMPS)/package

# The tests of real model classes must run, not be skipped: without torch this target fails.
$(STAMPS)/test: pyproject.toml | $(STAMPS)/venv
	$(PIP) install --editable ".[test,check,test-models]"
	@$(BIN)/python -c "import diffusers, torch, torchvision, transformers, xgrammar"
	@touch $@ $(STAMPS)/package $(STAMPS)/check
