"""Inference backends: one engine in this process, a process pool, or Ray actors."""

from contextlib import AbstractContextManager, ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING

from stages.lib.generations.requests import Backend
from stages.lib.inference.dequantize import engine_ready
from stages.lib.params.sampling import EngineConfig
from stages.lib.runtime.devices import cores, gpus

# vLLM takes many seconds to import, and a run that has all its texts needs no engine.
if TYPE_CHECKING:
    from stages.lib.inference.engine import Engine


class EnginePool(AbstractContextManager["EnginePool"]):
    """Starts the engines of a model on first use, and ends those in other processes on exit."""

    def __init__(self, folder: Path, config: EngineConfig) -> None:
        """Load nothing yet; weights that no kernel runs are unpacked on first use.

        Raises ValueError if this machine has fewer GPUs, or cores, than the engines need.
        """
        if config.backend == "local":
            _check_devices(config)
        self._folder, self._config = folder, config
        self._engine: Engine | None = None
        self._workers: Backend | None = None
        # Two stacks, since the engine that follows the workers reads the same unpacked copy.
        self._open_folder, self._open_workers = ExitStack(), ExitStack()
        self._ready: Path | None = None

    def backend(self) -> Backend:
        """Return the generation backend: the in-process engine if one local engine is enough."""
        if self._config.backend == "local" and self._config.engines == 1:
            return self.single()
        if self._workers is None:
            self._workers = self._start_workers()
        return self._workers

    def single(self) -> "Engine":
        """Stop worker engines and return an in-process engine: GPUs hold one model at a time."""
        self._end_workers()
        if self._engine is None:
            from stages.lib.inference.engine import Engine

            self._engine = Engine(self._ready_folder(), self._config)
        return self._engine

    def __exit__(self, *_: object) -> None:
        """End the engines in other processes, and remove the unpacked weights."""
        self._end_workers()
        self._open_folder.close()

    def _start_workers(self) -> Backend:
        if self._config.backend == "ray":
            from stages.lib.inference.ray_cluster import RayPool as Workers
        else:
            from stages.lib.inference.multiprocess import ProcessPool as Workers
        workers = Workers(self._ready_folder(), self._config)
        return self._open_workers.enter_context(closing(workers))

    def _end_workers(self) -> None:
        self._workers = None
        self._open_workers.close()

    def _ready_folder(self) -> Path:
        if self._ready is None:
            self._ready = self._open_folder.enter_context(engine_ready(self._folder))
        return self._ready


def _check_devices(config: EngineConfig) -> None:
    count, ranks = config.engines, config.tensor_parallel
    if count * ranks == 1:
        return
    kind, available = ("GPUs", len(gpus())) if gpus() else ("cores", len(cores()))
    if count * ranks > available:
        raise ValueError(
            f"engine.engines: {count}, with engine.tensor_parallel={ranks}: expected together at "
            f"most the {available} {kind} of this machine"
        )
