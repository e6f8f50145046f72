"""Fixtures that run programs, with all layers of the sandbox or with some."""

import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from stages.lib.sandbox import pool
from stages.lib.sandbox.confinement import LAYERS
from stages.lib.sandbox.pool import ProgramResult, run_programs

Run = Callable[..., list[ProgramResult]]
KeepLayers = Callable[..., None]

DISABLE = {
    "landlock": "confinement.build_ruleset = lambda *_: None",
    "seccomp": "confinement.build_filter = lambda **_: None",
    "namespaces": "confinement.enter_namespaces = lambda *_: False",
}


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The parent of scratch folders; its path is in every worker's command line."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def run(temporary: Path) -> Run:
    def run_one_by_one(*programs: str, **changes: object) -> list[ProgramResult]:
        limits = {"timeout_s": 10.0, "memory_mb": 256, "workers": 1} | changes
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            return run_programs(programs, **limits)  # pyright: ignore[reportArgumentType]

    return run_one_by_one


@pytest.fixture
def patch_workers(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let workers execute statements about ``confinement`` before they serve."""
    start = pool._START_WORKER

    def patch(*statements: str) -> None:
        code = "; ".join(["from stages.lib.sandbox import confinement", *statements, "serve(sys"])
        monkeypatch.setattr(pool, "_START_WORKER", start.replace("serve(sys", code))
        pool._warn_of_missing.cache_clear()

    return patch


@pytest.fixture
def keep_layers(patch_workers: Callable[..., None]) -> KeepLayers:
    """Let workers have no other layers than these."""
    return lambda *layers: patch_workers(*(DISABLE[name] for name in LAYERS if name not in layers))
