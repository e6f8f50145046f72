"""Several engines on this machine: a process each, with GPUs or cores of its own.

A process has one batch at a time and gets the next one when it has answered. None outlives the
stage, however that ends.
"""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import cast

from stages.lib.generations.requests import GeneratedText, Request, Sampling
from stages.lib.inference.engine import Engine
from stages.lib.params.sampling import EngineConfig as Settings
from stages.lib.runtime.child_process import end_with_parent
from stages.lib.runtime.devices import cores, gpus, partition

# Of a process that is to end by itself.
_SECONDS_TO_END = 10


class ProcessPool:
    """Engines in processes of their own, which share the batches."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        """Start ``settings.engines`` processes; each loads the model folder."""
        context = get_context("spawn")
        count = settings.engines
        names = partition(gpus(), count)
        places = partition(cores(), count)
        self._workers = {}
        for part in range(count):
            ours, theirs = context.Pipe()
            arguments = (theirs, folder, settings, None if names[part] else places[part])
            worker = context.Process(target=_serve, args=arguments)
            with _environment(_own(names[part], places[part])):
                worker.start()
            theirs.close()
            self._workers[cast(Connection, ours)] = worker

    def answers(
        self,
        batches: Sequence[Sequence[Request]],
        sampling: Sampling,
        done: Callable[[int], object],
    ) -> Iterator[tuple[int, list[GeneratedText]]]:
        """Yield each batch's number and answers as it is done.

        Raises ChildProcessError if a process ends, behind the answers that others had ready.
        """
        left = iter(enumerate(batches))
        busy: dict[Connection, int] = {}

        def give(to: Connection) -> None:
            for number, batch in left:
                busy[to] = number
                with suppress(OSError):  # one that has ended is found in the next wait
                    to.send((batch, sampling))
                return

        for connection in self._workers:
            give(connection)
        while busy:
            ended = []
            for connection in self._ready(busy):
                number = busy.pop(connection)
                answers = _received(connection)
                if answers is None:
                    ended.append(connection)
                    continue
                give(connection)
                done(len(answers))
                yield number, answers
            if ended:
                raise self._complaint(ended[0])

    def close(self) -> None:
        """End all processes, a batch in the middle with them."""
        for connection in self._workers:
            connection.close()
        until = time.monotonic() + _SECONDS_TO_END
        for worker in self._workers.values():
            worker.join(max(0.0, until - time.monotonic()))
        for worker in self._workers.values():
            worker.kill()
            worker.join()

    def _ready(self, busy: Iterable[Connection]) -> list[Connection]:
        """Wait until some of these processes have answered or ended."""
        # Processes of vLLM's own may hold the pipe of one that has ended.
        ends = {self._workers[connection].sentinel: connection for connection in busy}
        found = wait([*busy, *ends])
        return list({ends.get(cast(int, one), cast(Connection, one)): None for one in found})

    def _complaint(self, connection: Connection) -> ChildProcessError:
        worker = self._workers[connection]
        worker.join(_SECONDS_TO_END)
        which = list(self._workers).index(connection) + 1
        return ChildProcessError(
            f"engine {which} of {len(self._workers)} ended with status {worker.exitcode} "
            "(the log may say why): what is answered is kept, and the next run goes on"
        )


def _received(connection: Connection) -> list[GeneratedText] | None:
    """Return the answers that wait in a pipe, or nothing if its process has ended."""
    with suppress(EOFError, OSError):
        if connection.poll():
            return connection.recv()
    return None


def _serve(
    connection: Connection, folder: Path, settings: Settings, place: Sequence[int] | None
) -> None:
    end_with_parent()
    if place is not None:
        os.sched_setaffinity(0, place)
    engine = Engine(folder, settings)
    while True:
        try:
            batch, sampling = connection.recv()
        except EOFError:
            return
        connection.send(engine.answer(batch, sampling, lambda _: None))


def _own(names: Sequence[str], place: Sequence[int]) -> dict[str, str]:
    """Return what a process has to find in its environment when it starts."""
    if names:
        return {"CUDA_VISIBLE_DEVICES": ",".join(names)}
    return {"OMP_NUM_THREADS": str(len(place))}


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
