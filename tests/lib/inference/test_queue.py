"""The queue of an engine: kept full, bounded, and every batch comes once and whole."""

from collections import Counter
from collections.abc import Iterator, Sequence
from random import Random

import pytest

from stages.lib.generations.requests import GeneratedText, Request, Sampling
from stages.lib.inference.queue import BatchQueue, FinishedBatch, run_batches

SAMPLING = Sampling(temperature=0.7, top_p=1.0, seed=1)
RUNNING, BATCH = 6, 4


class FakeRunner:
    """Runs the first few of its requests, each for as many steps as it may have tokens."""

    def __init__(self, running: int = RUNNING) -> None:
        self.running = running
        self.left: dict[str, int] = {}
        self.prompts: dict[str, tuple[int, ...]] = {}
        self.held: list[int] = []  # how many requests it had, by step
        self.events: list[str] = []

    def add_request(self, name: str, request: Request, sampling: Sampling) -> None:
        assert name not in self.left
        assert sampling == SAMPLING
        self.left[name], self.prompts[name] = request.max_tokens, request.prompt
        self.events.append(f"add {name}")

    def step(self) -> Iterator[tuple[str, GeneratedText]]:
        self.held.append(len(self.left))
        for name in list(self.left)[: self.running]:
            self.left[name] -= 1
            if not self.left[name]:
                del self.left[name]
                self.events.append(f"end {name}")
                text = f"text of {self.prompts[name]}"
                yield name, GeneratedText(text, "stop", len(self.prompts[name]))

    def abort_requests(self, names: Sequence[str]) -> None:
        for name in names:
            del self.left[name]

    def reset_prefix_cache(self) -> None:
        self.events.append("reset")


def some_batches(count: int, *, longest: int = 30) -> list[list[Request]]:
    """Return batches of requests of very different lengths; the last one is smaller."""
    random = Random(0)
    requests = [
        Request(f"p{i}", "cot", 0, 0, (i, i + 1), random.randint(1, longest))
        for i in range(count * BATCH - 1)
    ]
    return [requests[start : start + BATCH] for start in range(0, len(requests), BATCH)]


def texts_of(batch: Sequence[Request]) -> list[str]:
    return [f"text of {request.prompt}" for request in batch]


def run(
    runner: FakeRunner, batches: Sequence[Sequence[Request]], limit: int
) -> tuple[list[FinishedBatch], int]:
    """Return the finished batches in their order, and the number of requests reported."""
    progress: list[int] = []
    finished = list(run_batches(BatchQueue(runner, limit), batches, SAMPLING, progress.append))
    return finished, sum(progress)


@pytest.mark.parametrize("limit", [1, RUNNING, RUNNING + BATCH, 1_000])
def test_every_batch_comes_once_with_its_texts_in_order(limit: int) -> None:
    batches = some_batches(12)
    finished, progress = run(FakeRunner(), batches, limit)
    assert sorted(number for number, _ in finished) == list(range(12))
    for number, texts in finished:
        assert [generated.text for generated in texts] == texts_of(batches[number])
    assert progress == sum(map(len, batches)) == 47


def test_one_after_the_other_no_two_batches_run_together() -> None:
    runner = FakeRunner()
    finished, _ = run(runner, some_batches(5), limit=1)
    assert [number for number, _ in finished] == list(range(5))
    # Each begins with an empty cache, and ends before the next begins.
    seen: list[str] = []
    for event in runner.events:
        kind = "reset" if event == "reset" else f"{event.split(':')[0]}"
        if not seen or seen[-1] != kind:
            seen.append(kind)
    assert seen == [step for i in range(5) for step in ("reset", f"add {i}", f"end {i}")]


def test_a_rolling_queue_is_full_until_the_last_batch_and_never_holds_many() -> None:
    batches = some_batches(40)
    limit = RUNNING + BATCH
    rolling, barrier = FakeRunner(), FakeRunner()
    run(rolling, batches, limit)
    run(barrier, batches, 1)
    assert max(rolling.held) < limit + BATCH
    last_add = max(i for i, event in enumerate(rolling.events) if event.startswith("add"))
    ends = sum(event.startswith("end") for event in rolling.events[:last_add])
    # Full for all but the steps that the last requests take.
    full = [held >= rolling.running for held in rolling.held]
    assert all(full[: full.index(False)])
    assert not any(full[full.index(False) :])
    assert ends > 0.9 * sum(map(len, batches)) - limit
    # The work of the whole, on a runner that is never short of requests, and of the tail.
    work = sum(request.max_tokens for batch in batches for request in batch)
    assert len(rolling.held) <= work / RUNNING + 30
    assert len(barrier.held) > 1.5 * len(rolling.held)
    assert Counter(rolling.events)["reset"] == 1


def test_a_caller_that_stops_leaves_nothing_behind() -> None:
    runner, batches = FakeRunner(), some_batches(12)
    queue = BatchQueue(runner, RUNNING + BATCH)
    running = run_batches(queue, batches, SAMPLING, lambda _: None)
    first, _ = next(running)
    assert runner.left
    running.close()
    assert not runner.left
    assert len(queue) == 0
    # What a resumed run asks for: all but the stored batch.
    rest = [batch for number, batch in enumerate(batches) if number != first]
    again = dict(run_batches(queue, rest, SAMPLING, lambda _: None))
    assert [[generated.text for generated in again[number]] for number in range(11)] == [
        texts_of(batch) for batch in rest
    ]
