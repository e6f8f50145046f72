"""Merge an adapter from elsewhere into a model, to evaluate or quantize the result.

Reads the adapter that ``model.adapted.<name>`` names and the model of its parent. Writes
``data/models/<name>/``: weights, and the parent's tokenizer and chat template.

    python -m stages.merge NAME
"""

from stages.lib.core.paths import MODELS
from stages.lib.models.fetch import adapter_folder
from stages.lib.models.fingerprint import model_fingerprint
from stages.lib.models.merge import merge_adapter
from stages.lib.params.load import load_params
from stages.lib.params.model_source import parse_source
from stages.lib.runtime import console


def main(name: str) -> None:
    """Merge an adapter."""
    adapted = load_params().model.adapted
    if name not in adapted:
        raise ValueError(f"model.adapted: {name!r}: expected one of {list(adapted)}")
    spec = adapted[name]
    parent = MODELS / spec.parent
    model_fingerprint(parent)  # raises an error if the weights are damaged
    key = f"model.adapted.{name}.adapter"
    merge_adapter(parent, adapter_folder(parse_source(spec.adapter), key=key), MODELS / name)


if __name__ == "__main__":
    console.run_stage("merge", main, item="name")
