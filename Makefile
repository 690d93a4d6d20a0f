# `make setup`, `make demo` and `make test` need Python 3.11 or newer and nothing else; what the
# tests need beyond it, they name (.ci/run installs it on Debian).

PYTHON ?= python3
UV := $(or $(shell command -v uv 2>/dev/null),.cache/uv/bin/uv)
RUN := .venv/bin
# Compiled modules are kept: thousands of short commands would compile them anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: setup build-extra demo test test-all lint types unit unit-all bench clean

setup: .venv/ready

.venv/ready: pyproject.toml uv.lock | $(UV)
	@$(UV) sync --frozen --quiet --python $(PYTHON)
	@touch $@
	@echo "Ready: $(RUN)/orchestrate --help"

.cache/uv/bin/uv:
	$(PYTHON) -m venv .cache/uv
	.cache/uv/bin/pip install --quiet uv

# What LiteRT, Core ML, TensorRT engines and fine-tuning need. pip, because it finds a PyTorch for CPUs where there is
# one; with the one for GPUs this is some gigabytes.
build-extra: .venv/build-extra

.venv/build-extra: .venv/ready
	@$(PYTHON) -m pip --python $(RUN)/python install --quiet --disable-pip-version-check \
		torch==2.13.0 litert-torch==0.10.0 ai-edge-litert==2.3.0 ai-edge-quantizer==0.10.0 \
		coremltools==9.0 \
		tensorrt-rtx-cu12-libs==1.7.1.116 tensorrt-rtx-cu12-bindings==1.7.1.116
	@touch $@

demo: setup
	@$(RUN)/python -m orchestrator.lab.demo

# All but the tests that are marked slow; CI runs those too.
test: lint types unit

test-all: lint types unit-all

lint: setup
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .

types: setup
	$(RUN)/mypy

# Three workers share the cores: threads of NumPy that wait for each other would be in the way.
unit unit-all: export OPENBLAS_NUM_THREADS = 1
unit: setup build-extra
	$(RUN)/pytest -n 3 --dist loadgroup -m "not slow"

unit-all: setup build-extra
	$(RUN)/pytest -n 3 --dist loadgroup

bench: setup
	$(UV) sync --frozen --quiet --group bench
	$(RUN)/python bench/startup.py
	$(RUN)/python bench/memory.py
	$(RUN)/python bench/fanout.py

clean:
	rm -rf .venv .cache .pytest_cache .mypy_cache .ruff_cache .hypothesis
