# Two commands matter: `make run` starts the app, `make test` passes the tests. `make help` lists all.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.ONESHELL:
.SILENT:
.DEFAULT_GOAL := help
.PHONY: help run setup test lint format clean

VENV := .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip --disable-pip-version-check --no-input install -q --no-compile
PYTEST_ARGS ?=

NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for p in python3.11 python3 python3.12 python3.13; do \
	"$$p" -c '$(NEW_ENOUGH)' 2>/dev/null && echo "$$p" && break; done)

# Tests need a browser on top of what the app needs.
APT_APP = $(shell cat packages.txt)
APT_DEV := chromium fonts-liberation

# Installs apt packages as root or through sudo without a password. Where neither is there, or apt
# fails, it says what is missing and goes on: all but the browser tests and GL rendering work without.
define apt_install
	missing=""
	for package in $(1); do
		dpkg-query -W -f='$${db:Status-Status}\n' "$$package" 2>/dev/null | grep -q '^installed' \
			|| missing+=" $$package"
	done
	if [ -n "$$missing" ]; then
		as_root="env"
		[ "$$(id -u)" = 0 ] || as_root="sudo -n env"
		install="$$as_root DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install"
		if command -v apt-get >/dev/null && $$as_root true 2>/dev/null; then
			echo "Installing system packages:$$missing"
			$$install $$missing >/dev/null 2>&1 \
				|| { $$as_root apt-get -qq update && $$install $$missing >/dev/null; } \
				|| echo "apt could not install:$$missing"
		else
			echo "System packages that are missing and need root (going on without):$$missing"
			echo "To add them later: sudo apt-get install$$missing"
		fi
	fi
endef

# opencv-python needs libGL and X11 libraries. Where they are not there and apt could not add them,
# the same release without windows takes its place.
define usable_opencv
	if ! $(PY) -c 'import cv2' 2>/dev/null; then
		echo "opencv-python does not start without libGL and X11: taking opencv-python-headless"
		$(PY) -m pip uninstall -q -y opencv-python
		$(PIP) "$$(sed -n 's/^opencv-python==/opencv-python-headless==/p' requirements.txt)"
	fi
endef

help: ## this list
	grep -E '^[a-z]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | sort

run: $(VENV)/.app ## the app on http://127.0.0.1:7860
	exec $(PY) app.py

setup: $(VENV)/.dev ## everything that the tests and the benchmarks need

test: lint ## linters, import contracts and all tests that this machine can run
	$(PY) -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

lint: $(VENV)/.dev ## linters and import contracts
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(VENV)/bin/lint-imports --no-cache >$(VENV)/contracts.txt || { cat $(VENV)/contracts.txt; exit 1; }

format: $(VENV)/.dev ## formats the code and sorts imports
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

clean: ## removes the environment and every cache
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis .import_linter_cache tests/out
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.created:
	if $(PY) -c 'import pip; $(NEW_ENOUGH)' 2>/dev/null; then touch $@; exit; fi
	if [ -z "$(PYTHON)" ] || ! "$(PYTHON)" -c '$(NEW_ENOUGH)'; then
		echo "Python 3.11 or newer is needed. Say where it is: make PYTHON=/path/to/python3.11 run" >&2
		exit 1
	fi
	# Debian's python3 comes without ensurepip; its package python3-venv brings it.
	if ! "$(PYTHON)" -c 'import ensurepip' 2>/dev/null; then
		$(call apt_install,python3-venv)
	fi
	if "$(PYTHON)" -c 'import ensurepip' 2>/dev/null; then
		"$(PYTHON)" -m venv $(VENV)
	elif "$(PYTHON)" -m pip --version >/dev/null 2>&1; then
		"$(PYTHON)" -m pip install -q --target $(VENV).bootstrap virtualenv
		PYTHONPATH=$(VENV).bootstrap "$(PYTHON)" -m virtualenv -q $(VENV)
		rm -rf $(VENV).bootstrap
	else
		echo "$(PYTHON) can make no virtual environment: it has neither ensurepip nor pip." >&2
		echo "As root: apt-get install python3-venv. Then run make again." >&2
		exit 1
	fi
	touch $@

$(VENV)/.app: requirements.txt packages.txt | $(VENV)/.created
	$(call apt_install,$(APT_APP))
	echo "Installing the app's Python packages into $(VENV) (6 GB with torch; some minutes, once)"
	$(PIP) -r requirements.txt
	$(call usable_opencv)
	touch $@

$(VENV)/.dev: $(wildcard requirements-*.txt) $(VENV)/.app
	$(call apt_install,$(APT_DEV))
	echo "Installing what tests and benchmarks need"
	$(PIP) -r requirements-dev.txt -r requirements-bench.txt -r requirements-train.txt \
		-r requirements-scale.txt
	$(call usable_opencv)
	touch $@
