"""How batches are shared out among actors, with actors in this process instead of Ray's."""

from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray.exceptions import ActorDiedError

from stages.lib.inference import ray_cluster
from stages.lib.inference.queue import BatchQueue
from stages.lib.inference.ray_cluster import RayPool
from tests.conftest import engine_config
from tests.lib.inference.test_queue import (
    BATCH,
    RUNNING,
    SAMPLING,
    FakeRunner,
    some_batches,
    texts_of,
)


class FakeCluster:
    """Calls an actor's methods when their results are asked for; kills it where it is told to."""

    def __init__(self, limit: int, dies: Callable[[int, set[int]], bool]) -> None:
        self.limit, self.dies = limit, dies
        self.calls: list[tuple[Any, Any]] = []
        self.most: list[int] = []  # batches that an actor had at a time, by actor

    def remote(self, actor: type) -> Any:
        return SimpleNamespace(options=lambda **_: SimpleNamespace(remote=self.start(actor)))

    def start(self, actor: type) -> Callable[..., Any]:
        def construct(*args: Any) -> Any:
            instance, number = actor(*args), len(self.most)
            self.most.append(0)
            return SimpleNamespace(advance=SimpleNamespace(remote=self.call(instance, number)))

        return construct

    def call(self, instance: Any, number: int) -> Callable[..., object]:
        held: set[int] = set()

        def call(new: dict[int, Any], sampling: Any, *, more: bool) -> object:
            held.update(new)
            self.most[number] = max(self.most[number], len(held))

            def run() -> Any:
                if self.dies(number, held):
                    raise ActorDiedError
                finished, has_room = instance.advance(new, sampling, more=more)
                held.difference_update(batch for batch, _ in finished)
                return finished, has_room

            return run

        return call

    @staticmethod
    def wait(calls: Sequence[Any], num_returns: int) -> tuple[list[Any], list[Any]]:
        return list(calls[:num_returns]), list(calls[num_returns:])


def pool(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    *,
    limit: int,
    dies: Callable[[int, set[int]], bool] = lambda *_: False,
) -> tuple[RayPool, FakeCluster]:
    """Return a pool of three actors, and the cluster that it believes to be Ray."""
    cluster = FakeCluster(limit, dies)
    fake = SimpleNamespace(
        init=lambda **_: None,
        nodes=lambda: [{"Alive": True, "Resources": {"CPU": 8.0}}],
        remote=cluster.remote,
        wait=cluster.wait,
        get=lambda call: call(),
        kill=lambda _: None,
        shutdown=lambda: None,
    )
    monkeypatch.setattr(ray_cluster, "ray", fake)
    engine = lambda *_: SimpleNamespace(queue=BatchQueue(FakeRunner(), limit))  # noqa: E731
    monkeypatch.setattr(ray_cluster, "Engine", engine)
    return RayPool(tmp_path, engine_config(engines=3)), cluster


def check(pool: RayPool, count: int) -> None:
    """Let a pool generate some batches, and check that each comes once with its texts."""
    batches, progress = some_batches(count), list[int]()
    finished = list(pool.generate_batches(batches, SAMPLING, progress.append))
    assert sorted(number for number, _ in finished) == list(range(count))
    for number, texts in finished:
        assert [generated.text for generated in texts] == texts_of(batches[number])
    assert sum(progress) == sum(map(len, batches))


ROLLING = RUNNING + BATCH


@pytest.mark.parametrize(
    ("limit", "count", "most"),
    [(1, 9, [1]), (ROLLING, 4, [1]), (ROLLING, 8, [2]), (ROLLING, 60, [4, 5])],
)
def test_actors_hold_as_many_batches_as_they_have_room_for_and_their_share(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, limit: int, count: int, most: list[int]
) -> None:
    actors, cluster = pool(monkeypatch, tmp_path, limit=limit)
    check(actors, count)
    assert set(cluster.most) <= set(most)
    check(actors, count)
    assert len(cluster.most) == 3  # the actors of the round before


@pytest.mark.parametrize("limit", [1, ROLLING])
def test_the_batches_of_a_dead_actor_are_generated_by_another(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, limit: int
) -> None:
    actors, cluster = pool(
        monkeypatch, tmp_path, limit=limit, dies=lambda actor, held: actor == 1 and max(held) > 5
    )
    check(actors, 30)
    assert len(cluster.most) == 4


def test_a_batch_that_kills_every_actor_ends_the_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    actors, cluster = pool(monkeypatch, tmp_path, limit=1, dies=lambda _, held: 7 in held)
    with pytest.raises(RuntimeError, match="actor died"):
        check(actors, 30)
    assert len(cluster.most) == 3 + 3  # the fourth is not replaced
