# Everything a person or a CI runs. `make help` lists it.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help plan test check format lint types imports cover snapshot bench fuzz dashboard screenshots \
	calibrate accuracy conformance clean

help: ## Show the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

# A stamp says what is installed; it is older than what it was made from when that changed.
$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.core: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) install --quiet --constraint constraints.txt --editable .
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) install --quiet --upgrade 'pip>=25.1' # reads dependency groups
	$(PIP) install --quiet --constraint constraints.txt --group dev \
		--editable '.[app,calibrate,dask,deploy,parquet,plot]'
	@touch $(VENV)/.core $@

$(VENV)/.torch: pyproject.toml constraints.txt | $(VENV)/.dev
	$(PIP) install --quiet --constraint constraints.txt --group torch
	@touch $@

plan: $(VENV)/.core ## Plan a 70B model at 8k context and 20 requests a second
	$(BIN)/fitcalc plan --model 70b --ctx 8k --qps 20

test: $(VENV)/.dev ## Run the tests, without the browser
	$(BIN)/pytest

check: format lint types imports cover ## All that CI checks

format: $(VENV)/.dev
	$(BIN)/ruff format --check .

lint: $(VENV)/.dev
	$(BIN)/ruff check .

types: $(VENV)/.dev $(VENV)/.torch
	$(BIN)/mypy

imports: $(VENV)/.dev
	$(BIN)/lint-imports

cover: $(VENV)/.dev $(VENV)/.torch
	$(BIN)/pytest -m 'not gpu' --cov --cov-report=term

conformance: $(VENV)/.dev ## Compare KV plans and schedules with vLLM's own, installed apart
	bash tests/conformance/install.sh .conformance
	$(BIN)/python -m tests.conformance.compare .conformance docs/conformance.md
	$(BIN)/python -m tests.conformance.schedules .conformance
	bash tests/conformance/readers.sh .conformance
	$(BIN)/python -m tests.conformance.deployments .conformance
	$(BIN)/python -m tests.conformance.beside_vllm .conformance

snapshot: $(VENV)/.dev ## Rewrite all that is made from code: snapshots, docs, schema, lock; review the diff
	FITCALC_SNAPSHOT=rewrite $(BIN)/pytest --no-header tests/test_snapshot.py
	$(BIN)/python docs/model_page.py
	$(BIN)/python -m fitcalc.inputs.scenario_schema > fitcalc.schema.tmp
	mv fitcalc.schema.tmp fitcalc/inputs/fitcalc.schema.json
	$(BIN)/fitcalc lock examples/ci/fitcalc.toml

bench: $(VENV)/.dev ## Measure start-up, warm plan, install size, steps and the simulation's speed
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/step.py
	$(BIN)/python benchmarks/simulation.py
	$(BIN)/python benchmarks/closed_form.py

fuzz: $(VENV)/.dev ## Run the property tests wide and at random
	HYPOTHESIS_PROFILE=wide $(BIN)/pytest

screenshots: $(VENV)/.dev ## Make docs/images: every view of the dashboard
	$(BIN)/python docs/screenshots.py

dashboard: $(VENV)/.dev ## Open the dashboard
	$(BIN)/fitcalc dashboard

calibrate: $(VENV)/.dev ## Rebuild calibration/results: make calibrate TABLES=dir RUNS=dir MEMORY=dir
	$(BIN)/fitcalc calibrate --from-tables '$(TABLES)' --runs '$(RUNS)' --memory '$(MEMORY)'

accuracy: $(VENV)/.dev ## Rewrite docs/accuracy.md: make accuracy RUNS=dir MEMORY=dir
	$(BIN)/fitcalc validate --silicon '$(RUNS)' --memory '$(MEMORY)' --write

clean: ## Remove what was installed and what tools left behind
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis \
		.import_linter_cache .coverage
