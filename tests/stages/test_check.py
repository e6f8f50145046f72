"""What the schema cannot tell: a quantized model is set beside its original."""

import pytest

from stages import check
from stages.lib.paths import PARAMS_OK
from tests.stages.conftest import Change

WRONG = [
    (
        {"base": [0], "uniform": [0], "adaptive-gptq4": [0]},
        "evaluate.models: adaptive-gptq4: expected its parent adaptive to be evaluated too",
    ),
    (
        {"base": [0], "uniform": [0], "adaptive": [0], "adaptive-gptq4": [1]},
        r"evaluate.models.adaptive-gptq4: \[1\]: expected to begin with as many examples as its "
        r"parent's, \[0\]",
    ),
]


@pytest.mark.parametrize(("models", "message"), WRONG)
def test_a_quantized_model_needs_its_original(
    change: Change, models: dict[str, list[int]], message: str
) -> None:
    change({"evaluate.models": models, "analyze.compare": [["uniform", "base"]]})
    with pytest.raises(ValueError, match=message):
        check.main()
    assert not PARAMS_OK.exists()


def test_what_is_not_evaluated_is_not_compared(change: Change) -> None:
    change(
        {"evaluate.models": {"base": [0], "uniform": [0]}, "analyze.compare": [["uniform", "base"]]}
    )
    check.main()
    assert PARAMS_OK.is_file()
