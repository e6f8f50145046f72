"""Loading and saving models; ``stages.lib.params.base_model`` says how a base is named."""

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

WEIGHTS_PATTERN = "*.safetensors"

PICKLES = (".bin", ".ckpt", ".pt", ".pth", ".pkl")

ADAPTER = "adapter_config.json"


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """Load the tokenizer of a model folder; ValueError names the folder if it cannot be."""
    existing = existing_model(folder)
    try:
        return AutoTokenizer.from_pretrained(existing, trust_remote_code=False)
    except ValueError as error:
        raise ValueError(f"{folder}: its tokenizer cannot be loaded: {error}") from error


def load_model(folder: Path, dtype: torch.dtype, **options: Any) -> PreTrainedModel:
    """Load the model of a folder, safetensors only, by transformers' own code alone.

    Errors name the folder: ValueError if it is damaged, has pickles only, is an adapter
    without its model or brings code of its own, OSError if no model or a part is missing.
    ``options`` go to transformers.
    """
    try:
        return AutoModelForCausalLM.from_pretrained(
            existing_model(folder),
            dtype=dtype,
            use_safetensors=True,
            trust_remote_code=False,
            **options,
        )
    except SafetensorError as error:
        raise ValueError(f"{folder}: damaged model file: {error}") from error


def weight_bytes(folder: Path) -> int:
    """Return the size of a model folder's weight files in bytes."""
    return sum(path.stat().st_size for path in existing_model(folder).glob(WEIGHTS_PATTERN))


def existing_model(folder: Path) -> Path:
    """Return a folder that holds a whole model; errors as ``load_model``."""
    if any(folder.glob(WEIGHTS_PATTERN)):
        # transformers would follow it to another model, at whatever commit that has now.
        if (folder / ADAPTER).exists():
            raise ValueError(f"{folder}: an adapter: expected a whole model, without {ADAPTER}")
        return folder
    pickles = sorted(path.name for path in folder.glob("*") if path.suffix in PICKLES)
    if pickles:
        raise ValueError(
            f"{folder}: weights as pickles, which can run code ({pickles[0]}): expected "
            f"{WEIGHTS_PATTERN}"
        )
    raise FileNotFoundError(f"{folder}: no model here (expected a folder with {WEIGHTS_PATTERN})")
