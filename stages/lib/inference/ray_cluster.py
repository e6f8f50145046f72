"""Engines as actors of a Ray cluster, which Ray Data gives the batches.

Ray Data starts a killed actor again and repeats the task that it had; one batch is one task.
The model folder has to be at the same path on every node.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pyarrow as pa

import stages
from stages.lib.generations.requests import GeneratedText, Request, Sampling
from stages.lib.inference.engine import Engine
from stages.lib.params.sampling import EngineConfig as Settings

# Read when Ray is imported.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import ray  # noqa: E402
from ray.data import ActorPoolStrategy, DataContext, from_items  # noqa: E402
from ray.exceptions import RayError  # noqa: E402
from ray.util import get_node_ip_address  # noqa: E402

# So many times a batch may lose its actor before the run ends.
_ATTEMPTS = 4


class RayPool:
    """A connection to Ray; actors live as long as a round of batches."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        """Connect to RAY_ADDRESS, or start Ray here.

        Raises ValueError if the cluster has fewer GPUs, or cores, than the engines want.
        """
        threads = max(1, settings.cpus // settings.tensor_parallel)
        ray.init(
            address=os.environ.get("RAY_ADDRESS", "local"),
            include_dashboard=False,
            runtime_env={
                "py_modules": [str(Path(*stages.__path__).resolve())],
                "env_vars": {
                    "OMP_NUM_THREADS": str(threads),
                    # Actors know nothing of each other's cores.
                    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
                },
            },
        )
        self._folder, self._settings = folder.resolve(), settings
        try:
            self._gpus, self._cpus = needs(
                settings, [node["Resources"] for node in ray.nodes() if node["Alive"]]
            )
        except ValueError:
            self.close()
            raise

    def answers(
        self,
        batches: Sequence[Sequence[Request]],
        sampling: Sampling,
        done: Callable[[int], object],
    ) -> Iterator[tuple[int, list[GeneratedText]]]:
        """Yield each batch's number and answers as it is done.

        Raises ValueError if an actor cannot load the model, and RuntimeError if it is something
        else that Ray could not mend.
        """
        DataContext.get_current().enable_progress_bars = False
        rows = [
            {"batch": number, "requests": [vars(one) for one in batch]}
            for number, batch in enumerate(batches)
        ]
        # A block, and so a task, for each batch.
        answered = from_items(rows, override_num_blocks=len(rows)).map_batches(
            Actor,
            fn_constructor_args=(self._folder, self._settings, sampling),
            batch_size=1,
            batch_format="pyarrow",
            compute=ActorPoolStrategy(
                size=min(self._settings.engines, len(batches)), max_tasks_in_flight_per_actor=1
            ),
            # Deprecated, but Ray 2.60 has no other bound, and repeats for ever without one.
            max_task_retries=_ATTEMPTS - 1,
            num_gpus=self._gpus,
            num_cpus=self._cpus,
        )
        try:
            for row in answered.iter_rows():
                found = zip(row["texts"], row["finish_reasons"], row["n_tokens"], strict=True)
                answers = [(text, reason, int(n)) for text, reason, n in found]
                done(len(answers))
                yield int(row["batch"]), answers
        except RayError as error:
            # The actor's own words come last; all of them are in the log.
            last = str(error).strip().splitlines()[-1]
            kind, _, said = last.partition(": ")
            raise ValueError(said) if kind == "ValueError" else RuntimeError(last) from error

    def close(self) -> None:
        """Let go of the cluster, and end it if it was started here."""
        ray.shutdown()


def needs(
    settings: Settings, nodes: Sequence[Mapping[str, float]]
) -> tuple[int | None, int | None]:
    """Return how many GPUs each actor reserves, or cores in a cluster without one.

    Each of ``nodes`` has so many of both. Raises ValueError if the actors, none of which can
    be on two nodes, have no room.
    """
    ranks, count = settings.tensor_parallel, settings.engines
    if any(node.get("GPU", 0) for node in nodes):
        kind, each = "GPU", ranks
    else:
        kind, each = "CPU", settings.cpus
        if each < ranks:
            raise ValueError(
                f"engine.cpus: {each}: expected at least engine.tensor_parallel={ranks} where "
                "the cluster has no GPU"
            )
    room = sum(int(node.get(kind, 0) // each) for node in nodes)
    if count > room:
        raise ValueError(
            f"engine.engines: {count}, with {each} {kind} on one node each: expected at most the "
            f"{room} that the nodes of the Ray cluster have room for"
        )
    return (each, None) if kind == "GPU" else (None, each)


class Actor:
    """An engine that lives in a process of Ray's."""

    def __init__(self, folder: Path, settings: Settings, sampling: Sampling) -> None:
        """Load a model folder. Raises ValueError if this node has none at that path."""
        if not folder.is_dir():
            raise ValueError(
                f"{folder}: not on node {get_node_ip_address()}: expected the model's "
                "folder at the same path on every node of the cluster, as on a shared disk"
            )
        self._engine = Engine(folder, settings)
        self._sampling = sampling

    def __call__(self, table: pa.Table) -> pa.Table:
        """Answer the batch of a table's only row."""
        (row,) = table.to_pylist()
        requests = [Request(**one | {"prompt": tuple(one["prompt"])}) for one in row["requests"]]
        found = self._engine.answer(requests, self._sampling, lambda _: None)
        texts, reasons, counts = (list(column) for column in zip(*found, strict=True))
        return pa.table(
            {
                "batch": [row["batch"]],
                "texts": [texts],
                "finish_reasons": [reasons],
                "n_tokens": [counts],
            }
        )
