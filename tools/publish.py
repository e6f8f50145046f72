"""Publish a model with its card on the Hugging Face Hub: a command, not a stage.

Reads ``hub.push`` (off by default), ``data/models/<model>/`` and ``reports/cards/<model>.md``.
Makes one commit in the repository ``<hub.push.repo>-<model>``, which it creates if needed.

    python -m tools.publish MODEL
"""

from huggingface_hub import CommitOperationAdd, HfApi, get_token

from stages.lib.core.files import read_json
from stages.lib.core.paths import CARDS, MODEL_REPORTS, MODELS
from stages.lib.models.fingerprint import model_fingerprint
from stages.lib.params.load import load_params
from stages.lib.runtime import console


def main(model: str) -> None:
    """Publish a model."""
    push = load_params().hub.push
    if push is None:
        raise ValueError("hub.push: null: expected {repo: ORG/NAME, private: true} to publish")
    card = CARDS / f"{model}.md"
    if not card.exists():
        raise ValueError(f"{model}: no card {card}: expected one that `dvc repro card` writes")
    if get_token() is None:
        raise ValueError("hub.push: no token: expected `hf auth login` first, or HF_TOKEN")
    folder = MODELS / model
    evaluated = read_json(MODEL_REPORTS / f"{model}.json")["fingerprint"]
    fingerprint = model_fingerprint(folder)
    # The card must describe exactly these weights.
    if fingerprint != evaluated or evaluated not in card.read_text(encoding="utf-8"):
        raise ValueError(
            f"{card}: not of the model in {folder}, {fingerprint}: run `dvc repro card`"
        )
    repo = f"{push.repo}-{model}"
    api = HfApi()
    api.create_repo(repo, private=push.private, exist_ok=True)
    files = [path for path in sorted(folder.iterdir()) if path.name != "README.md"]
    api.create_commit(
        repo,
        [
            CommitOperationAdd("README.md", str(card)),
            *(CommitOperationAdd(path.name, str(path)) for path in files),
        ],
        commit_message=f"{model}, {fingerprint}",
    )
    console.log_line(f"published {model} as {repo}")


if __name__ == "__main__":
    console.run_stage("publish", main, item="model", timed=False)
