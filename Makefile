# Everything a newcomer needs is `make demo` and `make test`; both set up .venv themselves.
SHELL := /bin/bash
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
UV_VERSION := 0.13.9
# A local folder of wheels, when the machine names one for pip, serves uv as well.
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help install demo up down test check fix lint types imports lock clean

help: ## Show this help
	@grep -hE '^[a-z][a-z-]*:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## (.*)/  make \1\t\2/' | expand -t 18

install: $(STAMP) ## Create .venv with the locked platform

$(STAMP): requirements/platform.txt setup.cfg pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "Python 3.11 is needed; name it with make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	$(BIN)/uv pip install --quiet --python $(BIN)/python -r requirements/platform.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $@
