"""Published results scored again: by the stored verdicts, and by our own grading.

Stored verdicts become ``EvalRecord`` rows, as our own are, and both tables come from
``stages.lib.analysis.accuracy``, with the same definitions of the decodings. The system of a
``EvalRecord`` row is the model's name, the id of a problem its benchmark and place.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from math import hypot
from statistics import fmean
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import norm

from stages.lib.analysis import accuracy
from stages.lib.core.schema import EvalRecord, Problem, Status
from stages.lib.grading.batch import Submission, grade_batch
from stages.lib.grading.grader import grade_program
from stages.lib.grading.numbers import read_numeral, same_number
from stages.lib.params.sampling import SandboxLimits
from stages.lib.sandbox.pool import ProgramResult
from tools.replicate.results import BENCHMARKS, IN_DOMAIN, Case, Model

DOMAINS = ("in domain", "out of domain")


def stored_verdicts(cases: Sequence[Case]) -> list[EvalRecord]:
    """Return the authors' verdicts; a failed extraction or execution is a crash."""
    return [_graded(case, _stored_status(case), case.row.ans, "") for case in cases]


def own_verdicts(cases: Sequence[Case], sandbox: SandboxLimits) -> list[EvalRecord]:
    """Return our verdicts on the stored generations; nothing else in the files is used.

    As with the authors, a text without ``print(`` is no program and read as a text.
    """
    judged = grade_batch((_answer(case) for case in cases), sandbox)
    return [
        _graded(
            case,
            one.verdict.status,
            one.verdict.matched_option or one.verdict.extracted,
            one.output,
        )
        for case, one in zip(cases, judged, strict=True)
    ]


def answers_of(cases: Sequence[Case], graded: Sequence[EvalRecord]) -> pd.DataFrame:
    """Return a row per benchmark, model and problem, as ``analysis.answer_frame`` does."""
    problems: dict[str, dict[str, Problem]] = defaultdict(dict)
    for case in cases:
        problems[case.benchmark][case.problem.id] = case.problem
    return accuracy.answer_frame(graded, {name: list(of.values()) for name, of in problems.items()})


def score_table(scores: pd.DataFrame, models: Sequence[Model]) -> pd.DataFrame:
    """Return a row per model: b, w, steps, and percent by benchmark and decoding.

    ``scores`` has the accuracy of each benchmark, system and decoding. A benchmark that a
    model lacks is empty.
    """
    percent = {
        (row["system"], row["benchmark"], row["answer_mode"]): round(100 * row["accuracy"], 2)
        for row in scores.to_dict("records")
    }
    shown = [name for name in BENCHMARKS if name in set(scores["benchmark"])]
    return pd.DataFrame(
        [
            {"model": model.name, "b": model.b, "w": model.w, "steps": model.steps}
            | {
                f"{benchmark}_{answer_mode}": percent.get((model.name, benchmark, answer_mode))
                for benchmark in shown
                for answer_mode in accuracy.ANSWER_MODES
            }
            for model in models
        ]
    )


def domain_table(scores: pd.DataFrame, *, level: float) -> pd.DataFrame:
    """Return each model's mean accuracy over the benchmarks of a domain, by decoding.

    Benchmarks weigh alike; the interval is normal, from the benchmarks' standard errors.
    """
    inside = scores["benchmark"].isin(IN_DOMAIN)
    scores = scores.assign(domain=np.where(inside, *DOMAINS))
    reach = float(norm.ppf((1 + level) / 2))
    rows = []
    for (domain, system, answer_mode), of in accuracy.groups(
        scores, ["domain", "system", "answer_mode"]
    ):
        mean = fmean(of["accuracy"])
        error = hypot(*of["standard_error"]) / len(of)
        rows.append(
            {
                "domain": domain,
                "system": system,
                "answer_mode": answer_mode,
                "benchmarks": len(of),
                "accuracy": mean,
                "low": mean - reach * error,
                "high": mean + reach * error,
            }
        )
    return pd.DataFrame(rows)


