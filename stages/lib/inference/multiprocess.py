"""Several engines on this machine: one process each, with GPUs or cores of its own.

A process works on one batch at a time. All processes end with the stage, however it ends.
"""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import cast

from stages.lib.generations.requests import GeneratedText, Request, Sampling
from stages.lib.inference.engine import Engine
from stages.lib.params.sampling import EngineConfig
from stages.lib.runtime.child_process import end_with_parent
from stages.lib.runtime.devices import cores, gpus, partition

# How long a process has to end by itself before it is killed.
_SECONDS_TO_END = 10


class ProcessPool:
    """Engines in processes of their own, which share the batches."""

    def __init__(self, folder: Path, config: EngineConfig) -> None:
        """Start ``config.engines`` processes; each loads the model folder."""
        context = get_context("spawn")
        gpu_parts = partition(gpus(), config.engines)
        cpu_parts = partition(cores(), config.engines)
        self._workers: dict[Connection, BaseProcess] = {}
        for gpu_names, cpus in zip(gpu_parts, cpu_parts, strict=True):
            parent_end, child_end = context.Pipe()
            arguments = (child_end, folder, config, None if gpu_names else cpus)
            worker = context.Process(target=_serve, args=arguments)
            # A child gets its environment from this process when it starts.
            with _environment(_device_variables(gpu_names, cpus)):
                worker.start()
            child_end.close()
            self._workers[cast(Connection, parent_end)] = worker

    def generate_batches(
        self,
        batches: Sequence[Sequence[Request]],
        sampling: Sampling,
        on_progress: Callable[[int], object],
    ) -> Iterator[tuple[int, list[GeneratedText]]]:
        """Yield the index and the texts of each batch as it finishes; see ``Backend``.

        Raises ChildProcessError if a process ends, after the texts that others had ready.
        """
        queue = iter(enumerate(batches))
        busy: dict[Connection, int] = {}

        def send_next(connection: Connection) -> None:
            for number, batch in queue:
                busy[connection] = number
                with suppress(OSError):  # the next wait notices a process that has ended
                    connection.send((batch, sampling))
                return

        for connection in self._workers:
            send_next(connection)
        while busy:
            ended = []
            for connection in self._wait(busy):
                number = busy.pop(connection)
                texts = _receive(connection)
                if texts is None:
                    ended.append(connection)
                    continue
                # Send first, so that the process need not wait while the texts are stored.
                send_next(connection)
                on_progress(len(texts))
                yield number, texts
            if ended:
                raise self._death_of(ended[0])

    def close(self) -> None:
        """End all processes, even in the middle of a batch."""
        for connection in self._workers:
            connection.close()
        deadline = time.monotonic() + _SECONDS_TO_END
        for worker in self._workers.values():
            worker.join(max(0.0, deadline - time.monotonic()))
        for worker in self._workers.values():
            worker.kill()
            worker.join()

    def _wait(self, busy: Iterable[Connection]) -> list[Connection]:
        """Wait until at least one of these processes has texts ready or has ended."""
        # Pipes are not enough: vLLM's own processes may keep the pipe of a dead process open.
        sentinels = {self._workers[connection].sentinel: connection for connection in busy}
        ready = wait([*busy, *sentinels])
        connections = (sentinels.get(cast(int, item), cast(Connection, item)) for item in ready)
        return list(dict.fromkeys(connections))

    def _death_of(self, connection: Connection) -> ChildProcessError:
        worker = self._workers[connection]
        worker.join(_SECONDS_TO_END)
        number = list(self._workers).index(connection) + 1
        return ChildProcessError(
            f"engine {number} of {len(self._workers)} ended with status {worker.exitcode} (the "
            "log may say why): finished texts are kept, and the next run continues from them"
        )


def _receive(connection: Connection) -> list[GeneratedText] | None:
    """Return the texts that wait in a pipe; None if its process has ended."""
    with suppress(EOFError, OSError):
        if connection.poll():
            return connection.recv()
    return None


def _serve(
    connection: Connection, folder: Path, config: EngineConfig, cpus: Sequence[int] | None
) -> None:
    """Generate the batches that arrive in a pipe, until its other end closes."""
    end_with_parent()
    if cpus is not None:
        os.sched_setaffinity(0, cpus)
    engine = Engine(folder, config)
    while True:
        try:
            batch, sampling = connection.recv()
        except EOFError:
            return
        connection.send(engine.generate(batch, sampling, lambda _: None))


def _device_variables(gpu_names: Sequence[str], cpus: Sequence[int]) -> dict[str, str]:
    """Return the environment variables that give a process its GPUs, or its number of threads."""
    if gpu_names:
        return {"CUDA_VISIBLE_DEVICES": ",".join(gpu_names)}
    return {"OMP_NUM_THREADS": str(len(cpus))}


@contextmanager
def _environment(changes: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
