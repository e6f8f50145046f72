"""Several engines on this machine: a process each, with GPUs or cores of its own.

A process has one batch at a time and gets the next one when it has answered. It ends when its
pipe closes, so none outlives the stage, however that ends.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import cast

from stages.lib.devices import cores, dealt, gpus
from stages.lib.generation import Answer, Engine, Request, Sampling
from stages.lib.params.sampling import Engine as Settings

# Of a process that is to end by itself.
_SECONDS_TO_END = 10


class Processes:
    """Engines in processes of their own, which share the batches."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        """Start ``settings.engines`` processes; each loads the model folder."""
        context = get_context("spawn")
        count = settings.engines
        names = dealt(gpus(), count)
        places = dealt(cores(), count)
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
    ) -> Iterator[tuple[int, list[Answer]]]:
        """Yield each batch's number and answers as it is done.

        Raises ChildProcessError if a process ends.
        """
        left = iter(enumerate(batches))
        busy: dict[Connection, int] = {}

        def give(to: Connection) -> None:
            for number, batch in left:
                busy[to] = number
                with self._complaint(to):
                    to.send((batch, sampling))
                return

        for connection in self._workers:
            give(connection)
        while busy:
            for ready in wait(list(busy)):
                connection = cast(Connection, ready)
                number = busy.pop(connection)
                with self._complaint(connection):
                    answers = connection.recv()
                give(connection)
                done(len(answers))
                yield number, answers

    def close(self) -> None:
        """End all processes, a batch in the middle with them."""
        for connection in self._workers:
            connection.close()
        for worker in self._workers.values():
            worker.join(_SECONDS_TO_END)
            worker.terminate()
            worker.join()

    @contextmanager
    def _complaint(self, connection: Connection) -> Iterator[None]:
        try:
            yield
        except (EOFError, ConnectionError) as error:
            worker = self._workers[connection]
            worker.join(_SECONDS_TO_END)
            which = list(self._workers).index(connection) + 1
            raise ChildProcessError(
                f"engine {which} of {len(self._workers)} ended with status {worker.exitcode} "
                "(the log may say why): what is answered is kept, and the next run goes on"
            ) from error


def _serve(
    connection: Connection, folder: Path, settings: Settings, place: Sequence[int] | None
) -> None:
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
