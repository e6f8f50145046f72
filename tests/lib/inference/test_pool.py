"""Several engines: real ones on the tiny model, of which one is killed in the middle."""

import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

import psutil
import pytest

from stages.lib.core.schema import Generation
from stages.lib.generations.complete import generate_missing
from stages.lib.generations.requests import Request, Sampling
from stages.lib.generations.store import Key, Store, key
from stages.lib.inference import pool
from stages.lib.inference.engine import Engine
from stages.lib.inference.pool import EnginePool
from stages.lib.inference.ray_cluster import Actor, needs
from stages.lib.params.sampling import EngineConfig as Settings
from stages.lib.runtime import devices
from stages.lib.runtime.devices import partition

# Each of these starts processes by the handful.
pytestmark = pytest.mark.xdist_group("engines")

SAMPLING = Sampling(temperature=0.7, top_p=1.0, seed=1)
NUMBERS = Random(0)
REQUESTS = [
    Request(f"p{number}", "cot", 0, 0, tuple(NUMBERS.choices(range(3, 250), k=20)), 120)
    for number in range(48)
]


def settings(**changes: Any) -> Settings:
    usual: dict[str, Any] = {
        "backend": "local",
        "engines": 1,
        "tensor_parallel": 1,
        "cpus": 1,
        "kv_cache_gib": 1,
        "max_model_len": 512,
        "max_num_seqs": 8,
        "block_size": 32,
        "batch_size": 8,
    }
    return Settings(**usual | changes)


class Watched(Store):
    """Takes note of what is appended, and does something after the first time."""

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


def run(store: Store, folder: Path, wanted: Settings) -> list[str]:
    """Fill a store; return the names of its shards, which have their hashes."""
    with EnginePool(lambda: folder, wanted) as several:
        generate_missing(
            store,
            REQUESTS,
            model="m",
            sampling=SAMPLING,
            settings=wanted,
            load=several.pool,
            doing="test",
        )
    return sorted(shard.name for shard in store.folder.glob("*.parquet"))


@pytest.fixture(scope="module")
def alone(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Return the shards of one engine in this process."""
    return run(Store(tmp_path_factory.mktemp("alone")), tiny_base, settings())


def kill(chosen: Callable[[psutil.Process], bool]) -> int:
    """Kill a process below this one that ``chosen`` is true of; return its number."""
    ends = time.monotonic() + 60
    while time.monotonic() < ends:
        for process in psutil.Process().children(recursive=True):
            try:
                if chosen(process):
                    os.kill(process.pid, signal.SIGKILL)
                    return process.pid
            except psutil.NoSuchProcess:
                continue
    raise AssertionError("no process to kill")


def answers_now(process: psutil.Process) -> bool:
    # Ray names a process by the method that it runs.
    return "MapWorker" in process.name() + " ".join(process.cmdline()) and "submit" in " ".join(
        process.cmdline()
    )


@pytest.fixture
def quiet_ray(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let Ray neither kill nor slow its processes for what else runs on this machine."""
    monkeypatch.setenv("RAY_memory_monitor_refresh_ms", "0")
    monkeypatch.setenv("RAY_worker_niceness", "0")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    yield


@pytest.mark.usefixtures("quiet_ray")
def test_an_actor_of_ray_that_is_killed_costs_no_row_and_doubles_none(
    tmp_path: Path, tiny_base: Path, alone: list[str]
) -> None:
    killed: list[int] = []
    store = Watched(tmp_path, lambda: killed.append(kill(answers_now)))
    assert run(store, tiny_base, settings(backend="ray", engines=2)) == alone
    assert len(killed) == 1
    assert len(store.appended) == len(set(store.appended)) == len(REQUESTS)


def test_a_node_without_the_model_is_named(tmp_path: Path) -> None:
    lacking = tmp_path / "no-such"
    with pytest.raises(ValueError, match=rf"^{lacking}: not on node [0-9.]+: expected the model"):
        Actor(lacking, settings(), SAMPLING)


@pytest.mark.parametrize(
    ("changes", "nodes", "complaint"),
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
    changes: dict[str, int], nodes: list[dict[str, float]], complaint: str
) -> None:
    with pytest.raises(ValueError) as error:
        needs(settings(backend="ray", **changes), nodes)
    assert str(error.value).startswith(complaint)


def test_actors_reserve_gpus_or_cores() -> None:
    wanted = settings(backend="ray", engines=2, tensor_parallel=2, cpus=3)
    assert needs(wanted, [{"GPU": 4.0, "CPU": 1.0}]) == (2, None)
    assert needs(wanted, [{"CPU": 3.0}] * 2) == (None, 3)


def test_a_process_that_is_killed_ends_the_run_and_the_next_one_goes_on(
    tmp_path: Path, tiny_base: Path, alone: list[str]
) -> None:
    two = settings(engines=2)
    first = Watched(tmp_path, lambda: kill(lambda one: "spawn_main" in " ".join(one.cmdline())))
    with pytest.raises(ChildProcessError, match=r"^engine [12] of 2 ended with status -9 \("):
        run(first, tiny_base, two)
    assert not [one for one in psutil.Process().children() if "spawn_main" in str(one.cmdline())]
    second = Watched(tmp_path)
    assert run(second, tiny_base, two) == alone
    assert len(first.appended) >= two.batch_size
    assert sorted(first.appended + second.appended) == sorted(set(map(key, second.rows())))


def test_parts_are_equal_and_of_neighbours() -> None:
    assert partition([0, 1, 2, 3, 4], 2) == [[0, 1], [2, 3]]
    assert partition([], 2) == [[], []]


@pytest.mark.parametrize(
    ("gpus", "changes", "complaint"),
    [
        (["0", "1"], {"engines": 3}, "engine.engines: 3, with engine.tensor_parallel=1: expected"),
        (["0", "1"], {"engines": 2, "tensor_parallel": 2}, "at most the 2 GPUs of this machine"),
        ([], {"tensor_parallel": 9}, "at most the 8 cores of this machine"),
    ],
)
def test_more_than_a_machine_has_is_named_before_anything_is_loaded(
    monkeypatch: pytest.MonkeyPatch, gpus: list[str], changes: dict[str, int], complaint: str
) -> None:
    monkeypatch.setattr(pool, "gpus", lambda: gpus)
    monkeypatch.setattr(pool, "cores", lambda: list(range(8)))

    def refuse() -> Path:
        raise AssertionError("the model was asked for")

    with pytest.raises(ValueError) as error:
        EnginePool(refuse, settings(**changes))
    assert complaint in str(error.value)


def test_gpus_keep_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices.torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert devices.gpus() == ["0", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-5,GPU-7")
    assert devices.gpus() == ["GPU-5", "GPU-7"]


def test_one_engine_follows_others_only_when_they_have_ended(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    events: list[str] = []

    class Shared:
        def __init__(self, *_: object) -> None:
            events.append("several")

        def close(self) -> None:
            events.append("ended")

    def one(*_: object) -> Engine:
        events.append("one")
        return Engine.__new__(Engine)

    monkeypatch.setattr("stages.lib.inference.multiprocess.ProcessPool", Shared)
    monkeypatch.setattr(pool, "EngineConfig", one)
    monkeypatch.setattr(pool, "cores", lambda: [0, 1])
    monkeypatch.setattr(pool, "gpus", list)
    with EnginePool(lambda: tmp_path, settings(engines=2)) as several:
        assert several.pool() is several.pool()
        assert several.single() is several.single()
    assert events == ["several", "ended", "one"]
    with EnginePool(lambda: tmp_path, settings()) as only:
        assert only.pool() is only.single()
