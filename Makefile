PYTHON ?= python3
HOST ?= 127.0.0.1
PORT ?= 8000
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export PYTHONPATH := src
export DVC_NO_ANALYTICS := 1

help:  ## list what there is to make
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:.*##/\t/' | expand -t 10

repro: .venv/ready  ## from a clone to a table: run the pipeline, print the results
	dvc repro
	@nogps results

test: .venv/ready  ## the tests of each part, in process; a few minutes
	python -m pytest -n 3 --dist loadfile tests/unit

test-rest: .venv/ready  ## the others: whole runs, kills, full disks, the planet, a browser
	python -m pytest -n 3 --dist loadfile tests/planet tests/e2e tests/browser

test-all: test test-rest  ## all of them

lint: .venv/ready  ## style, what may import what, types
	ruff check .
	ruff format --check .
	lint-imports --no-logo
	mypy

docs: .venv/ready  ## docs/ as a site, in site/; nothing is fetched
	python docs/architecture.py
	NO_MKDOCS_2_WARNING=1 mkdocs build --strict --quiet

site: .venv/ready  ## build the page that locates photos in a browser: static files, in web/site
	nogps site

serve: site  ## build that page and serve it on this machine; HOST=0.0.0.0 lets others in
	python -m http.server --directory web/site --bind $(HOST) $(PORT)

bench: .venv/ready  ## cell ids and partitions against s2sphere
	python bench/cells.py

lock:  ## pin again what pyproject.toml asks for (needs uv)
	uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 \
	  --generate-hashes --no-header --no-annotate --quiet --output-file requirements.lock

.venv/ready: requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
	  || { echo 'nogps needs Python 3.11, 3.12 or 3.13; try: make $(MAKECMDGOALS) PYTHON=python3.12'; exit 1; }
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --require-hashes -r requirements.lock
	.venv/bin/python -m pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

.PHONY: help repro test test-rest test-all lint docs site serve bench lock
