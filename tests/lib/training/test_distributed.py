"""What processes that train together are started with."""

import subprocess
from types import SimpleNamespace
from typing import Any

import pytest
from torch.distributed.launcher.api import LaunchConfig

from stages.lib.params.training import Launch
from stages.lib.training import distributed


def test_after_sigterm_there_is_time_for_a_large_checkpoint(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    environments: list[dict[str, str]] = []

    def start(*_: Any, env: dict[str, str], **__: Any) -> SimpleNamespace:
        environments.append(env)
        return SimpleNamespace(wait=lambda: 0)

    monkeypatch.setattr(subprocess, "Popen", start)
    distributed.launch_processes(Launch(strategy="ddp", processes=2), "train", "uniform")
    before = LaunchConfig(min_nodes=1, max_nodes=1, nproc_per_node=2)
    for name, value in environments[0].items():
        monkeypatch.setenv(name, value)
    after = LaunchConfig(min_nodes=1, max_nodes=1, nproc_per_node=2)
    assert (before.shutdown_timeout, after.shutdown_timeout) == (30, 600)
