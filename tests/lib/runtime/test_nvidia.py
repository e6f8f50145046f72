"""GPUs as nvidia-smi lists them."""

from pathlib import Path

import pytest

from stages.lib.runtime.nvidia import Gpu, list_gpus, visible_gpus
from tests.fake_gpus import fake_gpus


def test_gpus_are_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_gpus(monkeypatch, tmp_path, "580.65.06", "580.65.06", memory="81920")
    assert list_gpus() == [Gpu("580.65.06", 80.0)] * 2
    fake_gpus(monkeypatch, tmp_path, "580.95", memory="[N/A]")
    assert list_gpus() == [Gpu("580.95", None)]
    fake_gpus(monkeypatch, tmp_path)
    assert list_gpus() == []
    monkeypatch.setenv("PATH", "/nowhere")
    assert list_gpus() == []


@pytest.mark.parametrize("driver", ["535.104.05", "579.99"])
def test_a_driver_from_before_cuda_13_is_old(driver: str) -> None:
    assert Gpu(driver, 80).has_old_driver()
    assert not Gpu("580.65.06", 80).has_old_driver()


@pytest.mark.parametrize(
    ("visible", "count"),
    [(None, 3), ("0", 1), ("2,0", 2), ("GPU-5,GPU-7", 2), ("", 0), ("-1", 0), ("0,-1,1", 1)],
)
def test_some_gpus_may_be_hidden(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, visible: str | None, count: int
) -> None:
    fake_gpus(monkeypatch, tmp_path, *["580.65"] * 3)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert len(visible_gpus()) == count
