"""Load quantized models, and turn their weights back into bf16.

Dequantized weights have exactly the values of the quantized ones. They are for widths that the
engine has no kernel for, and for log-likelihoods, which take four times as long on a CPU with
GPTQ's packed weights.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel
from transformers.initialization import no_init_weights

from stages.lib.core.files import atomic_replace
from stages.lib.core.paths import UNPACKED
from stages.lib.models.loading import load_model, load_tokenizer

# The widths of GPTQ that vLLM runs with Humming's kernels alone, on GPUs.
_HUMMING_BITS = (2, 3)


def load_quantized(folder: Path, device: str = "cpu") -> PreTrainedModel:
    """Load a model folder with its weights as saved; GPTQModel loads those of GPTQ.

    All of it lies on ``device``, such as "cuda:0". Both loaders would choose one by themselves.
    """
    if _quantization(folder).get("quant_method") != "gptq":
        return load_model(folder, torch.bfloat16, device_map={"": device}).eval()
    from gptqmodel import BACKEND, GPTQModel

    loaded = GPTQModel.load(str(folder), dtype=torch.bfloat16, backend=BACKEND.TORCH, device=device)
    return cast(PreTrainedModel, loaded.model).eval()


def memory_bytes(model: PreTrainedModel) -> int:
    """Return the bytes of a loaded model's tensors; shared ones count once."""
    tensors = model.state_dict().values()
    return sum({tensor.data_ptr(): tensor.nbytes for tensor in tensors}.values())


def dequantize(model: PreTrainedModel) -> PreTrainedModel:
    """Return the model with all weights in bf16 on its device, or as it is if unquantized.

    Do not use a quantized ``model`` afterwards: its layers are replaced.
    """
    if getattr(model.config, "quantization_config", None) is None:
        return model
    # transformers dequantizes bitsandbytes; the layers of GPTQModel do it one by one.
    if getattr(model, "is_quantized", False):
        model = cast(PreTrainedModel, model.dequantize(torch.bfloat16))
    # GPTQModel would compile the function of each layer, for a single call.
    with torch.compiler.set_stance("force_eager"):
        for name, layer in list(model.named_modules()):
            if hasattr(layer, "dequantize_weight"):
                model.set_submodule(name, _linear(cast(Any, layer)))
    # The model still counts as quantized, and would be saved as such: move to a fresh one.
    config = type(model.config).from_dict(
        {k: v for k, v in model.config.to_dict().items() if k != "quantization_config"}
    )
    # Weights are not initialized, since they are replaced next.
    with no_init_weights(), model.device:
        plain = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    plain.load_state_dict(model.state_dict())
    return plain.eval()


def has_kernel(folder: Path) -> bool:
    """Return whether the engine runs the weights of a model folder as they are saved.

    vLLM runs GPTQ (round to nearest is saved in its format) with 4 bits, on a CPU only with
    AVX-512, and on a GPU also with 8, 2 and 3; the last two in groups. The weights must be
    symmetric, not in groups of 16, and with columns in order or in one group. It runs nothing of
    bitsandbytes.
    """
    quantization = _quantization(folder)
    if not quantization:
        return True
    if quantization["quant_method"] != "gptq":
        return False
    group_size = quantization["group_size"]
    if torch.cuda.is_available():
        widths = (4, 8) if group_size == -1 else (4, 8, *_HUMMING_BITS)
    else:
        # vLLM picks its CPU library by the same test; the one for AVX2 has no kernel for 4 bits.
        widths = (4,) if torch.cpu._is_avx512_supported() else ()
    in_order = not quantization["desc_act"] or group_size == -1
    return quantization["sym"] and quantization["bits"] in widths and group_size != 16 and in_order


def needs_humming(folder: Path) -> bool:
    """Return whether vLLM has to be told to run the weights with the Humming kernels.

    It chooses Marlin's for GPTQ by itself, which have 4 and 8 bits alone. Humming reads GPTQ of
    any width, as GPTQModel packs it.
    """
    return has_kernel(folder) and _quantization(folder).get("bits") in _HUMMING_BITS


@contextmanager
def engine_ready(folder: Path) -> Iterator[Path]:
    """Yield a folder that the engine can run: ``folder``, or a temporary dequantized copy."""
    if has_kernel(folder):
        yield folder
        return
    copy = UNPACKED / folder.name
    with atomic_replace(copy) as tmp:
        dequantize(load_quantized(folder)).save_pretrained(tmp)
        load_tokenizer(folder).save_pretrained(tmp)
    try:
        yield copy
    finally:
        shutil.rmtree(copy)


def _quantization(folder: Path) -> dict[str, Any]:
    return getattr(AutoConfig.from_pretrained(folder), "quantization_config", None) or {}


def _linear(layer: Any) -> torch.nn.Linear:
    linear = torch.nn.Linear(layer.in_features, layer.out_features, bias=False, device="meta")
    linear.weight = torch.nn.Parameter(layer.dequantize_weight().T.contiguous().bfloat16())
    if layer.bias is not None:
        linear.bias = torch.nn.Parameter(layer.bias.bfloat16())
    return linear
