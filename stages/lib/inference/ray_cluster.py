"""Engines as actors of a Ray cluster, which take batches as they have room for them.

If an actor dies, another takes its place, and its unfinished batches are generated again. Every
node needs the model folder at the same path.
"""

import os
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import stages
from stages.lib.generations.requests import Request, Sampling
from stages.lib.inference.engine import Engine
from stages.lib.inference.queue import FinishedBatch
from stages.lib.params.sampling import EngineConfig

# Ray reads it when it is imported.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import ray  # noqa: E402
from ray.exceptions import RayActorError, RayError  # noqa: E402
from ray.util import get_node_ip_address  # noqa: E402

# How often a batch is tried, if its actor dies, before the run ends.
_ATTEMPTS = 4


@dataclass(eq=False)
class _Assignment:
    """An actor, the batches that it has not finished, and whether it has room for another."""

    actor: Any
    unfinished: set[int] = field(default_factory=set)
    has_room: bool = True


class RayPool:
    """A connection to Ray, with actors that live as long as it does."""

    def __init__(self, folder: Path, config: EngineConfig) -> None:
        """Connect to RAY_ADDRESS, or start Ray on this machine.

        Raises ValueError if the cluster has fewer GPUs, or cores, than the engines need.
        """
        threads = max(1, config.cpus // config.tensor_parallel)
        ray.init(
            address=os.environ.get("RAY_ADDRESS", "local"),
            include_dashboard=False,
            runtime_env={
                "py_modules": [str(Path(*stages.__path__).resolve())],
                "env_vars": {
                    "OMP_NUM_THREADS": str(threads),
                    # Actors do not know which cores others are bound to.
                    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
                },
            },
        )
        self._folder, self._config = folder.resolve(), config
        self._workers: list[_Assignment] = []
        try:
            self._gpus, self._cpus = actor_resources(
                config, [node["Resources"] for node in ray.nodes() if node["Alive"]]
            )
        except ValueError:
            self.close()
            raise

    def generate_batches(
        self,
        batches: Sequence[Sequence[Request]],
        sampling: Sampling,
        on_progress: Callable[[int], object],
    ) -> Iterator[FinishedBatch]:
        """Yield the index and the texts of each batch as it finishes; see ``Backend``.

        Raises ValueError if an actor cannot load the model, and RuntimeError for any other
        failure that another actor does not recover from.
        """
        while len(self._workers) < min(self._config.engines, len(batches)):
            self._workers.append(_Assignment(self._start()))
        try:
            for number, texts in self._share(batches, sampling):
                on_progress(len(texts))
                yield number, texts
        except RayError as error:
            # The actor's own message is the last line; the whole trace is in the log.
            last = str(error).strip().splitlines()[-1]
            kind, _, message = last.partition(": ")
            raise ValueError(message) if kind == "ValueError" else RuntimeError(last) from error
        finally:
            for worker in [worker for worker in self._workers if worker.unfinished]:
                ray.kill(worker.actor)
                self._workers.remove(worker)

    def close(self) -> None:
        """Disconnect from the cluster, and end it if it was started here."""
        ray.shutdown()

    def _start(self) -> Any:
        options = {"num_gpus": self._gpus, "num_cpus": self._cpus}
        return ray.remote(Actor).options(**options).remote(self._folder, self._config)

    def _share(
        self, batches: Sequence[Sequence[Request]], sampling: Sampling
    ) -> Iterator[FinishedBatch]:
        """Hand out the batches to actors that have room, and yield finished ones."""
        waiting = deque(range(len(batches)))
        deaths = Counter[int]()
        # An actor that takes many at a time leaves their share to the others.
        most = max(1, len(batches) // len(self._workers))
        calls: dict[Any, _Assignment] = {}
        while True:
            busy = set(calls.values())
            for worker in (worker for worker in self._workers if worker not in busy):
                new = {}
                if waiting and worker.has_room and len(worker.unfinished) < most:
                    number = waiting.popleft()
                    worker.unfinished.add(number)
                    new[number] = batches[number]
                if worker.unfinished:
                    more = bool(waiting) and len(worker.unfinished) < most
                    calls[worker.actor.advance.remote(new, sampling, more=more)] = worker
            if not calls:
                return
            (call,), _ = ray.wait(list(calls), num_returns=1)
            worker = calls.pop(call)
            try:
                finished, worker.has_room = ray.get(call)
            except RayActorError as error:
                deaths.update(worker.unfinished)
                self._replace(worker, deaths, error)
                waiting.extendleft(sorted(worker.unfinished, reverse=True))
                worker.unfinished = set()
                continue
            worker.unfinished -= {number for number, _ in finished}
            yield from finished

    def _replace(self, worker: _Assignment, deaths: Counter[int], error: RayActorError) -> None:
        """Start another actor in place of a dead one.

        Raises the error if it could not load the model, or died too often of the same batch.
        """
        if error.actor_init_failed or max(deaths[i] for i in worker.unfinished) == _ATTEMPTS:
            raise error
        worker.actor, worker.has_room = self._start(), True


def actor_resources(
    config: EngineConfig, nodes: Sequence[Mapping[str, float]]
) -> tuple[int | None, int | None]:
    """Return the GPUs that each actor reserves, or the cores in a cluster without GPUs.

    ``nodes`` has the numbers of ``GPU`` and ``CPU`` of each node. Raises ValueError if the
    actors do not fit; an actor cannot span two nodes.
    """
    ranks, count = config.tensor_parallel, config.engines
    if any(node.get("GPU", 0) for node in nodes):
        kind, per_actor = "GPU", ranks
    else:
        kind, per_actor = "CPU", config.cpus
        if per_actor < ranks:
            raise ValueError(
                f"engine.cpus: {per_actor}: expected at least engine.tensor_parallel={ranks} "
                "where the cluster has no GPU"
            )
    capacity = sum(int(node.get(kind, 0) // per_actor) for node in nodes)
    if count > capacity:
        raise ValueError(
            f"engine.engines: {count}, with {per_actor} {kind} on one node each: expected at "
            f"most the {capacity} that fit on the nodes of the Ray cluster"
        )
    return (per_actor, None) if kind == "GPU" else (None, per_actor)


class Actor:
    """An engine in a process that Ray manages."""

    def __init__(self, folder: Path, config: EngineConfig) -> None:
        """Load a model folder. Raises ValueError if this node has none at that path."""
        if not folder.is_dir():
            raise ValueError(
                f"{folder}: not on node {get_node_ip_address()}: expected the model's "
                "folder at the same path on every node of the cluster, as on a shared disk"
            )
        self._queue = Engine(folder, config).queue

    def advance(
        self, new: Mapping[int, Sequence[Request]], sampling: Sampling, *, more: bool
    ) -> tuple[list[FinishedBatch], bool]:
        """Add batches, and generate until one is finished.

        If there are ``more`` batches, return as soon as there is room for one. Returns the
        finished batches, and whether there is room.
        """
        for number, batch in new.items():
            self._queue.add(number, batch, sampling)
        finished: list[FinishedBatch] = []
        while len(self._queue) and not finished and not (more and self._queue.has_room):
            finished = self._queue.step(lambda _: None)
        return finished, self._queue.has_room
