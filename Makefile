# `make` without a target lists the targets. Everything is installed into $(VENV); root is not needed.

PIPELINE ?= pipelines/digits_cnn.yaml
NP ?= 2
HOSTS ?=
ARGS ?=
RUN ?=
BENCH ?= step
PYTHON ?= python3
VENV ?= .venv
SYSTEMS ?= bookworm trixie testing
COMPILERS ?=

# The version of uv that writes the lock files; pip installs from them.
UV_VERSION := 0.13.9

bin := $(VENV)/bin
build := hvd_imgcls/horovod_build
set_up := sh $(build)/set_up.sh
# Gloo, because it is always built; use `make train HOROVODRUN_FLAGS=--mpi` for MPI.
HOROVODRUN_FLAGS ?= --gloo
launch = $(bin)/horovodrun -np $(NP) -H $(or $(HOSTS),localhost:$(NP)) $(HOROVODRUN_FLAGS)

.DEFAULT_GOAL := help
.PHONY: help setup train evaluate plan test test-all test-systems lint format bench doctor lock clean
# Removes the stamp of a failed step.
.DELETE_ON_ERROR:

help: ## list the targets and variables
	@echo 'usage: make TARGET [VARIABLE=VALUE ...]'
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@echo
	@echo 'variables and their current values:'
	@echo '  PIPELINE   $(PIPELINE)   (pipeline to train)'
	@echo '  NP         $(NP)   (number of ranks)'
	@echo '  HOSTS      $(or $(HOSTS),localhost:$(NP))   (hosts of the ranks, e.g. host1:4,host2:4)'
	@echo '  ARGS       $(ARGS)   (passed to the command, e.g. ARGS="--train.num_epochs 3")'
	@echo '  RUN        $(RUN)   (run directory or model to evaluate)'
	@echo '  BENCH      $(BENCH)   (benchmark to run)'
	@echo '  PYTHON     $(PYTHON)   (Python for the environment: 3.11, 3.12 or 3.13)'
	@echo '  VENV       $(VENV)   (directory of the environment)'
	@echo '  SYSTEMS    $(SYSTEMS)   (for test-systems: releases of Debian)'
	@echo '  COMPILERS  $(COMPILERS)   (for test-systems: "all", or packages such as "g++-11 clang-16")'

setup: $(VENV)/.horovod-done ## create the environment and build Horovod (3 to 11 min; only once)

$(VENV)/.venv-done:
	@$(set_up) venv "$(PYTHON)" "$(VENV)"
	@touch $@

$(VENV)/.packages-done: requirements.lock | $(VENV)/.venv-done
	@$(set_up) packages "$(VENV)"
	@touch $@

$(VENV)/.project-done: setup.cfg pyproject.toml $(VENV)/.packages-done
	@$(set_up) project "$(VENV)"
	@touch $@

$(VENV)/.horovod-done: $(VENV)/.packages-done $(build)/sdist.py $(build)/removed.txt $(build)/build-requirements.txt $(wildcard $(build)/patches/*.patch) | $(VENV)/.project-done
	@$(bin)/python -m hvd_imgcls.horovod_build
	@touch $@

train: setup ## train PIPELINE on NP ranks
	$(launch) $(bin)/hvd-imgcls train $(PIPELINE) $(ARGS)

evaluate: setup ## evaluate RUN on NP ranks
	@test -n '$(RUN)' || { echo 'error: evaluate what? make evaluate RUN=runs/...' >&2; exit 2; }
	$(launch) $(bin)/hvd-imgcls evaluate $(RUN) $(ARGS)

plan: setup ## show the plan for training PIPELINE on NP ranks
	@$(bin)/hvd-imgcls plan $(PIPELINE) --size $(NP) $(ARGS)

test: setup ## run the tests, except the slow ones
	$(bin)/python -m pytest -m 'not slow' $(ARGS)

test-all: setup ## run all tests
	$(bin)/python -m pytest $(ARGS)

test-systems: ## set up, train and run the doctor on fresh systems (root, mmdebstrap, 10 min each)
	python3 -m tests.systems --systems $(SYSTEMS) --compilers $(COMPILERS) $(ARGS)

lint: setup ## check style, types and import layers
	$(bin)/ruff check .
	$(bin)/ruff format --check .
	$(bin)/mypy
	$(bin)/lint-imports --no-cache

format: setup ## format the code
	$(bin)/ruff check --fix-only .
	$(bin)/ruff format .

bench: setup ## run the benchmark BENCH
	$(bin)/hvd-imgcls bench $(BENCH) $(ARGS)

doctor: setup ## check whether this machine is ready to train
	@$(bin)/hvd-imgcls doctor $(ARGS)

lock: $(VENV)/.venv-done ## rewrite the lock files from setup.cfg
	$(bin)/python -m venv $(VENV)-lock
	$(VENV)-lock/bin/python -m pip install --quiet uv==$(UV_VERSION)
	sh $(build)/lock.sh $(VENV)-lock/bin/uv

clean: ## remove the environment and temporary files, but not runs or the user's cache
	rm -rf $(VENV) $(VENV)-lock build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
