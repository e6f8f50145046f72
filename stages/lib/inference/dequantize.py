"""Quantized models as their files have them, and with their weights unpacked to bf16.

Unpacked weights have the values of the packed ones. They serve where the engine has no
kernel for a width, and for log-likelihoods, which take four times as long on a CPU with
the packed weights of GPTQ.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from stages.lib.core.files import atomic_replace
from stages.lib.core.paths import UNPACKED
from stages.lib.models.loading import load_model, load_tokenizer


def load_quantized(folder: Path) -> PreTrainedModel:
    """Load a model folder, quantized weights as they are saved: GPTQ's by GPTQModel."""
    if _quantization(folder).get("quant_method") != "gptq":
        return load_model(folder, torch.bfloat16).eval()
    from gptqmodel import BACKEND, GPTQModel

    loaded = GPTQModel.load(str(folder), dtype=torch.bfloat16, backend=BACKEND.TORCH)
    return cast(PreTrainedModel, loaded.model).eval()


def memory_bytes(model: PreTrainedModel) -> int:
    """Return the bytes of a loaded model's tensors; shared ones count once."""
    return sum({one.data_ptr(): one.nbytes for one in model.state_dict().values()}.values())


def dequantize(model: PreTrainedModel) -> PreTrainedModel:
    """Return a model with all weights in bf16; one that is not quantized is returned itself.

    A quantized ``model`` is used up.
    """
    if getattr(model.config, "quantization_config", None) is None:
        return model
    if getattr(model, "is_quantized", False):
        model = cast(PreTrainedModel, model.dequantize(torch.bfloat16))
    for name, layer in list(model.named_modules()):
        if hasattr(layer, "dequantize_weight"):
            model.set_submodule(name, _linear(cast(Any, layer)))
    config = type(model.config).from_dict(
        {k: v for k, v in model.config.to_dict().items() if k != "quantization_config"}
    )
    plain = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    plain.load_state_dict(model.state_dict())
    return plain.eval()


def has_kernel(folder: Path) -> bool:
    """Return whether the engine runs the weights of a folder as they are saved.

    vLLM takes GPTQ (in whose format round to nearest is saved) at 4 bits, on a GPU at 8
    bits as well, if it is symmetric, its groups are not of 16, and its columns are in
    order or in one group; and nothing of bitsandbytes.
    """
    found = _quantization(folder)
    if not found:
        return True
    if found["quant_method"] != "gptq":
        return False
    widths = (4, 8) if torch.cuda.is_available() else (4,)
    in_order = not found["desc_act"] or found["group_size"] == -1
    return found["sym"] and found["bits"] in widths and found["group_size"] != 16 and in_order


@contextmanager
def engine_ready(folder: Path) -> Iterator[Path]:
    """Yield a folder that the engine runs: ``folder``, or an unpacked copy for the time."""
    if has_kernel(folder):
        yield folder
        return
    copy = UNPACKED / folder.name
    with atomic_replace(copy) as aside:
        dequantize(load_quantized(folder)).save_pretrained(aside)
        load_tokenizer(folder).save_pretrained(aside)
    try:
        yield copy
    finally:
        shutil.rmtree(copy)


def _quantization(folder: Path) -> dict[str, Any]:
    return getattr(AutoConfig.from_pretrained(folder), "quantization_config", None) or {}


def _linear(layer: Any) -> torch.nn.Linear:
    linear = torch.nn.Linear(layer.in_features, layer.out_features, bias=False)
    linear.weight = torch.nn.Parameter(layer.dequantize_weight().T.contiguous().bfloat16())
    if layer.bias is not None:
        linear.bias = torch.nn.Parameter(layer.bias.bfloat16())
    return linear
