"""Quantize by GPTQ, or by rounding to nearest on the same grid."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from stages.lib.core.tables import read_csv, write_csv
from stages.lib.models.fingerprint import save_atomically
from stages.lib.models.precision import compute_dtype
from stages.lib.params.quantization import Bits, Quantize

# GPTQModel reads it when it is imported; without it, its pool asks for workers that do not
# exist. The functions import GPTQModel themselves: it takes seconds and prints a banner.
os.environ.setdefault("GPTQMODEL_CPU_WORKERS", str(os.cpu_count()))

CALIBRATION_BATCH = 8


class _Callback:
    """What GPTQModel calls after each layer, and before and after each group of matrices."""

    def __init__(self, on_progress: Callable[[int], object]) -> None:
        self._on_progress = on_progress
        self._threads = torch.get_num_threads()

    def layer_complete(self, *, layer_idx: int, submodule_finalized: bool) -> None:
        if submodule_finalized:
            self._on_progress(1)

    def subset_event(self, *, stage: str, **_: object) -> None:
        # There is a worker for each core. By default PyTorch would start as many threads again
        # in each of them, which wait for each other.
        if stage == "quant_start":
            torch.set_num_threads(1)
        elif stage == "quant_complete":
            torch.set_num_threads(self._threads)


def layer_count(folder: Path) -> int:
    """Return how many layers the model of a folder has."""
    return int(AutoConfig.from_pretrained(folder).num_hidden_layers)


def check_group_size(folder: Path, group_size: int) -> None:
    """Raise ValueError unless the group size divides the inputs of every quantized layer.

    These are all linear layers except the output layer, which stays in bf16.
    """
    with torch.device("meta"):  # shapes alone, no memory
        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder))
    head = model.get_output_embeddings()
    layers = [layer for layer in model.modules() if isinstance(layer, torch.nn.Linear)]
    widths = sorted({layer.in_features for layer in layers if layer is not head})
    valid_sizes = [size for size in (16, 32, 64, 128) if all(width % size == 0 for width in widths)]
    if group_size not in (-1, *valid_sizes):
        raise ValueError(
            f"quantize.group_size: {group_size}: expected one of {[-1, *valid_sizes]}, "
            f"which divide the layers' widths {widths}"
        )


def quantize_gptq_or_rtn(
    parent: Path,
    out: Path,
    *,
    bits: Bits,
    settings: Quantize,
    calibration: Sequence[Sequence[int]] | None,
    on_progress: Callable[[int], object],
) -> None:
    """Quantize the model of ``parent`` to ``bits`` and save it as ``out``.

    By GPTQ with ``calibration``, the token ids of whole texts; without it, each weight is
    rounded to the nearest point of the same grid. ``on_progress`` is called with the number of
    layers that just finished.
    """
    from gptqmodel import GPTQModel, QuantizeConfig
    from gptqmodel.quantization import RTNConfig

    grid: dict[str, Any] = {
        "bits": bits,
        "group_size": settings.group_size,
        "sym": settings.symmetric,
        "offload_to_disk": False,  # the random name of its folder would be saved
    }
    config: Any = RTNConfig(**grid)
    texts: Any = None
    if calibration is not None:
        grid |= _order(settings) | {"damp_percent": settings.damping}
        config = QuantizeConfig(**grid)
        texts = [{"input_ids": list(ids), "attention_mask": [1] * len(ids)} for ids in calibration]
    model = GPTQModel.load(str(parent), config, dtype=compute_dtype())
    callback = _Callback(on_progress)
    model.layer_callback = callback  # pyright: ignore[reportArgumentType]
    model.subset_callback = callback  # pyright: ignore[reportArgumentType]
    model.quantize(texts, batch_size=CALIBRATION_BATCH)
    if calibration is None:
        on_progress(layer_count(parent))  # rounding makes no callback
    # Embeddings, norms and the output layer are saved in bf16, whatever computed.
    quantized = cast("PreTrainedModel", model.model)
    for param in quantized.parameters():
        param.data = param.data.to(torch.bfloat16)
    quantized.config.dtype = torch.bfloat16
    with save_atomically(out) as tmp:
        model.save(str(tmp))
        _sort_log(tmp / "quant_log.csv")


def _order(settings: Quantize) -> dict[str, bool]:
    """Return GPTQModel's arguments for the order of columns."""
    # It refuses both orders at once, and the second one without groups.
    by_group = settings.act_group_aware and not settings.desc_act and settings.group_size > 0
    return {"desc_act": settings.desc_act, "act_group_aware": by_group}


def _sort_log(log: Path) -> None:
    # Threads write its rows as they finish, with durations; neither may change the file.
    rows = sorted(read_csv(log), key=lambda row: (int(row["layer"]), row["module"]))
    write_csv(log, [{name: row[name] for name in row if name != "time"} for row in rows])
