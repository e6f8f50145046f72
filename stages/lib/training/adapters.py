"""Full fine-tuning and LoRA or QLoRA adapters: load, count and merge what is trained."""

import os
from pathlib import Path
from typing import Any, cast

import torch
from peft import (
    LoraConfig,
    PeftModel,
    get_peft_model,
    get_peft_model_state_dict,
    set_peft_model_state_dict,
)
from transformers import PreTrainedModel, PreTrainedTokenizerBase, set_seed

from stages.lib.models.bitsandbytes import nf4
from stages.lib.models.fingerprint import save_atomically
from stages.lib.models.folder import ADAPTER_FOLDER
from stages.lib.models.loading import load_model, load_without_weights
from stages.lib.models.precision import compute_dtype
from stages.lib.params.training import AdapterTuning, FullTuning, Tuning
from stages.lib.runtime import console

Trainable = PreTrainedModel | PeftModel


def load_trainable(folder: Path, tuning: Tuning, *, seed: int, sharded: bool = False) -> Trainable:
    """Load a base model, for QLoRA in NF4, ready to be trained; ``seed`` initializes adapters.

    A model to be ``sharded`` has its trained weights in 32 bits, and none in any process but the
    first. Raises ValueError if the model lacks a layer that should get an adapter.
    """
    load = load_without_weights if sharded and console.rank() > 0 else load_model
    if isinstance(tuning, FullTuning):
        return load(folder, torch.float32 if sharded else compute_dtype())
    options = _nf4() if tuning.method == "qlora" else {}
    return with_adapters(load(folder, compute_dtype(), **options), tuning, seed=seed)


def load_policy(folder: Path, tuning: Tuning, *, seed: int) -> Trainable:
    """Load a model that generates while it is trained: as ``load_trainable``, without NF4.

    For QLoRA the weights are rounded to NF4 and dequantized: adapters are trained beside the
    same values, and the engine that generates gets weights that it can load. vLLM 0.32 runs
    none of bitsandbytes' formats, and packed weights are of the wrong shape for it (TRL #4973).
    """
    if isinstance(tuning, FullTuning) or tuning.method == "lora":
        return load_trainable(folder, tuning, seed=seed)
    packed = load_model(folder, compute_dtype(), **_nf4())
    dequantized = cast(Any, packed.dequantize(compute_dtype()))
    # Transformers leaves this, and TRL would train the adapters in bf16.
    dequantized.is_loaded_in_4bit = False
    return with_adapters(dequantized, tuning, seed=seed)


def with_adapters(model: PreTrainedModel, tuning: AdapterTuning, *, seed: int) -> PeftModel:
    """Add new low-rank adapters to a model; they alone are trained, and start without effect."""
    layers = _linear_layers(model)
    missing = sorted(set(tuning.targets) - layers)
    if missing:
        raise ValueError(
            f"tuning.targets: {missing}: expected some of the model's linear layers: "
            f"{sorted(layers)}"
        )
    set_seed(seed)
    config = LoraConfig(
        r=tuning.r,
        lora_alpha=cast(int, tuning.alpha),  # peft takes any number
        lora_dropout=tuning.dropout,
        target_modules=tuning.targets,
        task_type="CAUSAL_LM",
    )
    return cast(PeftModel, get_peft_model(model, config))


def merge_adapters(model: Trainable) -> PreTrainedModel:
    """Merge adapters into the weights; return an ordinary model that computes the same.

    NF4 weights are dequantized first: the adapters were trained beside those values.
    ``model`` must not be used afterwards.
    """
    if isinstance(model, PreTrainedModel):
        return model
    if getattr(unwrap(model), "is_quantized", False):
        config, adapters = model.peft_config["default"], get_peft_model_state_dict(model)
        dequantized = cast(PreTrainedModel, model.unload()).dequantize(compute_dtype())
        model = cast(PeftModel, get_peft_model(dequantized, config))
        set_peft_model_state_dict(model, adapters)
    return cast(PreTrainedModel, cast(Any, model).merge_and_unload())


def save_merged(model: Trainable, tokenizer: PreTrainedTokenizerBase, out: Path) -> None:
    """Save a trained model in bf16, with its adapters merged, and its tokenizer in ``out``.

    Its adapters are also saved by themselves in ``out/adapter``. ``model`` must not be used
    afterwards.
    """
    with save_atomically(out) as tmp:
        if isinstance(model, PeftModel):
            _save_adapters(model, tmp / ADAPTER_FOLDER)
        merged = merge_adapters(model).to(torch.bfloat16)  # pyright: ignore[reportArgumentType]
        merged.save_pretrained(tmp)
        tokenizer.save_pretrained(tmp)


def _save_adapters(model: PeftModel, folder: Path) -> None:
    # PEFT keeps a set here, whose order differs from process to process.
    config = cast(LoraConfig, model.peft_config["default"])
    config.target_modules = sorted(cast(set[str], config.target_modules))
    # The embeddings are not trained; asked to find out, PEFT may look for the base on the Hub.
    model.save_pretrained(str(folder), save_embedding_layers=False)
    (folder / "README.md").unlink()  # PEFT's card, which says nothing


def upcast_adapters(model: Trainable) -> None:
    """Make adapters 32-bit again: TRL makes them bf16 beside NF4, which loses small steps."""
    if isinstance(model, PeftModel):
        for param in model.parameters():
            if param.requires_grad:
                param.data = param.data.float()


def unwrap(model: Trainable) -> PreTrainedModel:
    """Return the transformers model inside a PEFT model; its layers keep their adapters."""
    if isinstance(model, PreTrainedModel):
        return model
    return cast(PreTrainedModel, model.get_base_model())


def parameter_counts(model: Trainable) -> dict[str, float]:
    """Return the number of trained parameters, of all parameters, and the share trained."""
    if isinstance(model, PeftModel):
        # PEFT counts both of the numbers in a byte of NF4.
        trainable, total = model.get_nb_trainable_parameters()
    else:
        trainable = total = sum(param.numel() for param in model.parameters())
    return {"trainable": trainable, "total": total, "share": trainable / total}


def _nf4() -> dict[str, Any]:
    # The GPU that the launcher chose, or the first; CUDA's current device is the first in every
    # process until the trainer sets it.
    gpu = int(os.environ.get("LOCAL_RANK", "0"))
    device = gpu if torch.cuda.is_available() else "cpu"
    return {"quantization_config": nf4(), "device_map": {"": device}}


def _linear_layers(model: PreTrainedModel) -> set[str]:
    """Return the last parts of the names of the linear layers, except the output layer.

    TRL refuses adapters there.
    """
    return {
        name.rpartition(".")[2]
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and module is not model.get_output_embeddings()
    }
