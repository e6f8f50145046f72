"""Loading and saving models; ``stages.lib.bases`` says how a base is named."""

from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GgufConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from stages.lib.bases import Base
from stages.lib.files import file_sha256, replacing

WEIGHTS_PATTERN = "*.safetensors"


def convert_base(base: Base, out: Path) -> None:
    """Save a base model as bf16 safetensors with its tokenizer and chat template."""
    model, tokenizer = _load_origin(base)
    with replacing(out) as aside:
        model.save_pretrained(aside)
        tokenizer.save_pretrained(aside)


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """Load the tokenizer of a model folder."""
    return AutoTokenizer.from_pretrained(_existing(folder))


def load_model(folder: Path, dtype: torch.dtype, **options: Any) -> PreTrainedModel:
    """Load the model of a folder, safetensors only. Errors name the folder.

    ``options`` go to transformers.
    """
    try:
        return AutoModelForCausalLM.from_pretrained(
            _existing(folder), dtype=dtype, use_safetensors=True, **options
        )
    except SafetensorError as error:
        raise ValueError(f"{folder}: damaged model file: {error}") from error


def fingerprint(folder: Path) -> str:
    """Return 16 hexadecimal digits that identify a model folder's weights and tokenizer."""
    parts = [
        f"{path.name}={file_sha256(path)}"
        for path in sorted(_existing(folder).iterdir())
        if path.suffix in (".safetensors", ".json", ".jinja")
    ]
    return sha256("\n".join(parts).encode()).hexdigest()[:16]


def weight_bytes(folder: Path) -> int:
    """Return the size of a model folder's weight files in bytes."""
    return sum(path.stat().st_size for path in _existing(folder).glob(WEIGHTS_PATTERN))


def _load_origin(base: Base) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    if base.kind == "gguf":
        return _load_gguf(Path(base.location), base.sha256)
    if base.kind == "folder":
        folder = Path(base.location)
        return load_model(folder, torch.bfloat16), load_tokenizer(folder)
    try:
        model = AutoModelForCausalLM.from_pretrained(
            base.location, revision=base.revision, dtype=torch.bfloat16, use_safetensors=True
        )
        return model, AutoTokenizer.from_pretrained(base.location, revision=base.revision)
    except OSError as error:
        raise OSError(
            f"model.base: {base.location}@{base.revision} is not in the Hub's cache and could not "
            f"be fetched; with network access, run "
            f"`hf download {base.location} --revision {base.revision}` first"
        ) from error


def _load_gguf(path: Path, expected: str) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    found = file_sha256(path)
    if found != expected:
        raise ValueError(f"{path}: damaged or other file: sha256 {found}, expected {expected}")
    model = AutoModelForCausalLM.from_pretrained(
        path.parent,
        gguf_file=path.name,
        dtype=torch.bfloat16,
        quantization_config=GgufConfig(dequantize=True),
    )
    return model, AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)


def _existing(folder: Path) -> Path:
    if not any(folder.glob(WEIGHTS_PATTERN)):
        raise FileNotFoundError(
            f"{folder}: no model here (expected a folder with {WEIGHTS_PATTERN})"
        )
    return folder
