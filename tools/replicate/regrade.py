"""Published generations graded again, and compared with their published verdicts.

Both become ``EvalRecord`` rows, so that both tables come from ``stages.lib.analysis.accuracy``
with the same definitions of the answer modes. The system of a row is the model's name; the id
of a problem is its benchmark and index.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from math import hypot
from statistics import fmean
from typing import Any, Unpack

import numpy as np
import pandas as pd
from scipy.stats import norm

from stages.lib.analysis import accuracy, comparisons
from stages.lib.analysis.answer_modes import ANSWER_MODES
from stages.lib.analysis.intervals import Bootstrap
from stages.lib.core.schema import EvalRecord, Problem, Status
from stages.lib.grading.batch import Submission, grade_batch
from stages.lib.grading.grader import grade_program
from stages.lib.grading.numbers import read_numeral, same_number
from stages.lib.params.sampling import SandboxLimits
from stages.lib.sandbox.pool import ProgramResult
from tools.replicate.results import BENCHMARKS, IN_DOMAIN, Case, PublishedModel


def published_records(cases: Sequence[Case]) -> list[EvalRecord]:
    """Return the authors' verdicts; a failed extraction or execution is a crash."""
    return [_record(case, _published_status(case), case.row.ans, "") for case in cases]


def regraded_records(cases: Sequence[Case], sandbox: SandboxLimits) -> list[EvalRecord]:
    """Grade the published texts; nothing else in the files is used.

    As the authors do, treat a text without ``print(`` as CoT instead of a program.
    """
    graded = grade_batch((_submission(case) for case in cases), sandbox)
    return [
        _record(
            case,
            submission.grade.status,
            submission.grade.matched_option or submission.grade.extracted,
            submission.output,
        )
        for case, submission in zip(cases, graded, strict=True)
    ]


def grade_frame(cases: Sequence[Case], records: Sequence[EvalRecord]) -> pd.DataFrame:
    """Return a row per benchmark, model and problem, as ``accuracy.answer_frame`` does."""
    problems: dict[str, dict[str, Problem]] = defaultdict(dict)
    for case in cases:
        problems[case.benchmark][case.problem.id] = case.problem
    by_benchmark = {name: list(by_id.values()) for name, by_id in problems.items()}
    return accuracy.answer_frame(records, by_benchmark)


def score_table(scores: pd.DataFrame, models: Sequence[PublishedModel]) -> pd.DataFrame:
    """Return a row per model: b, w, steps, and percent by benchmark and answer mode.

    ``scores`` has the accuracy of each benchmark, system and answer mode. The cell of a
    benchmark that a model lacks is empty.
    """
    percent = {
        (row["system"], row["benchmark"], row["answer_mode"]): round(100 * row["accuracy"], 2)
        for row in scores.to_dict("records")
    }
    benchmarks = [name for name in BENCHMARKS if name in set(scores["benchmark"])]
    return pd.DataFrame(
        [
            {"model": model.name, "b": model.b, "w": model.w, "steps": model.steps}
            | {
                f"{benchmark}_{answer_mode}": percent.get((model.name, benchmark, answer_mode))
                for benchmark in benchmarks
                for answer_mode in ANSWER_MODES
            }
            for model in models
        ]
    )


def domain_table(scores: pd.DataFrame, *, level: float) -> pd.DataFrame:
    """Return each model's mean accuracy over the benchmarks of a domain, by answer mode.

    Benchmarks have equal weight; the interval is normal, from their standard errors.
    """
    is_in_domain = scores["benchmark"].isin(IN_DOMAIN)
    scores = scores.assign(domain=np.where(is_in_domain, "in domain", "out of domain"))
    quantile = float(norm.ppf((1 + level) / 2))
    rows = []
    keys = ["domain", "system", "answer_mode"]
    for (domain, system, answer_mode), group in accuracy.groups(scores, keys):
        mean = fmean(group["accuracy"])
        # The benchmarks are independent: the variance of a mean is the sum of theirs over n².
        error = hypot(*group["standard_error"]) / len(group)
        rows.append(
            {
                "domain": domain,
                "system": system,
                "answer_mode": answer_mode,
                "benchmarks": len(group),
                "accuracy": mean,
                "low": mean - quantile * error,
                "high": mean + quantile * error,
            }
        )
    return pd.DataFrame(rows)


