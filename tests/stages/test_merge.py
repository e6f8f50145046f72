"""An adapter from elsewhere, by itself or inside the folder of a trained arm."""

from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerFast

from stages import merge
from stages.lib.core.paths import MODELS
from stages.lib.models.fingerprint import model_fingerprint
from stages.lib.params.training import AdapterTuning
from stages.lib.training.adapters import save_merged, with_adapters
from tests import arms
from tests.conftest import tiny_model
from tests.stages.conftest import Change

LORA = AdapterTuning.model_validate(arms.LORA)


@pytest.fixture
def arm(change: Change, tiny_base: Path, tokenizer: PreTrainedTokenizerFast) -> Path:
    """Enter a folder with a base model; return that of an arm trained by LoRA elsewhere."""
    folder = Path("elsewhere")
    save_merged(with_adapters(tiny_model(tokenizer), LORA, seed=1), tokenizer, folder)
    MODELS.mkdir(parents=True)
    (MODELS / "base").symlink_to(tiny_base)
    adapters = {"inside": f"folder:{folder}", "alone": f"folder:{folder}/adapter"}
    adapters["none"] = f"folder:{tiny_base}"
    change(
        {
            "model.adapted": {
                name: {"parent": "base", "adapter": adapter} for name, adapter in adapters.items()
            }
        }
    )
    return folder


def test_an_adapter_is_found_in_its_folder_and_in_that_of_its_arm(arm: Path) -> None:
    merge.main("inside")
    merge.main("alone")
    assert model_fingerprint(MODELS / "inside") == model_fingerprint(MODELS / "alone")


def test_a_folder_without_an_adapter_is_named(arm: Path) -> None:
    with pytest.raises(
        FileNotFoundError, match=r"^model\.adapted\.none\.adapter: .*tiny: no adapter here"
    ):
        merge.main("none")
    assert not (MODELS / "none").exists()


def test_an_unknown_model_is_named(arm: Path) -> None:
    with pytest.raises(ValueError, match=r"^model\.adapted: 'nobody': expected one of \['inside'"):
        merge.main("nobody")
