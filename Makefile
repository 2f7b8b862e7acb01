PYTHON ?= python3
HOST ?= 127.0.0.1
PORT ?= 8000
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export PYTHONPATH := src
export DVC_NO_ANALYTICS := 1

help:  ## list what there is to make
	@grep -E '^[a-z]+:.*##' Makefile | sed -E 's/:.*##/\t/' | expand -t 10

repro: .venv/ready  ## from a clone to a table: run the pipeline, print the results
	dvc repro
	@python -m nogps results

test: .venv/ready  ## run the tests
	python -m pytest -n 3 --dist loadfile

lint: .venv/ready  ## check style
	ruff check .
	ruff format --check .

page: .venv/ready  ## build the page that locates photos in a browser: static files, in web/site
	python -m nogps site

serve: page  ## build the page and serve it on this machine; HOST=0.0.0.0 lets others in
	python -m http.server --directory web/site --bind $(HOST) $(PORT)

bench: .venv/ready  ## cell ids and partitions against s2sphere
	python bench/cells.py

lock:  ## pin again what pyproject.toml asks for (needs uv)
	uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 \
	  --generate-hashes --no-header --no-annotate --output-file requirements.lock

.venv/ready: requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
	  || { echo 'nogps needs Python 3.11, 3.12 or 3.13; try: make $(MAKECMDGOALS) PYTHON=python3.12'; exit 1; }
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --require-hashes -r requirements.lock
	.venv/bin/python -m pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

.PHONY: help repro test lint page serve bench lock
