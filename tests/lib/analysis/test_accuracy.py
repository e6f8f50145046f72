"""Accuracy and statuses, counted by hand."""

import pytest

from stages.lib.analysis.accuracy import accuracy_table, answer_frame, status_table
from stages.lib.analysis.answer_modes import ANSWER_MODES
from tests.rows import make_problem, make_record


def test_the_first_option_by_default_is_no_answer_of_a_program() -> None:
    records = [
        make_record("base", "p", "cot", status="wrong", option_source="follow_up"),
        make_record("base", "p", "pot", option_source="first_option"),
    ]
    frame = answer_frame(records, {"ladder": [make_problem("p")]})
    assert frame.loc[0, list(ANSWER_MODES)].tolist() == [False, True, False, False, True]
    counts = status_table(records).set_index("prompting")
    assert counts.loc["cot", ["cut", "follow_up", "first_option"]].tolist() == [0, 1, 0]
    assert counts.loc["pot", ["cut", "follow_up", "first_option"]].tolist() == [0, 0, 1]


def test_one_prompting_has_its_own_mode_alone() -> None:
    records = [make_record("base", "p", "cot", status="wrong"), make_record("base", "q", "cot")]
    frame = answer_frame(records, {"ladder": [make_problem("p"), make_problem("q")]})
    assert set(ANSWER_MODES) & set(frame.columns) == {"cot"}
    table = accuracy_table(frame, ["benchmark", "system"], level=0.95)
    assert table[["answer_mode", "n", "accuracy"]].to_numpy().tolist() == [["cot", 2, 0.5]]


def test_an_answer_that_other_systems_have_is_missed() -> None:
    records = [
        make_record("base", "p", "cot"),
        make_record("base", "p", "pot"),
        make_record("uniform", "p", "cot"),
    ]
    with pytest.raises(ValueError, match="of every system to every problem with each of cot, pot"):
        answer_frame(records, {"ladder": [make_problem("p")]})
