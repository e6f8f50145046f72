"""Who gets which GPU, as far as that can be told without one."""

from pathlib import Path

import pytest
import torch
from transformers import TrainingArguments

from stages.lib.runtime.devices import use_one_gpu


@pytest.mark.parametrize("visible", [0, 1, 2, 8])
def test_a_trainer_of_one_process_uses_at_most_one_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, visible: int
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: visible)
    arguments = TrainingArguments(output_dir=str(tmp_path))
    assert arguments.n_gpu == visible
    use_one_gpu(arguments)
    assert arguments.n_gpu == min(visible, 1)
