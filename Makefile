# make          builds the environment and runs the workflow, up to the report
# make help     lists all targets

PYTHON ?= python3
CORES ?= all

# Only .venv counts: nothing from the caller's Python reaches it.
unexport PYTHONPATH
unexport PYTHONHOME
unexport PYTHONDONTWRITEBYTECODE
export PYTHONNOUSERSITE = 1

# Snakemake starts `python` for its scripts, so .venv/bin comes first. Set for each command and not
# for all of make: $(PYTHON) must stay the caller's, since it builds .venv.
RUN := PATH="$(CURDIR)/.venv/bin:$$PATH"
SNAKEMAKE := $(RUN) .venv/bin/snakemake $(if $(CONFIG),--configfile $(CONFIG))
PIP := .venv/bin/python -m pip --quiet --disable-pip-version-check --no-input

# A stamp carries the checksum of its lock file: a lock that changes means a new environment.
ENV := .venv/.lock-$(firstword $(shell cksum < requirements.lock))
DEV := .venv/.lock-dev-$(firstword $(shell cksum < requirements-dev.lock))
TORCH := $(shell grep '^torch==' requirements.lock)

COMPOSITES := find results/composites -name '*.svg' 2>/dev/null | sort
FIGURES := find results/figures -name '*.svg' 2>/dev/null | wc -l

.PHONY: all tour explore env report manual docs numbers check test test-all bench rehearsal clean help

all: $(ENV)  ## run the whole workflow, then name the report and the composites (default)
	@echo "== Workflow"
	$(SNAKEMAKE) --cores $(CORES)
	@$(MAKE) --no-print-directory report
	@echo "== Results"
	@ls results/report.html
	@$(COMPOSITES)
	@echo "and $$(($$($(FIGURES)))) figures in results/figures"

env: $(ENV)  ## build .venv from requirements.lock
	@echo "The environment is ready: 'make' runs the workflow, '. .venv/bin/activate' gives its commands."

tour:  ## the same with config/tour.yaml: more texts, checkpoints and layers, what docs/tour.md shows
	@$(MAKE) --no-print-directory CONFIG=config/tour.yaml

explore: $(ENV)  ## start the explorer: type a text, choose a token, see its path; Ctrl-C ends it
	@$(SNAKEMAKE) --cores $(CORES) explore

report: $(ENV)  ## write results/report.html from the results there are
	@echo "== Report"
	$(SNAKEMAKE) --report results/report.html

manual: $(ENV)  ## write the pages of the manual that come from the catalogue and the schemas
	@PYTHONPATH=workflow .venv/bin/python -m tokentrails.documents.manual

docs: $(DEV)  ## build the manual into site/: open site/index.html, it needs no network
	@NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs --quiet build --strict
	@ls site/index.html

# The run whose numbers the manual quotes, of config/tour.yaml; and `make bench`.
QUOTED ?= results

numbers: $(ENV)  ## fill in the numbers that the manual quotes, from results/numbers.json and bench.csv
	@PYTHONPATH=workflow .venv/bin/python -m tokentrails.documents.quoted $(QUOTED)

# A file of tests to a process, in the order of tests/conftest.py: two processes more than cores,
# since tests of a cluster, of storage and of servers wait for them most of their time. Threads of
# torch on top of that would only be in each other's way.
PYTEST = $(RUN) OMP_NUM_THREADS=1 .venv/bin/python -m pytest --dist loadfile --no-loadscope-reorder \
	--numprocesses $$(( $$(nproc) + 2 ))

test: check  ## run every check, and all tests but the slow ones
	@echo "== pytest"
	@$(PYTEST) -m "not slow"

test-all: check  ## the same with the slow ones: real models, a cluster, storage, large plans
	@echo "== pytest"
	@$(PYTEST)

check: $(DEV)  ## check formats and types, and run the linters
	@echo "== ruff check"
	@.venv/bin/ruff check
	@echo "== ruff format"
	@.venv/bin/ruff format --check
	@echo "== snakefmt"
	@.venv/bin/snakefmt --check Snakefile workflow
	@echo "== snakemake --lint"
	@$(RUN) .venv/bin/snakemake --lint
	@echo "== mypy, while the tests are compiled: each process of pytest would do it anew"
	@$(RUN) .venv/bin/python -m pytest --collect-only >/dev/null 2>&1 & \
		.venv/bin/mypy; status=$$?; wait; exit $$status

bench: $(ENV)  ## measure time and memory into results/bench.*; PARTS="disk senses": only these
	@$(RUN) PYTHONPATH=workflow .venv/bin/python tests/benchmarks/run.py $(PARTS)

# Models of the true sizes with random weights, from a stand-in for the hub. WORDS=0.1: a tenth of
# the words of two experiments, for a first look.
rehearsal: $(DEV)  ## run config/paper.yaml without a network in build/rehearsal (45 GB, hours)
	@$(RUN) PYTHONPATH=workflow .venv/bin/python tests/rehearsal/run.py build/rehearsal \
		$(if $(WORDS),--words $(WORDS))

clean:  ## remove results/, and nothing else
	rm -rf results

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-9s %s\n", $$1, $$2}' Makefile
	@echo
	@echo "PYTHON=python3.12 picks the Python for .venv, CORES=8 limits the workflow,"
	@echo "CONFIG=config/paper.yaml runs another configuration."

$(ENV):
	@echo "== Environment: .venv"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "tokentrails needs Python 3.11 or newer; '$(PYTHON)' is older or missing." >&2; \
		echo "Hint: name another one, as in: make PYTHON=python3.12" >&2; \
		exit 1; }
	@test ! -L .venv || { \
		echo ".venv is a link, and what it leads to would be cleared." >&2; \
		echo "Hint: remove the link, or call .venv/bin/snakemake without make." >&2; \
		exit 1; }
	@$(PYTHON) -m venv --clear .venv
	@echo "== Environment: requirements.lock (the first time this downloads torch, some minutes)"
	@$(PIP) install --no-deps -r requirements.lock
	@.venv/bin/python -c 'import torch' 2>/dev/null || { \
		echo "== Environment: the CUDA libraries of torch (large)"; \
		$(PIP) install -c requirements.lock $(TORCH) && .venv/bin/python -c 'import torch'; }
	@touch $@

$(DEV): $(ENV)
	@echo "== Environment: requirements-dev.lock"
	@$(PIP) install --no-deps -r requirements-dev.lock
	@rm -f .venv/.lock-dev-*
	@touch $@
