"""Models from elsewhere beside the base."""

from pathlib import Path

import pytest

from stages import fetch
from stages.lib.core.paths import MODELS
from stages.lib.models.fingerprint import model_fingerprint
from tests.stages.conftest import Change


def test_another_model_is_fetched_under_its_name(change: Change, tiny_base: Path) -> None:
    change({"model.others": {"mine": f"folder:{tiny_base}"}})
    fetch.main("mine")
    assert model_fingerprint(MODELS / "mine")
    assert [path.name for path in MODELS.iterdir()] == ["mine"]


def test_an_unknown_model_is_named(change: Change) -> None:
    change({"model.others": {"mine": "folder:nowhere"}})
    with pytest.raises(ValueError, match=r"^model\.others: 'yours': expected one of \['mine'\]"):
        fetch.main("yours")


def test_a_model_that_is_not_at_hand_names_its_parameter(
    change: Change, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    change({"model.others": {"mine": f"hub:org/no-such-model@{'a' * 40}"}})
    with pytest.raises(OSError, match=r"^model\.others\.mine: org/no-such-model@aaa"):
        fetch.main("mine")
