"""Engines as actors of a Ray cluster; Ray Data distributes the batches.

A batch is one task. If an actor dies, Ray Data starts it again and repeats its task. Every
node needs the model folder at the same path.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pyarrow as pa

import stages
from stages.lib.generations.requests import GeneratedText, Request, Sampling
from stages.lib.inference.engine import Engine
from stages.lib.params.sampling import EngineConfig

# Ray reads it when it is imported.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import ray  # noqa: E402
from ray.data import ActorPoolStrategy, DataContext, from_items  # noqa: E402
from ray.exceptions import RayError  # noqa: E402
from ray.util import get_node_ip_address  # noqa: E402

# How often a batch is tried, if its actor dies, before the run ends.
_ATTEMPTS = 4


class RayPool:
    """A connection to Ray; actors live as long as one call of ``generate_batches``."""

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
    ) -> Iterator[tuple[int, list[GeneratedText]]]:
        """Yield the index and the texts of each batch as it finishes; see ``Backend``.

        Raises ValueError if an actor cannot load the model, and RuntimeError for any other
        failure that Ray could not recover from.
        """
        DataContext.get_current().enable_progress_bars = False
        rows = [
            {"batch": number, "requests": [vars(request) for request in batch]}
            for number, batch in enumerate(batches)
        ]
        # One block, and so one task, per batch.
        generated = from_items(rows, override_num_blocks=len(rows)).map_batches(
            Actor,
            fn_constructor_args=(self._folder, self._config, sampling),
            batch_size=1,
            batch_format="pyarrow",
            compute=ActorPoolStrategy(
                size=min(self._config.engines, len(batches)), max_tasks_in_flight_per_actor=1
            ),
            # Deprecated, but Ray 2.60 has no other limit, and retries forever without one.
            max_task_retries=_ATTEMPTS - 1,
            num_gpus=self._gpus,
            num_cpus=self._cpus,
        )
        try:
            for row in generated.iter_rows():
                fields = zip(row["texts"], row["finish_reasons"], row["n_tokens"], strict=True)
                texts = [GeneratedText(text, reason, int(n)) for text, reason, n in fields]
                on_progress(len(texts))
                yield int(row["batch"]), texts
        except RayError as error:
            # The actor's own message is the last line; the whole trace is in the log.
            last = str(error).strip().splitlines()[-1]
            kind, _, message = last.partition(": ")
            raise ValueError(message) if kind == "ValueError" else RuntimeError(last) from error

    def close(self) -> None:
        """Disconnect from the cluster, and end it if it was started here."""
        ray.shutdown()


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

    def __init__(self, folder: Path, config: EngineConfig, sampling: Sampling) -> None:
        """Load a model folder. Raises ValueError if this node has none at that path."""
        if not folder.is_dir():
            raise ValueError(
                f"{folder}: not on node {get_node_ip_address()}: expected the model's "
                "folder at the same path on every node of the cluster, as on a shared disk"
            )
        self._engine = Engine(folder, config)
        self._sampling = sampling

    def __call__(self, table: pa.Table) -> pa.Table:
        """Generate the batch in a table's only row."""
        (row,) = table.to_pylist()
        # Arrow turns the tuple of token ids into a list.
        requests = [
            Request(**fields | {"prompt": tuple(fields["prompt"])}) for fields in row["requests"]
        ]
        generated = self._engine.generate(requests, self._sampling, lambda _: None)
        texts, reasons, counts = (list(column) for column in zip(*generated, strict=True))
        return pa.table(
            {
                "batch": [row["batch"]],
                "texts": [texts],
                "finish_reasons": [reasons],
                "n_tokens": [counts],
            }
        )