def significance_table(
    frame: pd.DataFrame, baseline: str, *, draws: int, level: float, rng: np.random.Generator
) -> pd.DataFrame:
    """Return each model against the baseline on the benchmarks that both have.

    Holm's correction is over all comparisons on one benchmark.
    """
    tables = []
    for _, of in accuracy.groups(frame, ["benchmark"]):
        systems = list(of["system"].unique())
        pairs = [(one, baseline) for one in systems if one != baseline and baseline in systems]
        if pairs:
            tables.append(accuracy.comparison_table(of, pairs, draws=draws, level=level, rng=rng))
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def agreement(
    cases: Sequence[Case], theirs: Sequence[EvalRecord], ours: Sequence[EvalRecord]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return how often we and the authors agree, and every verdict on which we do not.

    ``where_stored_suffices`` leaves out the problems on which the authors asked the
    model once more, which a stored text cannot replace.
    """
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    reasons: Counter[str] = Counter()
    disagreements = []
    for case, their, our in zip(cases, theirs, ours, strict=True):
        same = (their.status == "correct") == (our.status == "correct")
        for key in ("all", f"{case.benchmark}-{case.prompting}"):
            counts[key]["n"] += 1
            counts[key]["same_answer"] += _same_answer(case, our.extracted)
            counts[key]["same_verdict"] += same
            counts[key]["sufficient"] += not case.row.retried
            counts[key]["same_where_sufficient"] += same and not case.row.retried
        if not same:
            reason = _reason(case, our)
            reasons[reason] += 1
            disagreements.append(_disagreement(case, their, our, reason))
    rates = {key: _rates(of) for key, of in counts.items()}
    return rates | {"reasons": dict(reasons.most_common())}, disagreements


def _answer(case: Case) -> Submission:
    text, problem = case.row.output, case.problem
    prompting = case.prompting if "print(" in text else "cot"
    return Submission(text, prompting, problem.answer, problem.kind, problem.choices)


def _rates(of: Counter[str]) -> dict[str, float]:
    return {
        "n": of["n"],
        "answers_agree": round(of["same_answer"] / of["n"], 4),
        "verdicts_agree": round(of["same_verdict"] / of["n"], 4),
        "n_where_stored_suffices": of["sufficient"],
        "verdicts_agree_where_stored_suffices": round(
            of["same_where_sufficient"] / max(1, of["sufficient"]), 4
        ),
    }


def _reason(case: Case, our: EvalRecord) -> str:
    """Return why two verdicts differ, as far as the stored fields tell."""
    row = case.row
    if row.retried:
        return "option_retry_needs_model"
    if case.prompting == "pot" and row.err:
        if "TimeoutError" in row.ans:
            return "their_timeout_1s"
        return "their_executor_failed" if "Error" in row.ans else "their_extraction_failed"
    if not our.extracted:
        return "default_option" if row.ans == "A" else "we_found_no_answer"
    if not row.correct and _judges_equal(case):
        return "equivalent_form"
    return "other_comparison" if _same_answer(case, our.extracted) else "other_answer_read"


def _judges_equal(case: Case) -> bool:
    """Say whether our comparison takes the authors' extracted answer for the reference."""
    said = ProgramResult("ok", case.row.ans, "", 0.0)
    problem = case.problem
    verdict = grade_program(said, answer=problem.answer, kind=problem.kind, choices=problem.choices)
    return verdict.status == "correct"


def _same_answer(case: Case, extracted: str) -> bool:
    theirs, ours = ("".join(text.split()).casefold() for text in (case.row.ans, extracted))
    if theirs == ours or (case.row.err and not ours):
        return True
    their_number, our_number = read_numeral(theirs), read_numeral(ours)
    if their_number is None or our_number is None:
        return False
    return same_number(their_number, our_number)


def _disagreement(case: Case, their: EvalRecord, our: EvalRecord, reason: str) -> dict[str, Any]:
    return {
        "reason": reason,
        "model": case.model.name,
        "problem": case.problem.id,
        "prompting": case.prompting,
        "question": case.problem.question,
        "reference": case.problem.answer,
        "theirs": {"answer": case.row.ans, "failed": case.row.err, "status": their.status},
        "ours": {"answer": our.extracted, "status": our.status, "printed": our.output},
        "text": case.row.output,
    }


def _stored_status(case: Case) -> Status:
    if case.row.correct:
        return "correct"
    return "crashed" if case.row.err else "wrong"


def _graded(case: Case, status: Status, extracted: str, output: str) -> EvalRecord:
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
