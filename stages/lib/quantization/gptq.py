"""Making quantized models: GPTQ, round to nearest, and the formats of bitsandbytes."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from stages.lib.core.tables import read_csv, write_csv
from stages.lib.models.fingerprint import save_atomically
from stages.lib.params.quantization import Bits, Quantize

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
    """Raise ValueError unless the group size divides the widths that GPTQ groups over.

    Those are the inputs of all linear layers but the output layer, which is left as it is.
    """
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder))
    head = model.get_output_embeddings()
    layers = [one for one in model.modules() if isinstance(one, torch.nn.Linear)]
    widths = sorted({one.in_features for one in layers if one is not head})
    fitting = [size for size in (16, 32, 64, 128) if all(width % size == 0 for width in widths)]
    if group_size not in (-1, *fitting):
        raise ValueError(
            f"quantize.group_size: {group_size}: expected one of {[-1, *fitting]}, "
            f"which divide the layers' widths {widths}"
        )


def quantize_gptq_or_rtn(
    parent: Path,
    out: Path,
    *,
    bits: Bits,
    settings: Quantize,
    calibration: Sequence[Sequence[int]] | None,
    done: Callable[[int], object],
) -> None:
    """Quantize the model of ``parent`` to ``bits`` and save it as ``out``.

    By GPTQ with ``calibration``, token ids of whole texts; without, each weight is rounded
    to the nearest point of the same grid. ``done`` is called after each layer.
    """
    from gptqmodel import GPTQModel, QuantizeConfig
    from gptqmodel.quantization import RTNConfig

    grid: dict[str, Any] = {
        "bits": bits,
        "group_size": settings.group_size,
        "sym": settings.symmetric,
        "offload_to_disk": False,  # its folder's random name would be saved
    }
    config: Any = RTNConfig(**grid)
    texts: Any = None
    if calibration is not None:
        grid |= {"desc_act": settings.desc_act, "damp_percent": settings.damping}
        config = QuantizeConfig(**grid)
        texts = [{"input_ids": list(ids), "attention_mask": [1] * len(ids)} for ids in calibration]
    model = GPTQModel.load(str(parent), config, dtype=torch.bfloat16)
    model.layer_callback = _LayerCount(done)  # pyright: ignore[reportArgumentType]
    model.quantize(texts, batch_size=CALIBRATION_BATCH)
    if calibration is None:
        done(layer_count(parent))  # nobody is called back when weights are only rounded
    with save_atomically(out) as aside:
        model.save(str(aside))
        _sort_log(aside / "quant_log.csv")


def _sort_log(log: Path) -> None:
    # Its rows come in the order in which threads end, each with its duration.
    rows = sorted(read_csv(log), key=lambda row: (int(row["layer"]), row["module"]))
    write_csv(log, [{name: row[name] for name in row if name != "time"} for row in rows])
