"""What is sent to the Hub, and when nothing is."""

from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from stages.lib.core.files import write_json
from stages.lib.core.paths import CARDS, MODEL_REPORTS, MODELS
from stages.lib.models.fingerprint import model_fingerprint
from tests.conftest import tiny_model
from tests.stages.conftest import Change
from tools import publish


class Recorder:
    """A stand-in for the Hub that records what is sent."""

    def __init__(self) -> None:
        self.repos: list[tuple[str, bool]] = []
        self.files: dict[str, bytes] = {}

    def create_repo(self, repo: str, *, private: bool, exist_ok: bool) -> None:
        assert exist_ok
        self.repos.append((repo, private))

    def create_commit(self, repo: str, operations: list[Any], *, commit_message: str) -> None:
        assert [(repo, True)] == self.repos
        assert commit_message.startswith("adaptive, ")
        for operation in operations:
            with operation.as_file() as stream:
                self.files[operation.path_in_repo] = stream.read()


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    recorder = Recorder()
    monkeypatch.setattr(publish, "HfApi", lambda: recorder)
    monkeypatch.setattr(publish, "get_token", lambda: "hf_token")
    return recorder


@pytest.fixture
def packaged(change: Change, tokenizer: PreTrainedTokenizerFast) -> Change:
    """Make a model and its card, and turn publishing on."""
    tiny_model(tokenizer).save_pretrained(MODELS / "adaptive")
    fingerprint = model_fingerprint(MODELS / "adaptive")
    write_json(MODEL_REPORTS / "adaptive.json", {"fingerprint": fingerprint})
    CARDS.mkdir(parents=True)
    (CARDS / "adaptive.md").write_text(f"| weights | fingerprint `{fingerprint}` |\n")
    change({"hub.push": {"repo": "org/uphill", "private": True}})
    return change


def test_a_model_goes_to_the_hub_with_its_card(packaged: Change, hub: Recorder) -> None:
    publish.main("adaptive")
    assert hub.repos == [("org/uphill-adaptive", True)]
    folder = {path.name: path.read_bytes() for path in (MODELS / "adaptive").iterdir()}
    assert hub.files == folder | {"README.md": (CARDS / "adaptive.md").read_bytes()}
    assert "model.safetensors" in folder


def test_nothing_is_sent_unasked_without_a_token_or_without_the_models_own_card(
    packaged: Change,
    hub: Recorder,
    tokenizer: PreTrainedTokenizerFast,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(ValueError, match="base: no card reports/cards/base.md"):
        publish.main("base")
    tiny_model(tokenizer, seed=1).save_pretrained(MODELS / "adaptive")
    with pytest.raises(ValueError, match=r"adaptive\.md: not of the model in data/models/adaptive"):
        publish.main("adaptive")
    monkeypatch.setattr(publish, "get_token", lambda: None)
    with pytest.raises(ValueError, match="no token: expected `hf auth login` first"):
        publish.main("adaptive")
    packaged({"hub.push": None})
    with pytest.raises(ValueError, match=r"hub\.push: null: expected \{repo: ORG/NAME"):
        publish.main("adaptive")
    assert not hub.repos
