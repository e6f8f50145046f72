"""Scores read from files."""

import pytest

from tools.sweep.spec import Objective
from tools.sweep.trials import read_score

LOSS = Objective(file="reports/a.json", key="deep.loss", direction="minimize")
LADDER = Objective(
    file="reports/tables/accuracy.csv",
    row={"benchmark": "ladder", "system": "adaptive", "answer_mode": "cot"},
    key="accuracy",
    direction="maximize",
)
TABLE = """benchmark,system,answer_mode,n,accuracy
ladder,adaptive,pot,9,0.1
ladder,adaptive,cot,9,0.5
ladder,uniform,cot,9,0.7
"""


def test_scores_are_read() -> None:
    assert read_score('{"deep": {"loss": 0.25}}', LOSS) == 0.25
    assert read_score(TABLE, LADDER) == 0.5


BAD_SCORES: list[tuple[Objective, str, str]] = [
    (LOSS, '{"deep": {"los": 1}}', "score: reports/a.json: key: 'loss': expected one of ['los']"),
    (LOSS, '{"deep": {"loss": "low"}}', "deep.loss: 'low': expected a number"),
    (LADDER, TABLE.replace("cot", "both"), "reports/tables/accuracy.csv: 0 rows of {'bench"),
]


@pytest.mark.parametrize(("score", "text", "message"), BAD_SCORES)
def test_a_missing_score_is_named(score: Objective, text: str, message: str) -> None:
    with pytest.raises(ValueError) as error:
        read_score(text, score)
    assert message in str(error.value)
