"""Our answers in the authors' layout, read back by the command that regrades theirs."""

from pathlib import Path

import pytest

from stages import analyze
from stages.lib.core.schema import Problem
from stages.lib.params.load import load_params
from tests.rows import make_generation, make_problem, make_record
from tests.stages.test_analyze import PROBLEMS, write_inputs
from tools.replicate import regrade, write
from tools.replicate.results import read_results


def test_what_is_written_is_read_and_regraded_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_inputs()
    analyze.main()
    write.main("out")
    skipped: list[str] = []
    cases = read_results(Path("out"), skipped.append)
    # The ladder is none of the authors' benchmarks.
    assert len(skipped) == 4 * 2
    assert all(line.endswith(": not a file of a known benchmark") for line in skipped)
    assert {case.model.name for case in cases} == {"base", "base-1shot", "uniform", "adaptive"}
    assert len(cases) == 4 * 2 * len(PROBLEMS["gsm8k"])
    answers: list[Problem] = PROBLEMS["gsm8k"]
    assert {case.problem.question for case in cases} == {problem.question for problem in answers}
    ours = [row.status == "correct" for row in regrade.published_records(cases)]
    again = [
        row.status == "correct" for row in regrade.regraded_records(cases, load_params().sandbox)
    ]
    assert ours == again
    assert sum(ours) == 3 + 3  # uniform's texts and adaptive's programs
    (program,) = {
        case.row.output
        for case in cases
        if case.model.name == "uniform" and case.prompting == "pot"
    }
    assert program == "print(undefined)"


def test_an_answer_after_the_follow_up_question_is_marked_as_theirs() -> None:
    problem = make_problem("p", answer="B", kind="choice", choices=["1", "2"])
    answer = make_generation("p", "cot", text="Two of them.")
    record = make_record("s", "p", "cot", benchmark="aqua", option_source="follow_up")
    row = write.as_row(record, answer, problem)
    assert row["matching_strategy"] == "self||A"
    failed = make_record("s", "p", "pot", benchmark="aqua", status="crashed")
    row = write.as_row(failed, answer, problem)
    assert (row["err"], row["correct"]) == (True, False)
    assert row["question"] == problem.question + " Let's write a program."
    assert "matching_strategy" not in row
