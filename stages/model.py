"""Fetch the base model and convert it to bf16 safetensors.

Reads what ``model.base`` names (a packaged or local GGUF file, a local folder, or a Hub model
at a commit). Writes ``data/models/base/``: weights, tokenizer and chat template.

    python -m stages.model
"""

from stages.lib.core.paths import MODELS
from stages.lib.models.base import convert_base
from stages.lib.params.base_model import parse_base
from stages.lib.params.load import load_params
from stages.lib.runtime import console


def main() -> None:
    """Convert the base model."""
    convert_base(parse_base(load_params().model.base), MODELS / "base")


if __name__ == "__main__":
    console.run_stage("model", main)
