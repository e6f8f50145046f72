"""Publish a model with its card on the Hugging Face Hub: a command, not a stage.

Reads ``hub.push`` (off by default), ``data/models/<model>/`` and ``reports/cards/<model>.md``.
Makes one commit in the repository ``<hub.push.repo>-<model>``, which it creates if needed. A
quantized model goes to a branch with its name, in the repository of its parent if that was made
here. Adapters, which lie in the folder ``adapter``, go with the merged model.

    python -m tools.publish MODEL
"""

import json
from pathlib import Path

from huggingface_hub import CommitOperationAdd, HfApi, get_token

from stages.lib.core.files import read_json
from stages.lib.core.paths import CARDS, MODEL_REPORTS, MODELS
from stages.lib.models.fingerprint import model_fingerprint
from stages.lib.models.folder import ADAPTER_CONFIG
from stages.lib.params.load import load_params
from stages.lib.params.model_source import parse_source
from stages.lib.params.quantization import quantized_models
from stages.lib.params.root import Params
from stages.lib.provenance.origins import from_elsewhere, source_of
from stages.lib.runtime import console

MAIN = "main"


def main(model: str) -> None:
    """Publish a model."""
    params = load_params()
    push = params.hub.push
    if push is None:
        raise ValueError("hub.push: null: expected {repo: ORG/NAME, private: true} to publish")
    card = CARDS / f"{model}.md"
    if not card.exists():
        raise ValueError(f"{model}: no card {card}: expected one that `dvc repro card` writes")
    if get_token() is None:
        raise ValueError("hub.push: no token: expected `hf auth login` first, or HF_TOKEN")
    fingerprint = check_card(model, card)
    name, branch = destination(model, params)
    repo = f"{push.repo}-{name}"
    api = HfApi()
    api.create_repo(repo, private=push.private, exist_ok=True)
    if branch != MAIN:
        api.create_branch(repo, branch=branch, exist_ok=True)
    api.create_commit(
        repo,
        [CommitOperationAdd("README.md", str(card)), *model_files(model, params)],
        commit_message=f"{model}, {fingerprint}",
        revision=branch,
    )
    console.log_line(f"published {model} as {repo}, branch {branch}")


def check_card(model: str, card: Path) -> str:
    """Return a model's fingerprint; ValueError unless its card describes exactly its weights."""
    folder = MODELS / model
    evaluated = read_json(MODEL_REPORTS / f"{model}.json")["fingerprint"]
    fingerprint = model_fingerprint(folder)
    if fingerprint != evaluated or evaluated not in card.read_text(encoding="utf-8"):
        raise ValueError(
            f"{card}: not of the model in {folder}, {fingerprint}: run `dvc repro card`"
        )
    return fingerprint


def destination(model: str, params: Params) -> tuple[str, str]:
    """Return the end of the repository's name, and the branch."""
    quantized = quantized_models(params.quantize).get(model)
    if quantized is None or quantized.parent in from_elsewhere(params):
        return model, MAIN
    return quantized.parent, model


def model_files(model: str, params: Params) -> list[CommitOperationAdd]:
    """Return a model's files, with the base's name on the Hub in the adapter's configuration."""
    folder = MODELS / model
    base = parse_source(source_of(params, model))
    operations = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        content: str | bytes = str(path)
        if path.name == ADAPTER_CONFIG and base.kind == "hub":
            config = read_json(path) | {"base_model_name_or_path": base.location}
            content = json.dumps(config | {"revision": base.revision}, indent=2).encode()
        operations.append(CommitOperationAdd(str(path.relative_to(folder)), content))
    return [item for item in operations if item.path_in_repo != "README.md"]


if __name__ == "__main__":
    console.run_stage("publish", main, item="model", timed=False)
