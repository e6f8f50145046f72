"""The queue of an engine: batches of requests, which finish request by request.

A batch is the unit that is stored. In an engine that takes one batch after the other, requests
of the same batch run together, so that their rounding depends on the batch alone; but at the end
of each batch the engine runs ever fewer requests. With a higher limit the next batches join
before the first one has ended, and the engine stays full until the last batch.
"""

from collections.abc import Callable, Generator, Iterable, Sequence
from typing import Protocol

from stages.lib.generations.requests import GeneratedText, Request, Sampling

FinishedBatch = tuple[int, list[GeneratedText]]
"""The number of a batch, and its texts in the order of its requests."""


class RequestRunner(Protocol):
    """Generates the texts of single requests, all of those that run at the same time."""

    def add_request(self, name: str, request: Request, sampling: Sampling) -> None:
        """Add a request to those that run, or wait to."""
        ...

    def step(self) -> Iterable[tuple[str, GeneratedText]]:
        """Generate a token of each running request; return the name and text of finished ones."""
        ...

    def abort_requests(self, names: Sequence[str]) -> None:
        """Forget requests that have not finished."""
        ...

    def reset_prefix_cache(self) -> object:
        """Forget the prompts of earlier requests."""
        ...


class BatchQueue:
    """The batches that a runner generates: which requests of each have finished."""

    def __init__(self, runner: RequestRunner, limit: int) -> None:
        """Begin empty.

        There is room for another batch while fewer than ``limit`` requests are unfinished: 1
        lets batches run one after the other.
        """
        self._runner, self._limit = runner, limit
        self._unfinished: dict[int, set[int]] = {}
        self._texts: dict[int, dict[int, GeneratedText]] = {}

    @property
    def has_room(self) -> bool:
        """Return whether another batch may be added."""
        return sum(map(len, self._unfinished.values())) < self._limit

    def __len__(self) -> int:
        """Return the number of unfinished batches."""
        return len(self._unfinished)

    def add(self, number: int, batch: Sequence[Request], sampling: Sampling) -> None:
        """Add a batch of at least one request.

        A batch that is alone begins with an empty prefix cache, as in a process of its own.
        """
        if not self._unfinished:
            self._runner.reset_prefix_cache()
        self._unfinished[number], self._texts[number] = set(range(len(batch))), {}
        for position, request in enumerate(batch):
            self._runner.add_request(f"{number}:{position}", request, sampling)

    def step(self, on_progress: Callable[[int], object]) -> list[FinishedBatch]:
        """Let the runner make a step; return the batches that are finished by it.

        ``on_progress`` is called with the number of requests that have just finished.
        """
        finished = []
        for name, text in self._runner.step():
            number, position = map(int, name.split(":"))
            self._unfinished[number].remove(position)
            self._texts[number][position] = text
            on_progress(1)
            if not self._unfinished[number]:
                del self._unfinished[number]
                texts = self._texts.pop(number)
                finished.append((number, [texts[position] for position in range(len(texts))]))
        return finished

    def clear(self) -> None:
        """Abort what is unfinished."""
        self._runner.abort_requests(
            [f"{number}:{i}" for number, left in self._unfinished.items() for i in left]
        )
        self._unfinished, self._texts = {}, {}


def run_batches(
    queue: BatchQueue,
    batches: Iterable[Sequence[Request]],
    sampling: Sampling,
    on_progress: Callable[[int], object],
) -> Generator[FinishedBatch, None, None]:
    """Yield each batch when it is finished; further ones are added while there is room.

    If the caller stops before the end, the rest is aborted.
    """
    try:
        for number, batch in enumerate(batches):
            while not queue.has_room:
                yield from queue.step(on_progress)
            queue.add(number, batch, sampling)
        while len(queue):
            yield from queue.step(on_progress)
    finally:
        queue.clear()
