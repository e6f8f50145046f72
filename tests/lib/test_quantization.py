"""GPTQ of a tiny model: small, reproducible, and still the same model."""

import math
from pathlib import Path
from typing import Any

import pytest

from stages.lib.models import weight_bytes
from stages.lib.packing import Tokens
from stages.lib.params.training import Calibration, Quantize
from stages.lib.perplexity import negative_log_likelihood
from stages.lib.quantization import check_group_size, layer_count, load_for_scoring, quantize

CALIBRATION = [list(range(start, start + 40)) for start in range(0, 160, 10)]


def settings(**changes: Any) -> Quantize:
    values = {
        "seed": 1,
        "models": {},
        "group_size": 32,
        "desc_act": False,
        "symmetric": True,
        "damping": 0.05,
        "calibration": Calibration(examples=16, max_length=64),
    }
    return Quantize(**(values | changes))


def test_two_runs_write_the_same_bytes(tiny_base: Path, tmp_path: Path) -> None:
    layers: list[int] = []
    for name in ("a", "b"):
        quantize(
            tiny_base,
            tmp_path / name,
            bits=4,
            settings=settings(),
            calibration=CALIBRATION,
            done=layers.append,
        )
    assert len(layers) == 2 * layer_count(tiny_base)
    files = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert "model.safetensors" in files
    for name in files:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name
    assert weight_bytes(tmp_path / "a") < weight_bytes(tiny_base)


def test_the_quantized_model_predicts_like_its_parent(tiny_base: Path, tmp_path: Path) -> None:
    out = tmp_path / "q"
    quantize(
        tiny_base,
        out,
        bits=8,
        settings=settings(),
        calibration=CALIBRATION,
        done=lambda _: None,
    )
    solutions = [Tokens(ids[:10], ids[10:], 1.0) for ids in CALIBRATION]
    before, after = (
        negative_log_likelihood(load_for_scoring(folder), solutions, lambda _: None)
        for folder in (tiny_base, out)
    )
    assert before[1] == after[1]
    assert math.isclose(before[0], after[0], rel_tol=0.01)


@pytest.mark.parametrize("group_size", [-1, 16, 32, 64])
def test_a_group_size_that_divides_the_widths_fits(tiny_base: Path, group_size: int) -> None:
    check_group_size(tiny_base, group_size)


def test_a_group_size_that_does_not_fit_names_those_that_do(tiny_base: Path) -> None:
    with pytest.raises(ValueError, match=r"group_size: 128: expected one of \[-1, 16, 32, 64\]"):
        check_group_size(tiny_base, 128)
