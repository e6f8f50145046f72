"""Run a stage in several processes with accelerate; each runs the stage's own module."""

import os
import signal
import sys

from stages.lib.core.paths import ACCELERATE
from stages.lib.params.training import Launch
from stages.lib.runtime import child_process, console

# Torch kills processes this many seconds after it has passed a SIGTERM on, by default 30: the
# checkpoint of a 7B model takes longer.
_SHUTDOWN_TIMEOUT = {"TORCH_ELASTIC_SHUTDOWN_TIMEOUT": "600"}


def count_processes(launch: Launch | None) -> int:
    """Return how many processes share the work of each step."""
    return 1 if launch is None else launch.processes


def splits_model(launch: Launch | None) -> bool:
    """Return whether no process holds all of the parameters while training."""
    return launch is not None and launch.strategy == "fsdp2"


def launch_processes(launch: Launch, stage: str, item: str) -> None:
    """Run ``python -m stages.STAGE ITEM`` in ``launch.processes`` processes, to their end.

    A SIGTERM is passed on to them. Raises ChildProcessError if one of them fails; the first
    process says why.
    """
    threads = max(1, len(os.sched_getaffinity(0)) // launch.processes)
    command = [
        *(sys.executable, "-m", "accelerate.commands.launch"),
        *("--config_file", str(ACCELERATE / f"{launch.strategy}.yaml")),
        *("--num_processes", str(launch.processes)),
        *("--num_cpu_threads_per_process", str(threads)),
        *("-m", f"stages.{stage}", item),
    ]
    environment = console.environment() | _SHUTDOWN_TIMEOUT
    # A launcher that outlived its stage would go on training beside the next run.
    launcher = child_process.start(command, environment)
    before = signal.signal(signal.SIGTERM, lambda *_: launcher.terminate())
    try:
        status = launcher.wait()
    finally:
        signal.signal(signal.SIGTERM, before)
    if status:
        raise ChildProcessError(f"{launch.processes} processes by {launch.strategy}: see logs/")
