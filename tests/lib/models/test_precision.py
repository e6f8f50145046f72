import pytest
import torch

from stages.lib.models.precision import compute_dtype


@pytest.mark.parametrize(
    ("has_gpu", "has_avx512", "expected"),
    [(False, False, torch.float32), (False, True, torch.bfloat16), (True, False, torch.bfloat16)],
)
def test_models_compute_in_bf16_where_it_is_not_emulated(
    monkeypatch: pytest.MonkeyPatch, has_gpu: bool, has_avx512: bool, expected: torch.dtype
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_gpu)
    monkeypatch.setattr(torch.cpu, "_is_avx512_supported", lambda: has_avx512)
    assert compute_dtype() == expected
