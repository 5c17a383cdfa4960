# Needs make and a Python that can make virtual environments; everything else is installed into $(VENV).
#
#   make test PYTHON=python3.12 VENV=.venv-py312     another interpreter beside the usual one
#   make test PYTEST_ARGS=tests/data                 some of the tests
#   make test WORKERS=0                              one after another, in this process

PYTHON ?=
VENV ?= .venv
PYTEST_ARGS ?=
WORKERS ?= auto

# All paths are relative, so that the checkout may lie in a folder with spaces in its name.
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
LINT_STAMP := $(VENV)/.installed-lint

# Nothing from outside the environment: neither the user's site packages nor a path or an install target from the shell.
unexport PYTHONPATH PYTHONHOME PIP_TARGET PIP_PREFIX
export PYTHONNOUSERSITE := 1
export PIP_USER := 0
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# The stamp says which checkout is installed and for which PYTHON it was asked; a copied or moved checkout and another
# PYTHON make it stale.
INSTALLED := $(strip $(PYTHON) $(CURDIR))
export INSTALLED
ifneq ($(shell cat "$(STAMP)" 2>/dev/null),$(INSTALLED))
$(STAMP): stale
endif

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo notebooks test slow coverage lint validate mutants versions clean stale

help:
	@echo 'make demo      a short run on simulated data, from phenotypes to predictions'
	@echo 'make notebooks execute the notebooks of examples/ anew, from their .py'
	@echo 'make test      the tests (PYTEST_ARGS=... for pytest, WORKERS=N at a time)'
	@echo 'make slow      the tests that it leaves out: joint distributions at length, planted errors'
	@echo 'make coverage  which lines of the compiled sources the tests reach, run as plain Python'
	@echo 'make lint      ruff and mypy'
	@echo 'make validate  the quick part of the statistical validation'
	@echo 'make mutants   plant known errors and check that the tests find them'
	@echo 'make versions  the versions of Python and of the libraries in use'
	@echo 'make clean     remove the environments and caches'
	@echo 'PYTHON=...     interpreter (3.11 or later); otherwise the first suitable one on the PATH'
	@echo 'VENV=...       folder of the virtual environment (now $(VENV))'

demo: $(STAMP)
	"$(BIN)/python" examples/demo.py

notebooks: $(STAMP)
	"$(BIN)/python" -m tests.helpers.notebooks

test: $(STAMP)
	"$(BIN)/python" -m pytest -n $(WORKERS) --dist loadfile -m "not slow" $(PYTEST_ARGS)

slow: $(STAMP)
	"$(BIN)/python" -m pytest -n $(WORKERS) --dist load -m slow $(PYTEST_ARGS)

coverage: $(STAMP)
	"$(BIN)/python" -m tests.helpers.coverage

lint: $(LINT_STAMP)
	"$(BIN)/python" -m ruff check .
	"$(BIN)/python" -m ruff format --check .
	"$(BIN)/python" -m mypy

validate: $(STAMP)
	"$(BIN)/python" -m validation.run --quick

mutants: $(STAMP)
	"$(BIN)/python" -m validation.mutants

versions: $(STAMP)
	@"$(BIN)/python" -c 'import platform; from importlib.metadata import version; \
	libraries = "numpy scipy numba pandas xarray arviz".split(); \
	print("versions: python", platform.python_version(), *(f"{name} {version(name)}" for name in libraries))'

stale:

# An environment that works is kept, unless PYTHON asks for another version than the one in it.
$(STAMP): pyproject.toml
	@set -e; \
	usable() { "$$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }; \
	version() { "$$1" -c 'import sys; print(sys.version)' 2>/dev/null; }; \
	makes_venv() { "$$1" -c 'import venv, ensurepip' >/dev/null 2>&1; }; \
	asked='$(PYTHON)'; \
	if usable "$(BIN)/python" && "$(BIN)/python" -m pip --version >/dev/null 2>&1 \
	   && { test -z "$$asked" || test "$$(version "$$asked")" = "$$(version "$(BIN)/python")"; }; then :; else \
	  if test -e "$(VENV)" && ! test -e "$(VENV)/pyvenv.cfg" && test -n "$$(ls -A "$(VENV)" 2>/dev/null)"; then \
	    echo 'make: $(VENV) exists and is no virtual environment: remove it or choose another folder with VENV=...' >&2; exit 1; \
	  fi; \
	  if test -n "$$asked"; then set -- "$$asked"; else set -- python3 python3.13 python3.12 python3.11 python3.14; fi; \
	  found=; bare=; \
	  for python in "$$@"; do \
	    usable "$$python" || continue; \
	    if makes_venv "$$python"; then found=$$python; break; else bare=$${bare:-$$python}; fi; \
	  done; \
	  if test -z "$$found" && test -n "$$bare"; then \
	    echo "make: $$bare lacks venv or ensurepip and cannot make a virtual environment; on Debian and Ubuntu:" >&2; \
	    echo "make:   apt-get install $$("$$bare" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')" >&2; \
	    echo 'make: or name another Python with PYTHON=...' >&2; exit 1; \
	  elif test -z "$$found"; then \
	    echo "make: Python 3.11 or later is needed; '$$1 --version' says: $$("$$1" --version 2>&1 | head -n 1)" >&2; \
	    echo 'make: install one, or name it with PYTHON=/path/to/python3' >&2; exit 1; \
	  fi; \
	  echo "making $(VENV) with $$found ($$("$$found" --version))"; \
	  "$$found" -m venv --clear "$(VENV)"; \
	fi; \
	"$(BIN)/python" -m pip install --quiet --editable '.[test]'; \
	printf '%s\n' "$$INSTALLED" > "$@"

# Only the tools: installing the project again would pull it from under tests that run at the same time (make -j).
$(LINT_STAMP): $(STAMP)
	@"$(BIN)/python" -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["lint"], sep="\n")' > "$@.txt"
	@"$(BIN)/python" -m pip install --quiet --requirement "$@.txt"
	@touch "$@"

clean:
	rm -rf .venv .venv-py* build dist .pytest_cache .hypothesis .mypy_cache .ruff_cache
	find bmtme tests examples validation -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
