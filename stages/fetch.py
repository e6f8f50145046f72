"""Fetch another model than the base, to evaluate or quantize it, as bf16 safetensors.

Reads what ``model.others.<name>`` names, in the forms of ``model.base``. Writes
``data/models/<name>/``: weights, tokenizer and chat template.

    python -m stages.fetch NAME
"""

from stages.lib.core.paths import MODELS
from stages.lib.models.fetch import fetch_model
from stages.lib.params.load import load_params
from stages.lib.params.model_source import parse_source
from stages.lib.runtime import console


def main(name: str) -> None:
    """Fetch a model."""
    others = load_params().model.others
    if name not in others:
        raise ValueError(f"model.others: {name!r}: expected one of {list(others)}")
    fetch_model(parse_source(others[name]), MODELS / name, key=f"model.others.{name}")


if __name__ == "__main__":
    console.run_stage("fetch", main, item="name")
