# Start with `make demo` and `make test`; both create .venv themselves.
SHELL := /bin/bash
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
UV_VERSION := 0.13.9
# A local folder of wheels, when the machine names one for pip, serves uv as well.
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)
# torch for CPUs, from PyTorch's own index, unless the machine has a wheel: CUDA's libraries are gigabytes, used by nothing.
TORCH_BACKEND ?= $(if $(wildcard $(PIP_FIND_LINKS)/torch-*.whl),,cpu)
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help install demo up down test coverage e2e images deploy-checks audit bench bench-algorithms bench-batches bench-gate bench-ingest bench-neighbours bench-pages bench-processes bench-serving bench-titles bench-training profile check format lint types imports fix lock clean

help: ## Show this help
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):[^#]*## (.*)/  make \1\t\2/' | expand -t 18

install: $(STAMP) ## Create .venv with the locked platform

$(STAMP): requirements/platform.txt setup.cfg pyproject.toml
	@requirements/create_venv.sh $(PYTHON) $(VENV) $(UV_VERSION)
	$(BIN)/uv pip install --quiet --python $(BIN)/python $(addprefix --torch-backend=,$(TORCH_BACKEND)) -r requirements/platform.txt$(if $(TORCH_BACKEND), || \
		{ echo "PyTorch's index could not be used; installing torch from the index of all packages" >&2; \
		  $(BIN)/uv pip install --quiet --python $(BIN)/python -r requirements/platform.txt; })
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $@

demo: install ## Run the whole loop once and print each step: DATA=DIR WEEKS=N JSON=FILE KEEP=1
	@$(BIN)/otaku demo $(if $(DATA),--data "$(DATA)") $(if $(WEEKS),--weeks $(WEEKS)) $(if $(JSON),--json "$(JSON)") $(if $(KEEP),--keep)

up: install ## Start the local platform and keep it running
	$(BIN)/otaku up

down: ## Stop the local platform
	$(BIN)/otaku down

TEST := $(BIN)/python -m pytest -m "not e2e" -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder

test: install ## Run every test, the code checks included
	$(TEST) $(ARGS)

coverage: install ## Run every test and measure coverage, which takes half as long again
	$(TEST) --cov --cov-report=term $(ARGS)

e2e: install ## Run the long tests against the real Airflow scheduler
	$(BIN)/python -m pytest -m e2e $(ARGS)

images: install ## Build both images with Docker or Podman, print their sizes, write their bills of materials to build/images
	PATH="$(CURDIR)/$(BIN):$$PATH" images/build.sh

deploy-checks: install ## Check manifests, Dockerfile and workflows with checkov, hadolint, actionlint and zizmor, fetched by uv
	PATH="$(CURDIR)/$(BIN):$$PATH" k8s-manifests/check.sh
	$(BIN)/python -m pytest tests/k8s tests/architecture/test_dockerfile.py $(ARGS)

bench: install ## Run the benchmarks
	@set -e; for script in benchmarks/*.py; do echo "== $$script"; $(BIN)/python $$script; done

bench-gate: install ## Measure the error rates of the promotion gate beside the original's: ARGS=--trials=200
	$(BIN)/python benchmarks/gate_calibration.py $(ARGS)

bench-ingest: install ## Measure an ingest by stage, beside the bare COPY of its ratings: ARGS="FOLDER --output FILE"
	$(BIN)/python benchmarks/ingest.py $(ARGS)

bench-pages: install ## Measure latency and weight of the pages: ARGS="MODEL-FOLDER --output FILE"
	$(BIN)/python benchmarks/pages.py $(ARGS)

bench-serving: install ## Measure the service beside the original's way: ARGS="--model FOLDER --output FILE"
	$(BIN)/python benchmarks/serving.py $(ARGS)

bench-algorithms: install ## Measure what the models that answer alone cost: ARGS="MODEL-FOLDER --data DIR --output FILE"
	$(BIN)/python benchmarks/algorithms.py $(ARGS)

bench-batches: install ## Measure lists per second of batches beside single calls: ARGS="MODEL-FOLDER --output FILE"
	$(BIN)/python benchmarks/batches.py $(ARGS)

bench-neighbours: install ## Measure the service beside busy neighbours: ARGS="MODEL-FOLDER --output FILE"
	$(BIN)/python benchmarks/neighbours.py $(ARGS)

bench-processes: install ## Measure requests per second and memory with several processes: ARGS="MODEL-FOLDER --output FILE"
	$(BIN)/python benchmarks/processes.py $(ARGS)

bench-titles: install ## Measure how titles are resolved: ARGS="FOLDER --output FILE"
	$(BIN)/python benchmarks/title_search.py $(ARGS)

bench-training: install ## Measure a retraining as data grow, beside the original's table: ARGS="--data DIR --output FILE"
	$(BIN)/python benchmarks/training.py $(ARGS)

profile: install ## Profile a fit and requests by pyinstrument and memray: ARGS="--model user-user --data DIR"
	PYTHONPATH=$(CURDIR) $(BIN)/python benchmarks/parts/profiling.py $(ARGS)

check: format lint types imports ## Check format, lint, types and import rules

format: install
	$(BIN)/ruff format --check --quiet .

lint: install
	$(BIN)/ruff check --quiet .

types: install
	$(BIN)/mypy

imports: install
	$(BIN)/lint-imports

fix: install ## Format the code and fix what ruff can fix
	$(BIN)/ruff check --fix --quiet .
	$(BIN)/ruff format --quiet .

audit: install ## Compare the locks with the published advisories for their packages
	@# pip-audit takes either every hash or none, and torch has none in the lock.
	sed -E '/--hash=/d; s/ \\$$//' requirements/platform.txt > $(VENV)/unhashed.txt
	$(BIN)/uv tool run pip-audit --strict --no-deps --disable-pip --progress-spinner off -r $(VENV)/unhashed.txt

lock: install ## Resolve all locks again as of a date: AS_OF=YYYY-MM-DD
	@test -n "$(AS_OF)" || { echo "AS_OF is not set; run make lock AS_OF=YYYY-MM-DD" >&2; exit 2; }
	PATH="$(CURDIR)/$(BIN):$$PATH" requirements/lock.sh $(AS_OF)

clean: ## Remove caches and build leftovers; .venv and the platform's state stay
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache .coverage .coverage.* htmlcov build dist
	find . -name __pycache__ -type d -not -path './$(VENV)/*' -prune -exec rm -rf {} +
