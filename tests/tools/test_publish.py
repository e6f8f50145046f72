"""What is sent to the Hub, and when nothing is."""

import json
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from stages.lib.core.files import write_json
from stages.lib.core.paths import CARDS, MODEL_REPORTS, MODELS
from stages.lib.models.fingerprint import model_fingerprint
from stages.lib.params.training import AdapterTuning
from stages.lib.training.adapters import save_merged, with_adapters
from tests import arms
from tests.conftest import tiny_model
from tests.stages.conftest import Change
from tools import publish


class Recorder:
    """A stand-in for the Hub that records what is sent."""

    def __init__(self) -> None:
        self.repos: list[tuple[str, bool]] = []
        self.branches: list[str] = []
        self.files: dict[str, bytes] = {}

    def create_repo(self, repo: str, *, private: bool, exist_ok: bool) -> None:
        assert exist_ok
        self.repos.append((repo, private))

    def create_branch(self, repo: str, *, branch: str, exist_ok: bool) -> None:
        assert exist_ok
        assert [(repo, True)] == self.repos
        self.branches.append(branch)

    def create_commit(
        self, repo: str, operations: list[Any], *, commit_message: str, revision: str
    ) -> None:
        assert [(repo, True)] == self.repos
        assert revision in ["main", *self.branches]
        assert commit_message.startswith("adaptive")
        for operation in operations:
            with operation.as_file() as stream:
                self.files[operation.path_in_repo] = stream.read()


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    recorder = Recorder()
    monkeypatch.setattr(publish, "HfApi", lambda: recorder)
    monkeypatch.setattr(publish, "get_token", lambda: "hf_token")
    return recorder


def package(model: str, tokenizer: PreTrainedTokenizerFast, *, adapters: bool = False) -> None:
    """Make a model and its card."""
    trained = tiny_model(tokenizer)
    tuning = AdapterTuning.model_validate(arms.LORA)
    save_merged(
        with_adapters(trained, tuning, seed=1) if adapters else trained, tokenizer, MODELS / model
    )
    fingerprint = model_fingerprint(MODELS / model)
    write_json(MODEL_REPORTS / f"{model}.json", {"fingerprint": fingerprint})
    CARDS.mkdir(parents=True, exist_ok=True)
    (CARDS / f"{model}.md").write_text(f"| weights | fingerprint `{fingerprint}` |\n")


@pytest.fixture
def packaged(change: Change, tokenizer: PreTrainedTokenizerFast) -> Change:
    """Make a model and its card, and turn publishing on."""
    package("adaptive", tokenizer)
    change({"hub.push": {"repo": "org/uphill", "private": True}})
    return change


def test_a_model_goes_to_the_hub_with_its_card(packaged: Change, hub: Recorder) -> None:
    publish.main("adaptive")
    assert hub.repos == [("org/uphill-adaptive", True)]
    folder = {path.name: path.read_bytes() for path in (MODELS / "adaptive").iterdir()}
    assert hub.files == folder | {"README.md": (CARDS / "adaptive.md").read_bytes()}
    assert "model.safetensors" in folder


def test_adapters_go_with_their_model_and_name_the_base(
    packaged: Change, hub: Recorder, tokenizer: PreTrainedTokenizerFast
) -> None:
    package("adaptive", tokenizer, adapters=True)
    publish.main("adaptive")
    adapter = MODELS / "adaptive" / "adapter"
    weights = (adapter / "adapter_model.safetensors").read_bytes()
    assert hub.files["adapter/adapter_model.safetensors"] == weights
    local = (adapter / "adapter_config.json").read_bytes()
    assert hub.files["adapter/adapter_config.json"] == local
    packaged({"model.base": f"hub:org/base@{'a' * 40}"})
    hub.repos.clear()
    publish.main("adaptive")
    config = json.loads(hub.files["adapter/adapter_config.json"])
    named = {"base_model_name_or_path": "org/base", "revision": "a" * 40}
    assert config == json.loads(local) | named


@pytest.mark.parametrize(
    ("parent", "repo", "branch"),
    [
        ("adaptive", "org/uphill-adaptive", "adaptive-rtn4"),
        ("base", "org/uphill-adaptive-rtn4", "main"),
    ],
)
def test_a_quantized_model_goes_to_a_branch_of_its_parent(
    packaged: Change,
    hub: Recorder,
    tokenizer: PreTrainedTokenizerFast,
    parent: str,
    repo: str,
    branch: str,
) -> None:
    packaged(
        {"quantize.rounded": {"adaptive-rtn4": {"method": "rtn", "parent": parent, "bits": 4}}}
    )
    package("adaptive-rtn4", tokenizer)
    publish.main("adaptive-rtn4")
    assert hub.repos == [(repo, True)]
    assert hub.branches == ([] if branch == "main" else [branch])


def test_nothing_is_sent_unasked_without_a_token_or_without_the_models_own_card(
    packaged: Change,
    hub: Recorder,
    tokenizer: PreTrainedTokenizerFast,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(ValueError, match="base: no card reports/cards/base.md"):
        publish.main("base")
    save_merged(tiny_model(tokenizer, seed=1), tokenizer, MODELS / "adaptive")
    with pytest.raises(ValueError, match=r"adaptive\.md: not of the model in data/models/adaptive"):
        publish.main("adaptive")
    monkeypatch.setattr(publish, "get_token", lambda: None)
    with pytest.raises(ValueError, match="no token: expected `hf auth login` first"):
        publish.main("adaptive")
    packaged({"hub.push": None})
    with pytest.raises(ValueError, match=r"hub\.push: null: expected \{repo: ORG/NAME"):
        publish.main("adaptive")
    assert not hub.repos
