# Ten papers, each with its own environment. `make help` lists the commands.

PYTHON ?= python3
SCALE ?= laptop
ARGS ?=
SHELL := /bin/bash

# A folder with a train.py is a paper; nothing has to be listed here.
PAPERS := $(sort $(patsubst %/train.py,%,$(wildcard */train.py)))
PROJECTS := shared $(PAPERS)

# uv is taken from the PATH, or fetched by pip into .tools.
UV := $(or $(shell command -v uv 2>/dev/null),$(CURDIR)/.tools/bin/uv)
UV_FIND_LINKS ?= $(PIP_FIND_LINKS)
UV_PYTHON_DOWNLOADS ?= never
export UV_FIND_LINKS UV_PYTHON_DOWNLOADS
# Large tensors in huge pages that are kept when freed: a training step on a CPU then spends a tenth less on page faults.
GLIBC_TUNABLES ?= glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=4294967296:glibc.malloc.trim_threshold=17179869184
# Bytecode is compiled at once: the tests start many short processes.
INSTALL = $(UV) pip install --quiet --compile-bytecode --constraints constraints.txt --overrides overrides.txt

LAUNCH_laptop = .venv/bin/python
LAUNCH_paper = .venv/bin/accelerate launch
LAUNCH = $(or $(LAUNCH_$(SCALE)),.venv/bin/python)
READY_paper = .ready-paper
READY = $(or $(READY_$(SCALE)),.ready)

.PHONY: help reproduce test lint clean $(PAPERS:%=reproduce-%) $(PAPERS:%=bench-%) $(PROJECTS:%=test-%) $(PROJECTS:%=types-%)
.DELETE_ON_ERROR:
.SECONDARY:

help:
	@echo "make reproduce-<paper>   environment, training and evaluation at the default scale, result table, report"
	@echo "make reproduce           the same for every paper"
	@echo "make test-<paper>        a paper's tests in its own environment (test-shared for the common package)"
	@echo "make test                all tests"
	@echo "make bench-<paper>       side by side with other libraries, printed as ratios"
	@echo "make lint                format, rules, types, import boundaries"
	@echo "make clean               remove the environments; results and caches stay"
	@echo
	@echo "papers: $(PAPERS)"
	@echo "SCALE=paper make reproduce-<paper>          the paper's own setting, by accelerate on the GPUs there are"
	@echo "make reproduce-<paper> ARGS='seed=1'        any Hydra override"

reproduce: $(PAPERS:%=reproduce-%)
test: $(PROJECTS:%=test-%)

$(PAPERS:%=reproduce-%): reproduce-%: %/.venv/$(READY)
	cd $* && GLIBC_TUNABLES=$(GLIBC_TUNABLES) $(LAUNCH) train.py scale=$(SCALE) $(ARGS)
	cd $* && GLIBC_TUNABLES=$(GLIBC_TUNABLES) .venv/bin/python eval.py scale=$(SCALE) $(ARGS)

$(PROJECTS:%=test-%): test-%: %/.venv/.ready
	cd $* && .venv/bin/python -m pytest $(ARGS)

$(PAPERS:%=bench-%): bench-%: %/.venv/.ready-bench
	cd $* && .venv/bin/python -m benchmarks $(ARGS)

lint: .lint/.ready $(PROJECTS:%=types-%)
	.lint/bin/ruff format --check .
	.lint/bin/ruff check .
	$(PYTHON) .ci/check_imports.py

$(PROJECTS:%=types-%): types-%: .lint/.ready %/.venv/.ready
	cd $* && ../.lint/bin/mypy --config-file ../mypy.ini --python-executable .venv/bin/python src

clean:
	rm -rf .tools .lint $(PROJECTS:%=%/.venv)

# -- environments: made once, and again when what they are made of changes

%/.venv/.ready: %/pyproject.toml shared/pyproject.toml constraints.txt overrides.txt | $(UV)
	$(UV) venv --quiet --allow-existing --python $(PYTHON) $*/.venv
	$(INSTALL) --python $*/.venv/bin/python -e shared -e '$*[test]'
	@touch $@

%/.venv/.ready-bench: %/.venv/.ready
	$(INSTALL) --python $*/.venv/bin/python -e shared -e '$*[test,bench]'
	@touch $@

%/.venv/.ready-paper: %/.venv/.ready
	$(INSTALL) --python $*/.venv/bin/python -e shared -e '$*[test,paper]'
	@touch $@

.lint/.ready: constraints.txt | $(UV)
	$(UV) venv --quiet --allow-existing --python $(PYTHON) .lint
	$(INSTALL) --python .lint/bin/python ruff mypy
	@touch $@

$(CURDIR)/.tools/bin/uv:
	$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed; set PYTHON=")'
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --target .tools uv
