"""Who gets which GPU, as far as that can be told without one."""

from pathlib import Path

import pytest
import torch
from transformers import TrainingArguments

from stages.lib.runtime.devices import gpus, partition, use_one_gpu
from tests.fake_gpus import count_gpus


@pytest.mark.parametrize("visible", [0, 1, 2])
def test_a_trainer_of_one_process_uses_at_most_one_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, visible: int
) -> None:
    count_gpus(monkeypatch, visible)
    arguments = TrainingArguments(output_dir=str(tmp_path))
    assert arguments.n_gpu == visible
    use_one_gpu(arguments)
    assert arguments.n_gpu == min(visible, 1)


def test_parts_are_equal_and_of_neighbors() -> None:
    assert partition([0, 1, 2, 3, 4], 2) == [[0, 1], [2, 3]]
    assert partition([], 2) == [[], []]


def test_gpus_keep_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert gpus() == ["0", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-5,GPU-7")
    assert gpus() == ["GPU-5", "GPU-7"]
