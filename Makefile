# `make demo` and `make test` set everything up themselves, in .venv; nothing else has to be installed
# but Python 3.11 or newer with venv, and make.

PYTHON ?= python3
VERSION := $(shell $(PYTHON) -c 'import sys; print(*sys.version_info[:2], sep=".")')
# .venv is of the Python that made it; another one gets an environment beside it.
VENV := $(if $(filter-out $(VERSION),$(shell test ! -x .venv/bin/python || .venv/bin/python -c 'import sys; print(*sys.version_info[:2], sep=".")')),.venv-$(VERSION),.venv)
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed

.PHONY: demo test fuzz contract docs lint types browser format bench clean

demo: $(INSTALLED)
	$(BIN)/yolo-synth demo

test: lint types browser
	@$(BIN)/python -c 'import sys; print("tests on Python", sys.version.split()[0], "in $(VENV)")'
	$(BIN)/python -m pytest -q -n 2 --dist loadfile

# The suite's properties of parsers, 10,000 new cases each; SEED=N draws those of before.
SEED := $(shell od -An -N4 -tu4 /dev/urandom | tr -d ' ')
fuzz: $(INSTALLED)
	@echo "seed $(SEED): make fuzz SEED=$(SEED) draws the same"
	$(BIN)/python -m pytest -q -n 2 -m fuzz --hypothesis-profile=fuzz --hypothesis-seed=$(SEED)

# The networks of transformers and timm, on the oldest and the newest versions that are supported.
contract: $(INSTALLED)
	bash benchmarks/contract.sh $(BIN)/python

docs: $(INSTALLED)
	$(BIN)/python docs/build.py docs/api

# The report's page is tested in a real browser. Where there is none and Debian's packages can be
# installed, they are; elsewhere those tests are skipped and say so.
browser:
	@command -v chromium >/dev/null || test "$$(id -u)" != 0 || ! command -v apt-get >/dev/null || \
	  (apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y chromium chromium-driver >/dev/null) || \
	  echo "no chromium: the tests of the report's page will be skipped"

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(INSTALLED)
	$(BIN)/mypy

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(INSTALLED): pyproject.toml setup.py constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12 ...")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

bench: $(INSTALLED)
	$(BIN)/python benchmarks/similarity.py
	$(BIN)/python benchmarks/loading.py
	$(BIN)/python benchmarks/training.py
	$(BIN)/python benchmarks/evaluation.py

clean:
	rm -rf .venv .venv-3.* demo docs/api
