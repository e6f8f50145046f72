"""One supervised training that the tests of training compare with."""

from typing import TYPE_CHECKING

import pytest
from transformers import PreTrainedTokenizerFast

if TYPE_CHECKING:
    from tests.lib.sft.test_trainer import Trained


@pytest.fixture(scope="session")
def whole_run(
    tokenizer: PreTrainedTokenizerFast, tmp_path_factory: pytest.TempPathFactory
) -> "Trained":
    """Return a training of six steps that nothing interrupted, with a checkpoint every two."""
    # Imported here: it takes seconds, and few packages train.
    from tests.lib.sft.test_trainer import trained

    return trained(tokenizer, tmp_path_factory.mktemp("trained") / "whole", save_every=2)
