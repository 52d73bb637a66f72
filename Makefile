# `make help` lists the targets. Everything is kept in .venv and .run.

VENV := .venv
PYTHON := $(VENV)/bin/python
RUNTIME := $(VENV)/.requirements
DEVELOPMENT := $(VENV)/.requirements-dev
INSTALL := $(PYTHON) -m pip install --quiet --quiet --disable-pip-version-check --require-hashes --requirement
COMPILE := $(VENV)/bin/uv pip compile --quiet --upgrade --universal --python-version 3.11 \
	--generate-hashes --no-header --no-annotate --no-emit-index-url

# What Python compiles is kept: the tests' workers and processes load the project many times.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help run test lint types style collect check bench faults fuzz schemathesis screenshots lock format programs

help: ## list these targets
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 22

run: $(RUNTIME) ## install, migrate, post demo data on first start (DEMO=no: none), serve until Ctrl-C
	@$(PYTHON) manage.py run

test: $(DEVELOPMENT) programs ## all tests on PostgreSQL, then those of the apps and the promises on SQLite
	$(PYTHON) -m pytest -n 4 -q
	TEST_DATABASE=sqlite $(PYTHON) -m pytest -n 3 -q $(MEASURED) ingestion enrichment api console tutoring movies music tests/promises

lint: $(DEVELOPMENT) ## formatting, style, types, import directions, migrations, system checks; two minutes, no test
	@$(MAKE) --no-print-directory --jobs=2 types style

types: $(DEVELOPMENT) ## the types alone, which take longer than the rest of make lint
	$(PYTHON) -m mypy .

style: $(DEVELOPMENT) ## make lint without the types
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m ruff check .
	$(VENV)/bin/lint-imports
	$(PYTHON) manage.py makemigrations --check --dry-run
	$(PYTHON) manage.py check --fail-level WARNING
	HTTPS=true $(PYTHON) manage.py check --deploy --fail-level WARNING

check: $(DEVELOPMENT) programs ## make lint, then make test with the coverage of its run on SQLite
	@$(MAKE) --no-print-directory --jobs=2 types style collect
	$(MAKE) test MEASURED=--cov

collect: style ## compile the tests, which workers would do each for itself; in make check beside the types
	@$(PYTHON) -m pytest --collect-only -q > /dev/null || true  # make test will say what is wrong

bench: $(DEVELOPMENT) ## throughput, latency and cost of history beside their aims; a quarter of an hour (see bench/README.md)
	$(PYTHON) -m bench

faults: $(DEVELOPMENT) ## ten runs of a whole system under faults, compared by a ledger (see docs/reliability.md)
	$(PYTHON) -m faults

fuzz: $(DEVELOPMENT) ## 100,000 mangled requests, files and forms, others each time; half an hour (see docs/reliability.md)
	$(PYTHON) -m fuzz

schemathesis: $(DEVELOPMENT) ## thousands of requests made from the API's description, other ones each time
	EXAMPLES=50 $(PYTHON) -m pytest -n 2 -q tests/test_schemathesis.py

screenshots: $(DEVELOPMENT) programs ## take the admin's pages in docs/screenshots anew
	$(PYTHON) -m tests.screenshots

format: $(DEVELOPMENT) ## format the code and fix what the linter can
	$(PYTHON) -m ruff format .
	$(PYTHON) -m ruff check --fix .

lock: $(DEVELOPMENT) ## write the newest versions that pyproject.toml allows, and their hashes, into requirements*.txt
	$(PYTHON) -m pip install --quiet uv
	$(COMPILE) pyproject.toml --output-file requirements.txt
	$(COMPILE) pyproject.toml --group dev --constraints requirements.txt --output-file requirements-dev.txt

$(RUNTIME): requirements.txt | $(PYTHON)
	@echo "Installing what TutorMax needs into $(VENV) (once; about 310 MB) ..."
	@$(INSTALL) $<
	@touch $@

$(DEVELOPMENT): requirements-dev.txt | $(PYTHON)
	@echo "Installing what TutorMax and its tests need into $(VENV) (once; about 900 MB) ..."
	@$(INSTALL) $<
	@touch $@ $(RUNTIME)

$(PYTHON):
	@.ci/make-venv $(VENV)

programs:
	@.ci/find-chromium
	@.ci/find-redis
