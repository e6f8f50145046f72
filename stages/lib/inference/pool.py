"""What answers: an engine in this process, several processes, or actors of a Ray cluster."""

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, closing
from pathlib import Path

from stages.lib.generations.requests import Backend
from stages.lib.inference.engine import Engine
from stages.lib.params.sampling import EngineConfig as Settings
from stages.lib.runtime.devices import cores, gpus


class EnginePool(AbstractContextManager["EnginePool"]):
    """Loads what answers when it is first asked for; other processes end with it."""

    def __init__(self, folder: Callable[[], Path], settings: Settings) -> None:
        """Load nothing yet; ``folder`` is called once, when the model is needed.

        Raises ValueError if this machine has fewer GPUs, or cores, than the engines want.
        """
        if settings.backend == "local":
            _check(settings)
        self._folder, self._settings = folder, settings
        self._engine: Engine | None = None
        self._pool: Backend | None = None
        self._open = ExitStack()

    def pool(self) -> Backend:
        """Return what answers batches: the engine itself where there is only one, here."""
        if self._settings.backend == "local" and self._settings.engines == 1:
            return self.single()
        if self._pool is None:
            self._pool = self._shared()
        return self._pool

    def single(self) -> Engine:
        """Return one engine in this process. Others end first: GPUs hold a model once."""
        self.close()
        if self._engine is None:
            self._engine = Engine(self._folder(), self._settings)
        return self._engine

    def close(self) -> None:
        """End the engines that are not in this process."""
        self._pool = None
        self._open.close()

    def __exit__(self, *_: object) -> None:
        """End the engines that are not in this process."""
        self.close()

    def _shared(self) -> Backend:
        if self._settings.backend == "ray":
            # Imported here: it takes a second, which others need not wait.
            from stages.lib.inference.ray_cluster import RayPool as Shared
        else:
            from stages.lib.inference.multiprocess import ProcessPool as Shared
        return self._open.enter_context(closing(Shared(self._folder(), self._settings)))


def _check(settings: Settings) -> None:
    count, each = settings.engines, settings.tensor_parallel
    if count * each == 1:
        return
    kind, there = ("GPUs", len(gpus())) if gpus() else ("cores", len(cores()))
    if count * each > there:
        raise ValueError(
            f"engine.engines: {count}, with engine.tensor_parallel={each}: expected together at "
            f"most the {there} {kind} of this machine"
        )
