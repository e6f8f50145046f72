"""The engines of a model: one in this process, or several as actors of Ray."""

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
    """Starts the engines of a model on first use, and ends Ray's on exit."""

    def __init__(self, folder: Path, config: EngineConfig) -> None:
        """Load nothing yet; weights that no kernel runs are unpacked on first use.

        Raises ValueError if this machine has fewer GPUs, or cores, than one engine needs.
        """
        if config.engines == 1:
            _check_devices(config.tensor_parallel)
        self._folder, self._config = folder, config
        self._engine: Engine | None = None
        self._actors: Backend | None = None
        # Two stacks, since the engine that follows the actors reads the same unpacked copy.
        self._open_folder, self._open_actors = ExitStack(), ExitStack()
        self._ready: Path | None = None

    def backend(self) -> Backend:
        """Return what generates batches: the engine in this process, or Ray's actors."""
        if self._config.engines == 1:
            return self.single()
        if self._actors is None:
            from stages.lib.inference.ray_cluster import RayPool

            actors = RayPool(self._ready_folder(), self._config)
            self._actors = self._open_actors.enter_context(closing(actors))
        return self._actors

    def single(self) -> "Engine":
        """End Ray's actors and return an engine in this process: a GPU holds one model."""
        self._end_actors()
        if self._engine is None:
            from stages.lib.inference.engine import Engine

            self._engine = Engine(self._ready_folder(), self._config)
        return self._engine

    def __exit__(self, *_: object) -> None:
        """End Ray's actors, and remove the unpacked weights."""
        self._end_actors()
        self._open_folder.close()

    def _end_actors(self) -> None:
        self._actors = None
        self._open_actors.close()

    def _ready_folder(self) -> Path:
        if self._ready is None:
            self._ready = self._open_folder.enter_context(engine_ready(self._folder))
        return self._ready


def _check_devices(ranks: int) -> None:
    kind, available = ("GPUs", len(gpus())) if gpus() else ("cores", len(cores()))
    if ranks > available:
        raise ValueError(
            f"engine.tensor_parallel: {ranks}: expected at most the {available} {kind} of this "
            "machine"
        )
