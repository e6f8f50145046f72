"""Load models and tokenizers, from safetensors and without running code of their own."""

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.initialization import no_init_weights

from stages.lib.models.folder import existing_model


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """Load the tokenizer of a model folder. Raises ValueError naming the folder if it cannot."""
    existing = existing_model(folder)
    try:
        return AutoTokenizer.from_pretrained(existing, trust_remote_code=False)
    except ValueError as error:
        raise ValueError(f"{folder}: its tokenizer cannot be loaded: {error}") from error


def load_model(folder: Path, dtype: torch.dtype, **options: Any) -> PreTrainedModel:
    """Load the model of a folder; ``options`` go to transformers.

    Errors name the folder: ValueError if it is damaged, has pickles only, is an adapter
    without its model or brings code of its own, OSError if no model or a part is missing.
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


def load_without_weights(folder: Path, dtype: torch.dtype, **options: Any) -> PreTrainedModel:
    """Return the model of a folder with arbitrary weights, which take no memory until written to.

    Its weights are not read. Errors are those of ``load_model``, except for damaged weights.
    """
    config = AutoConfig.from_pretrained(existing_model(folder), trust_remote_code=False)
    with no_init_weights():
        model = AutoModelForCausalLM.from_config(
            config, dtype=dtype, trust_remote_code=False, **options
        )
    model.tie_weights()
    return model