def significance_table(
    frame: pd.DataFrame, baseline: str, **bootstrap: Unpack[Bootstrap]
) -> pd.DataFrame:
    """Compare each model with the baseline on the benchmarks that both have.

    Holm's correction is over all comparisons on one benchmark.
    """
    tables = []
    for _, rows in accuracy.groups(frame, ["benchmark"]):
        systems = list(rows["system"].unique())
        pairs = [(name, baseline) for name in systems if name != baseline and baseline in systems]
        if pairs:
            tables.append(comparisons.comparison_table(rows, pairs, **bootstrap))
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def agreement(
    cases: Sequence[Case], published: Sequence[EvalRecord], regraded: Sequence[EvalRecord]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return how often published and regraded verdicts agree, and every pair that differs.

    The counts ``where_stored_suffices`` leave out the problems on which the authors asked the
    model a second time, because that reply is not in the published text.
    """
    verdicts: dict[str, list[tuple[bool, bool, bool]]] = defaultdict(list)
    reasons: Counter[str] = Counter()
    disagreements = []
    for case, old, new in zip(cases, published, regraded, strict=True):
        agrees = (old.status == "correct") == (new.status == "correct")
        for key in ("all", f"{case.benchmark}-{case.prompting}"):
            same_answer = _is_same_answer(case, new.extracted)
            verdicts[key].append((same_answer, agrees, not case.row.retried))
        if not agrees:
            reason = _reason(case, new)
            reasons[reason] += 1
            disagreements.append(_disagreement(case, old, new, reason))
    rates = {key: _rates(rows) for key, rows in verdicts.items()}
    return rates | {"reasons": dict(reasons.most_common())}, disagreements


def _submission(case: Case) -> Submission:
    text, problem = case.row.output, case.problem
    prompting = case.prompting if "print(" in text else "cot"
    return Submission(text, prompting, problem.answer, problem.kind, problem.choices)


def _rates(verdicts: Sequence[tuple[bool, bool, bool]]) -> dict[str, float]:
    """Return shares; a verdict has: same answer, same grade, the published text suffices."""
    sufficient = [agrees for _, agrees, suffices in verdicts if suffices]
    return {
        "n": len(verdicts),
        "answers_agree": round(fmean(same for same, _, _ in verdicts), 4),
        "verdicts_agree": round(fmean(agrees for _, agrees, _ in verdicts), 4),
        "n_where_stored_suffices": len(sufficient),
        "verdicts_agree_where_stored_suffices": round(fmean(sufficient or [False]), 4),
    }


def _reason(case: Case, regraded: EvalRecord) -> str:
    """Return why two verdicts differ, as far as the published fields show.

    "their" stands for the authors and "we" for this grader, as in the committed results.
    """
    row = case.row
    if row.retried:
        return "option_retry_needs_model"
    if case.prompting == "pot" and row.err:
        if "TimeoutError" in row.ans:
            return "their_timeout_1s"
        return "their_executor_failed" if "Error" in row.ans else "their_extraction_failed"
    if not regraded.extracted:
        return "default_option" if row.ans == "A" else "we_found_no_answer"
    if not row.correct and _equals_reference(case):
        return "equivalent_form"
    return "other_comparison" if _is_same_answer(case, regraded.extracted) else "other_answer_read"


def _equals_reference(case: Case) -> bool:
    """Return whether this grader takes the authors' extracted answer for the reference."""
    result = ProgramResult("ok", case.row.ans, "", 0.0)
    problem = case.problem
    grade = grade_program(result, answer=problem.answer, kind=problem.kind, choices=problem.choices)
    return grade.status == "correct"


def _is_same_answer(case: Case, regraded: str) -> bool:
    """Return whether both extracted the same text or number, or both no answer."""
    old, new = ("".join(text.split()).casefold() for text in (case.row.ans, regraded))
    if old == new or (case.row.err and not new):
        return True
    old_number, new_number = read_numeral(old), read_numeral(new)
    if old_number is None or new_number is None:
        return False
    return same_number(old_number, new_number)


def _disagreement(
    case: Case, published: EvalRecord, regraded: EvalRecord, reason: str
) -> dict[str, Any]:
    return {
        "reason": reason,
        "model": case.model.name,
        "problem": case.problem.id,
        "prompting": case.prompting,
        "question": case.problem.question,
        "reference": case.problem.answer,
        "published": {
            "answer": case.row.ans,
            "failed": case.row.err,
            "status": published.status,
        },
        "regraded": {
            "answer": regraded.extracted,
            "status": regraded.status,
            "printed": regraded.output,
        },
        "text": case.row.output,
    }


def _published_status(case: Case) -> Status:
    if case.row.correct:
        return "correct"
    return "crashed" if case.row.err else "wrong"


def _record(case: Case, status: Status, extracted: str, output: str) -> EvalRecord:
    return EvalRecord(
        benchmark=case.benchmark,
        problem_id=case.problem.id,
        system=case.model.name,
        prompting=case.prompting,
        status=status,
        extracted=extracted,
        output=output,
        finish_reason="unknown",
        n_tokens=0,
    )
