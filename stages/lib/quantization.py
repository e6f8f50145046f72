"""GPTQ with GPTQModel."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from transformers import AutoConfig, PreTrainedModel

from stages.lib.files import replacing
from stages.lib.models import load_model
from stages.lib.params.training import Quantize
from stages.lib.tables import read_csv, write_csv

# Read when GPTQModel is imported; without it the pool asks for workers it has not got.
# The import itself is left to the functions: it takes seconds and prints a banner.
os.environ.setdefault("GPTQMODEL_CPU_WORKERS", str(os.cpu_count()))

CALIBRATION_BATCH = 8


class _LayerCount:
    """What GPTQModel calls when it is done with a layer."""

    def __init__(self, done: Callable[[int], object]) -> None:
        self._done = done

    def layer_complete(self, *, layer_idx: int, submodule_finalized: bool) -> None:
        if submodule_finalized:
            self._done(1)


def layer_count(folder: Path) -> int:
    """Return how many layers the model of a folder has."""
    return int(AutoConfig.from_pretrained(folder).num_hidden_layers)


def check_group_size(folder: Path, group_size: int) -> None:
    """Raise ValueError unless the group size divides the widths that GPTQ groups over."""
    config = AutoConfig.from_pretrained(folder)
    widths = sorted({config.hidden_size, config.intermediate_size})
    fitting = [size for size in (16, 32, 64, 128) if all(width % size == 0 for width in widths)]
    if group_size not in (-1, *fitting):
        raise ValueError(
            f"quantize.group_size: {group_size}: expected one of {[-1, *fitting]}, "
            f"which divide the layers' widths {widths}"
        )


def quantize(
    parent: Path,
    out: Path,
    *,
    bits: int,
    settings: Quantize,
    calibration: Sequence[Sequence[int]],
    done: Callable[[int], object],
) -> None:
    """Quantize the model of ``parent`` to ``bits`` and save it as ``out``.

    ``calibration`` holds token ids of whole examples; ``done`` is called after each layer.
    """
    from gptqmodel import GPTQModel, QuantizeConfig

    model = GPTQModel.load(
        str(parent),
        QuantizeConfig(
            bits=bits,
            group_size=settings.group_size,
            desc_act=settings.desc_act,
            sym=settings.symmetric,
            damp_percent=settings.damping,  # pyright: ignore[reportCallIssue]
            offload_to_disk=False,  # its folder's random name would be saved
        ),
        dtype=torch.bfloat16,
    )
    model.layer_callback = _LayerCount(done)  # pyright: ignore[reportArgumentType]
    model.quantize(
        [{"input_ids": list(ids), "attention_mask": [1] * len(ids)} for ids in calibration],
        batch_size=CALIBRATION_BATCH,
    )
    with replacing(out) as aside:
        model.save(str(aside))
        _settle(aside / "quant_log.csv")


def load_for_scoring(folder: Path) -> PreTrainedModel:
    """Load a model folder for log-likelihoods with transformers.

    A quantized model's weights are unpacked to bf16: on a CPU, kernels for packed
    weights take four times as long, and exist for some widths only.
    """
    if getattr(AutoConfig.from_pretrained(folder), "quantization_config", None) is None:
        return load_model(folder, torch.bfloat16).eval()
    from gptqmodel import BACKEND, GPTQModel

    loaded = GPTQModel.load(str(folder), dtype=torch.bfloat16, backend=BACKEND.TORCH)
    model = cast(PreTrainedModel, loaded.model)
    for name, layer in list(model.named_modules()):
        if hasattr(layer, "dequantize_weight"):
            model.set_submodule(name, _unpacked(cast(Any, layer)))
    return model.eval()


def _unpacked(layer: Any) -> torch.nn.Linear:
    linear = torch.nn.Linear(layer.in_features, layer.out_features, bias=False)
    linear.weight = torch.nn.Parameter(layer.dequantize_weight().T.contiguous().bfloat16())
    if layer.bias is not None:
        linear.bias = torch.nn.Parameter(layer.bias.bfloat16())
    return linear


def _settle(log: Path) -> None:
    # Its rows come in the order in which threads end, each with its duration.
    rows = sorted(read_csv(log), key=lambda row: (int(row["layer"]), row["module"]))
    write_csv(log, [{name: row[name] for name in row if name != "time"} for row in rows])
