"""Several engines: real ones on the tiny model, of which one is killed in the middle."""

import os
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import psutil
import pytest

from stages.lib.core.schema import Generation
from stages.lib.generations.complete import generate_missing
from stages.lib.generations.requests import Backend, Request, Sampling
from stages.lib.generations.store import Key, Store, key
from stages.lib.inference import pool
from stages.lib.inference.pool import EnginePool
from stages.lib.inference.ray_cluster import Actor, actor_resources
from tests.conftest import engine_config

if TYPE_CHECKING:
    from stages.lib.inference.engine import Engine

# Each of these starts processes by the handful.
pytestmark = pytest.mark.xdist_group("engines")

SAMPLING = Sampling(temperature=0.7, top_p=1.0, seed=1)
RANDOM = Random(0)
REQUESTS = [
    Request(f"p{number}", "cot", 0, 0, tuple(RANDOM.choices(range(3, 250), k=20)), 120)
    for number in range(48)
]


class WatchedStore(Store):
    """Records what is appended, and calls a function after the first time."""

    def __init__(self, folder: Path, then: Callable[[], object] = lambda: None) -> None:
        super().__init__(folder)
        self.then = then
        self.appended: list[Key] = []

    def append(self, rows: Sequence[Generation]) -> None:
        first = not self.appended
        self.appended += map(key, rows)
        super().append(rows)
        if first:
            self.then()


def complete(store: Store, load: Callable[[], Backend]) -> list[str]:
    """Complete a store; return the names of its shards, which have their hashes."""
    generate_missing(
        store,
        REQUESTS,
        model="m",
        sampling=SAMPLING,
        settings=engine_config(),
        load=load,
        desc="test",
    )
    return sorted(shard.name for shard in store.folder.glob("*.parquet"))


@pytest.fixture(scope="module")
def alone(tiny_engine: "Engine", tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Return the shards of one engine in this process."""
    return complete(Store(tmp_path_factory.mktemp("alone")), lambda: tiny_engine)


def kill(chosen: Callable[[psutil.Process], bool]) -> int:
    """Kill a process below this one that ``chosen`` is true of; return its number."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for process in psutil.Process().children(recursive=True):
            try:
                if chosen(process):
                    os.kill(process.pid, signal.SIGKILL)
                    return process.pid
            except psutil.NoSuchProcess:
                continue
    raise AssertionError("no process to kill")


def is_busy_actor(process: psutil.Process) -> bool:
    # Ray names a process by the method that it runs.
    return "Actor.advance" in process.name() + " ".join(process.cmdline())


def test_an_actor_of_ray_that_is_killed_costs_no_row_and_doubles_none(
    tmp_path: Path, tiny_base: Path, alone: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Ray shall neither kill nor slow its processes for what else runs on this machine.
    monkeypatch.setenv("RAY_memory_monitor_refresh_ms", "0")
    monkeypatch.setenv("RAY_worker_niceness", "0")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    killed: list[int] = []
    store = WatchedStore(tmp_path, lambda: killed.append(kill(is_busy_actor)))
    with EnginePool(tiny_base, engine_config(engines=2)) as engines:
        assert complete(store, engines.backend) == alone
    assert len(killed) == 1
    assert len(store.appended) == len(set(store.appended)) == len(REQUESTS)


def test_a_node_without_the_model_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "no-such"
    with pytest.raises(ValueError, match=rf"^{missing}: not on node [0-9.]+: expected the model"):
        Actor(missing, engine_config())


@pytest.mark.parametrize(
    ("changes", "nodes", "message"),
    [
        (
            {"engines": 3},
            [{"CPU": 2.0}],
            "engine.engines: 3, with 1 CPU on one node each: expected at most the 2",
        ),
        (
            {"engines": 2, "cpus": 3},
            [{"CPU": 3.0}, {"CPU": 2.0}],
            "engine.engines: 2, with 3 CPU on",
        ),
        (
            {"tensor_parallel": 2},
            [{"CPU": 8.0}],
            "engine.cpus: 1: expected at least engine.tensor_",
        ),
        (
            {"engines": 1, "tensor_parallel": 4},
            [{"GPU": 2.0}] * 4,
            "engine.engines: 1, with 4 GPU on one node each: expected at most the 0",
        ),
    ],
)
def test_more_than_a_cluster_has_is_named(
    changes: dict[str, int], nodes: list[dict[str, float]], message: str
) -> None:
    with pytest.raises(ValueError) as error:
        actor_resources(engine_config(**changes), nodes)
    assert str(error.value).startswith(message)


def test_actors_reserve_gpus_or_cores() -> None:
    config = engine_config(engines=2, tensor_parallel=2, cpus=3)
    assert actor_resources(config, [{"GPU": 4.0, "CPU": 1.0}]) == (2, None)
    assert actor_resources(config, [{"CPU": 3.0}] * 2) == (None, 3)


@pytest.mark.parametrize(
    ("gpus", "message"),
    [
        (["0", "1"], "engine.tensor_parallel: 9: expected at most the 2 GPUs of this machine"),
        ([], "engine.tensor_parallel: 9: expected at most the 8 cores of this machine"),
    ],
)
def test_more_than_a_machine_has_is_named_before_anything_is_loaded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, gpus: list[str], message: str
) -> None:
    monkeypatch.setattr(pool, "gpus", lambda: gpus)
    monkeypatch.setattr(pool, "cores", lambda: list(range(8)))
    with pytest.raises(ValueError) as error:
        EnginePool(tmp_path / "not-read", engine_config(tensor_parallel=9))
    assert str(error.value) == message


def test_one_engine_follows_others_only_when_they_have_ended(
    monkeypatch: pytest.MonkeyPatch, tiny_base: Path
) -> None:
    events: list[str] = []

    class Actors:
        def __init__(self, *_: object) -> None:
            events.append("several")

        def close(self) -> None:
            events.append("ended")

    def start(*_: object) -> object:
        events.append("one")
        return object()

    monkeypatch.setattr("stages.lib.inference.ray_cluster.RayPool", Actors)
    monkeypatch.setattr("stages.lib.inference.engine.Engine", start)
    monkeypatch.setattr(pool, "cores", lambda: [0, 1])
    monkeypatch.setattr(pool, "gpus", list)
    with EnginePool(tiny_base, engine_config(engines=2)) as engines:
        assert engines.backend() is engines.backend()
        assert engines.single() is engines.single()
    assert events == ["several", "ended", "one"]
    with EnginePool(tiny_base, engine_config()) as engines:
        assert engines.backend() is engines.single()
