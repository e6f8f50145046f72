"""Comparisons in a child process: after one that timed out, and from several threads."""

from concurrent.futures import ThreadPoolExecutor

from stages.lib.grading import equivalence
from stages.lib.grading.grader import grade


def test_comparison_goes_on_after_one_was_ended() -> None:
    # Math-Verify #65: a tower of powers hung for ever
    tower = grade(r"\boxed{9^{9^{9^9}}}", answer="3", kind="expression")
    assert (tower.status, tower.extracted) == ("ungraded", "9^{9^{9^9}}")
    assert equivalence.compare("x+1", "1+x") == "equal"


def test_expressions_are_compared_in_threads() -> None:
    with ThreadPoolExecutor(4) as pool:
        grades = pool.map(
            lambda n: grade(rf"\boxed{{x+{n}}}", answer=f"{n % 5}+x", kind="expression"), range(20)
        )
        statuses = [outcome.status for outcome in grades]
    assert statuses == ["correct"] * 5 + ["wrong"] * 15
