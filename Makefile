# The two commands are `make run` and `make test`; both set up .venv first. Plain `make` lists all.

# The first Python that the lock is made for (3.11, or 3.12, which needs the same packages).
SUPPORTED := import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))
PYTHON ?= $(shell for p in python3.11 python3 python3.12; do $$p -c '$(SUPPORTED)' 2>/dev/null && echo $$p && break; done)

PRESET ?= demo
ARGS ?=
HOST ?= 127.0.0.1
PORT ?= 8000
MLFLOW_TRACKING_URI ?= sqlite:///$(CURDIR)/mlflow.db

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.stamp
PACKAGES := sermodels flows serve
PEERS := benchmarks/.venv

# No tool reports home, and a slow disk or network gets the time that it needs.
export DO_NOT_TRACK := 1
export MLFLOW_DISABLE_TELEMETRY := true
export PREFECT_SERVER_ANALYTICS_ENABLED := false
export GRADIO_ANALYTICS_ENABLED := False
export ORT_DISABLE_TELEMETRY := 1
export PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS := 120
export UV_HTTP_TIMEOUT := 300

# Prefixes of commands: with .venv's programs first, and for tests with nobody's servers in reach.
ACTIVATED = PATH="$(CURDIR)/$(BIN):$$PATH"
TRACKED = env $(ACTIVATED) MLFLOW_TRACKING_URI="$(MLFLOW_TRACKING_URI)"
ISOLATED = env -u MLFLOW_TRACKING_URI -u MLFLOW_EXPERIMENT_NAME -u MLFLOW_EXPERIMENT_ID -u MLFLOW_RUN_ID \
	-u PREFECT_API_URL -u PREFECT_PROFILE $(ACTIVATED) OMP_NUM_THREADS=1

# Packages are compiled once: where Python may not write bytecode, every process would compile them anew.
INSTALL = $(BIN)/uv pip install --compile-bytecode --require-hashes --python

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run serve bench bench-quick peers test coverage test-services lint format lock map ui-mlflow ui-prefect \
	clean-runs clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' Makefile

run: $(READY) ## run the pipeline; PRESET=demo, more parameters in ARGS="-P data_dir=data -P fold=0"
	$(TRACKED) mlflow run . --env-manager local --experiment-name sermodels -P "preset=$(PRESET)" $(ARGS)

serve: $(READY) ## serve the newest exported champion; PORT=8000, HOST=127.0.0.1
	exec $(TRACKED) python -m flows serve --host "$(HOST)" --port "$(PORT)"

bench: $(READY) ## measure each part beside its alternative, write docs/performance.md; ARGS="--data-dir data"
	-$(MAKE) peers
	$(TRACKED) python -m benchmarks $(ARGS)

bench-quick: $(READY) ## the same with smaller counts in ten minutes, into benchmarks/results/quick
	-$(MAKE) peers
	$(TRACKED) python -m benchmarks --quick $(ARGS)

peers: $(PEERS)/.stamp ## set up LitServe and diffusers for bench, in benchmarks/.venv

test: lint ## check style, types and imports, then run the tests
	$(ISOLATED) python -m pytest -n 3 --dist loadfile --no-loadscope-reorder $(TEST_ARGS)

coverage: ## the same with coverage, which takes half as long again
	$(MAKE) test TEST_ARGS="--cov=sermodels --cov=flows --cov=serve --cov-report=term-missing:skip-covered \
		--cov-fail-under=85"

test-services: $(READY) ## run the tests on PostgreSQL, S3 and MLflow and Prefect servers; needs Debian's postgresql
	$(ISOLATED) python -m pytest -n 0 -v tests/services

lint: $(READY) ## check style, types and imports
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy $(PACKAGES) benchmarks
	$(BIN)/lint-imports --no-logo

format: $(READY) ## put the code into shape
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

lock: $(READY) ## write requirements.lock, conda.yaml and the locks of images and benchmarks anew
	$(BIN)/uv pip compile pyproject.toml --extra dev --python-version 3.11 \
		--generate-hashes --no-emit-index-url --no-header -q -o requirements.lock
	for image in cpu cuda; do $(BIN)/uv pip compile serve/requirements-$$image.in -c requirements.lock \
		--python-version 3.11 --generate-hashes --no-emit-index-url --no-header -q \
		-o serve/requirements-$$image.lock || exit 1; done
	$(BIN)/uv pip compile benchmarks/peers.in -c requirements.lock --python-version 3.11 \
		--generate-hashes --no-emit-index-url --no-header -q -o benchmarks/peers.lock
	$(BIN)/python tools/conda_yaml.py

map: $(READY) ## write README's file map and MLproject anew from the code
	$(BIN)/python tools/file_map.py
	$(BIN)/python tools/mlproject.py

ui-mlflow: $(READY) ## show runs and models at http://127.0.0.1:5000/#/experiments?workflowType=machine_learning
	MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false \
		$(TRACKED) mlflow ui --backend-store-uri "$(MLFLOW_TRACKING_URI)" --port 5000

ui-prefect: $(READY) ## show flow runs at http://127.0.0.1:4200
	PREFECT_HOME="$(CURDIR)/workspace/prefect" $(BIN)/prefect server start

clean-runs: $(READY) ## list dead runs and unused stages, ask, delete; ARGS="--older-than-hours 0 --yes"
	$(TRACKED) python -m flows clean $(ARGS)

clean: ## delete caches; runs, data and .venv stay
	rm -rf .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .coverage .coverage.*
	find $(PACKAGES) tests tools -name __pycache__ -type d -prune -exec rm -rf {} +

# librosa compiles itself into numba's cache when it is first imported; several processes that did so at once left a cache
# that crashed every later one, so one does it here.
# The stamp comes last: an environment without one is half-made and starts anew.
$(READY): requirements.lock
	@"$(PYTHON)" -c '$(SUPPORTED)' 2>/dev/null || { echo "make: '$(PYTHON)' is not Python 3.11 or 3.12;" \
		"install python3.11 and its venv module, or name it: make PYTHON=path/to/python3.11" >&2; exit 1; }
	"$(PYTHON)" -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "$$(grep -o '^uv==[^ ]*' requirements.lock)"
	$(INSTALL) $(BIN)/python -r requirements.lock
	$(BIN)/python -c "import librosa.core.audio, librosa.util.utils"
	@touch $@

$(PEERS)/.stamp: benchmarks/peers.lock $(READY)
	"$(PYTHON)" -m venv --clear $(PEERS)
	$(INSTALL) $(PEERS)/bin/python -r benchmarks/peers.lock
	@touch $@
