"""A mistake of the user's, named before anything is loaded."""

import pytest

from stages import evaluate
from tests.stages.conftest import Change


def test_a_model_that_is_not_to_be_evaluated_is_named(change: Change) -> None:
    change({"evaluate.models.base": [0]})
    with pytest.raises(
        ValueError, match=r"^evaluate\.models: 'nobody': expected one of \['base', "
    ):
        evaluate.main("nobody")
