"""Quantizing a tiny model: small, reproducible, and still the same model."""

import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    OPTConfig,
    PreTrainedConfig,
    PreTrainedModel,
    Qwen3Config,
)

from stages.lib.inference.dequantize import (
    dequantize,
    engine_ready,
    has_kernel,
    load_quantized,
    memory_bytes,
)
from stages.lib.models.bitsandbytes import int8, nf4
from stages.lib.models.loading import load_model, weight_bytes
from stages.lib.params.quantization import Bits, Calibration, Quantize
from stages.lib.quantization.bitsandbytes import quantize_bitsandbytes
from stages.lib.quantization.gptq import check_group_size, layer_count, quantize_gptq_or_rtn
from stages.lib.training.likelihood import negative_log_likelihoods
from tests.conftest import one_turn

BF16 = torch.bfloat16
CALIBRATION = [list(range(start, start + 40)) for start in range(0, 160, 10)]
SOLUTIONS = [one_turn(ids[:10], ids[10:], 1.0) for ids in CALIBRATION]


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


def make(parent: Path, out: Path, bits: Bits, calibrated: bool = True) -> list[int]:
    layers: list[int] = []
    texts = CALIBRATION if calibrated else None
    quantize_gptq_or_rtn(
        parent, out, bits=bits, settings=settings(), calibration=texts, done=layers.append
    )
    return layers


def loss(folder: Path) -> float:
    return sum(
        negative_log_likelihoods(dequantize(load_quantized(folder)), SOLUTIONS, lambda _: None)
    )


def error(folder: Path, parent: Path) -> float:
    """Return the mean squared error of a layer's weights."""
    name = "model.layers.0.mlp.up_proj"
    ours, theirs = (
        weight(dequantize(load_quantized(folder)), name),
        weight(load_model(parent, BF16), name),
    )
    return float((ours - theirs).square().mean())


def weight(model: PreTrainedModel, name: str) -> torch.Tensor:
    return model.get_parameter(f"{name}.weight").detach().float()


@pytest.mark.parametrize("calibrated", [True, False])
def test_two_runs_write_the_same_bytes(tiny_base: Path, tmp_path: Path, calibrated: bool) -> None:
    for name in ("a", "b"):
        assert sum(make(tiny_base, tmp_path / name, 4, calibrated)) == layer_count(tiny_base)
    files = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert "model.safetensors" in files
    for name in files:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name
    assert weight_bytes(tmp_path / "a") < weight_bytes(tiny_base)


def test_fewer_bits_are_smaller_and_further_from_the_parent(
    tiny_base: Path, tmp_path: Path
) -> None:
    widths: tuple[Bits, ...] = (8, 4, 3, 2)
    folders = [tmp_path / str(bits) for bits in widths]
    for bits, folder in zip(widths, folders, strict=True):
        make(tiny_base, folder, bits, calibrated=False)
    assert math.isclose(loss(tiny_base), loss(folders[0]), rel_tol=0.01)
    errors = [error(folder, tiny_base) for folder in folders]
    assert errors == sorted(errors)
    sizes = [memory_bytes(load_quantized(folder)) for folder in (tiny_base, *folders)]
    assert sizes == sorted(sizes, reverse=True)
    assert len(set(sizes)) == len(sizes)
    assert [has_kernel(folder) for folder in folders] == [False, True, False, False]


def test_round_to_nearest_is_on_the_grid_of_its_group(tiny_base: Path, tmp_path: Path) -> None:
    make(tiny_base, tmp_path / "q", 3, calibrated=False)
    name = "model.layers.0.mlp.up_proj"
    rounded = weight(dequantize(load_quantized(tmp_path / "q")), name)
    before = weight(load_model(tiny_base, BF16), name)
    for ours, theirs in zip(rounded[0].split(32), before[0].split(32), strict=True):
        points = ours.unique()
        assert len(points) <= 2**3
        step = points.diff().min()
        # Where the grid ends, what lies outside goes to its last point.
        inside = (theirs >= points.min() - step / 2) & (theirs <= points.max() + step / 2)
        assert ((ours - theirs).abs()[inside] <= 0.51 * step).all()


@pytest.mark.parametrize(("form", "smaller"), [(nf4(), 3), (int8(), 1.8)])
def test_formats_of_bitsandbytes_load_again(
    tiny_base: Path, tmp_path: Path, form: Any, smaller: float
) -> None:
    out = tmp_path / "q"
    quantize_bitsandbytes(tiny_base, out, form)
    layer = "model.layers.0.mlp.up_proj.weight"
    packed = load_quantized(out).state_dict()[layer]
    assert (
        packed.nbytes * smaller < load_model(tiny_base, torch.bfloat16).state_dict()[layer].nbytes
    )
    assert not has_kernel(out)
    assert 0 < error(out, tiny_base) < error_of_a_coarser(tiny_base, tmp_path)
    assert math.isclose(loss(tiny_base), loss(out), rel_tol=0.05)


def error_of_a_coarser(parent: Path, folder: Path) -> float:
    make(parent, folder / "coarse", 2, calibrated=False)
    return error(folder / "coarse", parent)


def test_the_engine_gets_an_unpacked_copy_where_it_has_no_kernel(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make(tiny_base, tmp_path / "q", 3, calibrated=False)
    with engine_ready(tmp_path / "q") as copy:
        assert copy == Path("data/unpacked/q")
        assert has_kernel(copy)
        assert (copy / "tokenizer.json").is_file()
        assert loss(copy) == loss(tmp_path / "q")
    assert not copy.exists()
    with engine_ready(tiny_base) as same:
        assert same == tiny_base


@pytest.mark.parametrize("group_size", [-1, 16, 32, 64])
def test_a_group_size_that_divides_the_widths_fits(tiny_base: Path, group_size: int) -> None:
    check_group_size(tiny_base, group_size)


def test_a_group_size_that_does_not_fit_names_those_that_do(tiny_base: Path) -> None:
    with pytest.raises(ValueError, match=r"group_size: 128: expected one of \[-1, 16, 32, 64\]"):
        check_group_size(tiny_base, 128)


# Heads of 24 make an output projection of 48; some families name widths in other ways.
SMALL: dict[str, Any] = {
    "hidden_size": 64,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "vocab_size": 40,
}
SHAPES = [
    (
        Qwen3Config(**SMALL, intermediate_size=128, head_dim=24, num_key_value_heads=1),
        [48, 64, 128],
        [-1, 16],
    ),
    (OPTConfig(**SMALL, ffn_dim=96, word_embed_proj_dim=64), [64, 96], [-1, 16, 32]),
]


@pytest.mark.parametrize(("config", "widths", "fitting"), SHAPES)
def test_widths_are_those_of_the_layers(
    tmp_path: Path, config: PreTrainedConfig, widths: list[int], fitting: list[int]
) -> None:
    config.save_pretrained(tmp_path)
    complaint = f"expected one of {fitting}, which divide the layers' widths {widths}"
    with pytest.raises(ValueError, match=re.escape(complaint)):
        check_group_size(tmp_path, 128)
    for group_size in fitting:
        check_group_size(tmp_path, group_size)
