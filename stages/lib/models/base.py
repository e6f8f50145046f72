"""Convert a base model to bf16 safetensors."""

from functools import cache
from pathlib import Path
from unittest.mock import patch

import gguf
import torch
from huggingface_hub import snapshot_download
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GgufConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from stages.lib.core.files import file_sha256
from stages.lib.models.fingerprint import save_atomically
from stages.lib.models.loading import load_model, load_tokenizer
from stages.lib.params.base_model import Base

# The files to fetch of a model on the Hub: weights, configuration, tokenizer; no pickles, no code.
FETCHED = ["model*.safetensors", "*.json", "*.jinja", "*.txt", "*.model"]


def convert_base(base: Base, out: Path) -> None:
    """Save a base model as bf16 safetensors with its tokenizer and chat template."""
    model, tokenizer = _load(base)
    with save_atomically(out) as tmp:
        model.save_pretrained(tmp)
        tokenizer.save_pretrained(tmp)


def _load(base: Base) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    if base.kind == "gguf":
        return _load_gguf(Path(base.location), base.sha256)
    if base.kind == "folder":
        return _load_folder(Path(base.location))
    try:
        # Without network access, this reads the commit from the Hub's cache.
        folder = snapshot_download(base.location, revision=base.revision, allow_patterns=FETCHED)
        return _load_folder(Path(folder))
    except OSError as error:
        raise OSError(
            f"model.base: {base.location}@{base.revision}: no whole model in the Hub's cache or "
            f"within reach (pickles are not fetched); with network access, run "
            f"`hf download {base.location} --revision {base.revision}` first"
        ) from error


def _load_folder(folder: Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    return load_model(folder, torch.bfloat16), load_tokenizer(folder)


def _load_gguf(path: Path, expected: str) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    sha256 = file_sha256(path)
    if sha256 != expected:
        raise ValueError(f"{path}: damaged or other file: sha256 {sha256}, expected {expected}")
    # transformers would read the file three times, and make the table of tensor names for every
    # module of the model.
    with (
        patch.object(gguf, "GGUFReader", cache(gguf.GGUFReader)),
        patch.object(gguf, "get_tensor_name_map", cache(gguf.get_tensor_name_map)),
    ):
        model = AutoModelForCausalLM.from_pretrained(
            path.parent,
            gguf_file=path.name,
            dtype=torch.bfloat16,
            quantization_config=GgufConfig(dequantize=True),
            trust_remote_code=False,
        )
        tokenizer = AutoTokenizer.from_pretrained(
            path.parent, gguf_file=path.name, trust_remote_code=False
        )
    return model, tokenizer
