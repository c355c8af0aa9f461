# make demo: from an empty machine to the curve of the three phases.   make help: all commands.
PYTHON ?= python3
# Two environments: for training, analyses and our own tests; and, with more packages, for make test-ecosystem.
VENV := .venv
ECOSYSTEM := .venv-ecosystem
BIN := $(VENV)/bin
CONFIG := train/recipes/three_phases/mini.yaml

# The build of PyTorch: cpu, cuda, default (what the package index has), or auto; .ci/install_torch says how auto decides.
TORCH ?= auto
TORCH_CPU_INDEX ?= https://download.pytorch.org/whl/cpu
NVIDIA_DRIVER := $(firstword $(wildcard /proc/driver/nvidia/version /dev/nvidiactl /dev/dxg))

PIP := PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt PIP_DISABLE_PIP_VERSION_CHECK=1
PYTEST := -m pytest --numprocesses auto --dist loadfile -r s

.PHONY: help install demo paper test test-fast test-ecosystem compat lint docs notebook constraints clean force

help:
	@echo "With the times on two CPU cores:"
	@echo "make demo            train the mini recipe into runs/demo and measure it (5 to 15 min; reruns resume it or print the verdict)"
	@echo "make paper           run the mini recipes of all claims, write runs/paper-mini/report.html (hours; reruns resume)"
	@echo "make test-fast       run the unit tests (2 min)"
	@echo "make test            run all tests of our own code (10 min)"
	@echo "make test-ecosystem  run the tests that need other packages, in .venv-ecosystem (10 min)"
	@echo "make compat          compare all bytes across versions of Python, NumPy, pyarrow and datasets; models in transformers 4 (5 min)"
	@echo "make lint            run ruff and mypy (1 min)"
	@echo "make docs            build the documentation into site/html (1 min)"
	@echo "make notebook        run docs/three_phases.ipynb and save it with its outputs (2 min)"
	@echo "make install         make .venv with what make test needs (2 min; make demo installs less)"
	@echo "make constraints     compile constraints.txt anew; UPGRADE=1 takes the newest versions (1 min)"
	@echo "make clean           remove .venv, .venv-ecosystem and .compat (runs/ is kept)"
	@echo "TORCH=cpu, TORCH=cuda or TORCH=default chooses the build of PyTorch: make demo TORCH=cuda"

install: $(VENV)/.installed-test

# A stamp file for each set of packages. PyTorch is installed first, because its build depends on the machine.
other_build = $(if $(filter auto $(shell cat $(1)/.torch 2>/dev/null),$(TORCH)),,force)
$(VENV)/.torch: constraints.txt $(call other_build,$(VENV))
$(ECOSYSTEM)/.torch: constraints.txt $(call other_build,$(ECOSYSTEM))

$(VENV)/.torch $(ECOSYSTEM)/.torch:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "make: error: $(PYTHON) is $$($(PYTHON) --version); it must be Python 3.11 or newer: make PYTHON=python3.11" >&2; exit 1; }
	@test -x $(@D)/bin/python || $(PYTHON) -m venv $(@D)
	@$(PIP) TORCH='$(TORCH)' TORCH_CPU_INDEX='$(TORCH_CPU_INDEX)' NVIDIA_DRIVER='$(NVIDIA_DRIVER)' .ci/install_torch $(@D)

$(VENV)/.installed-demo: pyproject.toml constraints.txt $(VENV)/.torch
	@echo "make: installing what training and analyses need into $(VENV), 53 packages beside PyTorch: about 1 minute"
	$(PIP) $(BIN)/python -m pip install --editable ".[train]"
	@touch $@

$(VENV)/.installed-test: pyproject.toml constraints.txt $(VENV)/.torch
	@echo "make: installing what our own tests need into $(VENV), 87 packages beside PyTorch: about 2 minutes"
	$(PIP) $(BIN)/python -m pip install "pip>=25.1"
	$(PIP) $(BIN)/python -m pip install --editable ".[paper]" --group test
	@touch $(VENV)/.installed-demo $@

$(ECOSYSTEM)/.installed: pyproject.toml constraints.txt $(ECOSYSTEM)/.torch
	@echo "make: installing all extras and what their tests need into $(ECOSYSTEM), 247 packages beside PyTorch: about 3 minutes"
	$(PIP) $(ECOSYSTEM)/bin/python -m pip install "pip>=25.1"
	$(PIP) $(ECOSYSTEM)/bin/python -m pip install --editable ".[hub,datatrove,train,paper,eval,harness,inspect]" --group test --group ecosystem --group docs
	@touch $@

$(VENV)/.installed-docs: pyproject.toml constraints.txt $(VENV)/.torch
	@echo "make: installing what the documentation needs into $(VENV), beside what training needs: about 1 minute"
	$(PIP) $(BIN)/python -m pip install "pip>=25.1"
	$(PIP) $(BIN)/python -m pip install --editable ".[train]" --group docs
	@touch $(VENV)/.installed-demo $@

demo: $(VENV)/.installed-demo
	ACCELERATE_USE_CPU=true $(BIN)/python train/pretrain.py --config $(CONFIG) --output-dir runs/demo --seed 0
	@$(BIN)/python eval/analysis/three_phases.py runs/demo

paper: $(VENV)/.installed-demo
	$(BIN)/python train/run_all.py --scale mini

test-fast: install
	$(BIN)/python $(PYTEST) -m "unit and not ecosystem"

TESTS ?= not ecosystem
test: install
	$(BIN)/python $(PYTEST) -m "$(TESTS)"

test-ecosystem: $(ECOSYSTEM)/.installed
	$(ECOSYSTEM)/bin/python $(PYTEST) -m ecosystem

compat: $(VENV)/.installed-demo
	$(PYTHON) tests/compat.py
	$(BIN)/python tests/old_transformers.py --folder .compat/transformers-4

lint: install
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

docs: $(VENV)/.installed-docs
	$(BIN)/python docs/build.py

notebook: $(VENV)/.installed-docs
	$(BIN)/python docs/run_notebook.py

constraints:
	$(PYTHON) .ci/compile_constraints.py $(if $(UPGRADE),--upgrade)

clean:
	rm -rf $(VENV) $(ECOSYSTEM) .compat
