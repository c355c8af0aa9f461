# make demo: from nothing to the three-phase curve.   make paper: every claim.   make test: everything that is tested.   make help: this list.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CONFIG := train/recipes/three_phases/mini.yaml

.PHONY: help install demo paper test compat lint clean

help:
	@echo "make demo     train the mini recipe on the CPU into runs/demo and judge it (minutes; again: resume or print)"
	@echo "make paper    run the mini recipes of all claims, judge them, and write runs/paper-mini/report.html (hours; again: resume)"
	@echo "make test     run all tests"
	@echo "make compat   compare all bytes across versions of Python, NumPy, pyarrow and datasets"
	@echo "make lint     ruff and mypy"
	@echo "make install  make .venv with the package and all extras"
	@echo "make clean    remove .venv and .compat (runs/ is kept)"

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "make: error: $(PYTHON) is $$($(PYTHON) --version); it must be Python 3.11 or newer: make PYTHON=python3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	PIP_CONSTRAINT=constraints.txt $(BIN)/python -m pip install --quiet --editable ".[test]"
	@touch $@

demo: install
	ACCELERATE_USE_CPU=true $(BIN)/python train/pretrain.py --config $(CONFIG) --output-dir runs/demo --seed 10
	@$(BIN)/python eval/analysis/three_phases.py runs/demo

paper: install
	$(BIN)/python train/run_all.py --scale mini

test: install
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile

compat:
	$(PYTHON) tests/compat.py

lint: install
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

clean:
	rm -rf $(VENV) .compat
