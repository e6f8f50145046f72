"""From raw answers to verdicts, tables and metrics."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stages import analyze, prepare
from stages.lib.analysis.accuracy import ANSWER_MODES, answer_frame, comparison_table, status_table
from stages.lib.core.files import read_json, write_json
from stages.lib.core.paths import (
    ANSWERS,
    EVAL_PROBLEMS,
    GRADES,
    LIKELIHOODS,
    METRICS,
    MODEL_REPORTS,
    TABLES,
)
from stages.lib.core.schema import (
    EvalRecord,
    Generation,
    Likelihood,
    OptionSource,
    Problem,
    Prompting,
    Status,
)
from stages.lib.core.tables import read_parquet, write_parquet
from stages.lib.generations.store import Store
from stages.lib.grading import batch
from stages.lib.grading.batch import Submission, grade_batch, unmatched_answer
from stages.lib.params.load import load_params
from stages.lib.params.sampling import SandboxLimits
from stages.lib.sandbox.pool import ProgramResult
from tests.stages.conftest import Change

SYSTEMS = {
    "base": ("I do not know.", "no program"),
    "uniform": ("The answer is {answer}.", "```python\nprint(undefined)\n```"),
    "adaptive": ("The answer is 99999.", "```python\nprint('{answer}')\n```"),
}


def answer_everything() -> None:
    for model, texts in SYSTEMS.items():
        rows = [
            Generation(
                problem_id=problem.id,
                model=model,
                prompting=prompting,
                shots=0,
                index=0,
                text=text.replace("{answer}", problem.answer),
                finish_reason="stop",
                n_tokens=5,
                prompt_sha="p",
            )
            for path in sorted(EVAL_PROBLEMS.glob("*.parquet"))
            for problem in read_parquet(path, Problem)
            for prompting, text in zip(PROMPTINGS, texts, strict=True)
        ]
        Store(ANSWERS / model).append(rows)
        report = {"weight_bytes": 10, "held_out_tokens": 1, "fingerprint": "f"}
        report |= {"memory_bytes": 11, "speed": None}
        write_json(MODEL_REPORTS / f"{model}.json", report)
        likelihoods = [Likelihood(str(n), "s", 5.0 + n, 10) for n in range(3)]
        write_parquet(LIKELIHOODS / f"{model}.parquet", likelihoods)


PROMPTINGS: tuple[Prompting, ...] = ("cot", "pot")


@pytest.fixture
def sandbox() -> SandboxLimits:
    return SandboxLimits(timeout_s=5.0, memory_mb=256, workers=1, allow_unprotected=False)


@pytest.fixture
def analyzed(change: Change) -> None:
    change(
        {
            "evaluate.models": {model: [0] for model in SYSTEMS},
            "quantize.models": {},
            "analyze.compare": [["adaptive", "uniform"], ["uniform", "base"]],
            "sandbox.workers": 1,
        }
    )
    prepare.main()
    answer_everything()
    analyze.main()


def test_metrics_are_the_held_out_benchmark_and_the_mean_of_the_others(analyzed: None) -> None:
    expected = {
        "base": {"cot": 0.0, "pot": 0.0},
        "uniform": {"cot": 1.0, "pot": 0.0},
        "adaptive": {"cot": 0.0, "pot": 1.0},
    }
    found = read_json(METRICS / "accuracy.json")["accuracy"]
    assert found["ladder"] == expected
    assert found["others"]["uniform"] == expected["uniform"]
    assert set(found) == {"ladder", "others"}


def test_the_mean_of_the_others_weighs_benchmarks_alike() -> None:
    rows = [
        {"benchmark": name, "system": "base", "answer_mode": answer_mode, "accuracy": share}
        for name, share in (("ladder", 0.9), ("gsm8k", 0.5), ("math500", 0.25))
        for answer_mode in ("cot", "fallback")
    ]
    found = analyze.headline(pd.DataFrame(rows), "ladder")
    assert found == {"ladder": {"base": {"cot": 0.9}}, "others": {"base": {"cot": 0.375}}}


def test_accuracy_is_counted_by_decoding(analyzed: None) -> None:
    table = pd.read_csv(TABLES / "accuracy.csv").set_index(["benchmark", "system", "answer_mode"])
    found = [table.loc[("gsm8k", "uniform", name), "accuracy"] for name in ANSWER_MODES]
    assert dict(zip(ANSWER_MODES, found, strict=True)) == {
        "cot": 1,
        "pot": 0,
        "fallback": 1,
        "both": 0,
        "either": 1,
    }


def test_every_non_answer_is_counted_by_status(analyzed: None) -> None:
    table = pd.read_csv(TABLES / "statuses.csv").set_index(["benchmark", "system", "prompting"])
    assert table.loc[("ladder", "base", "pot"), "unparsed"] == 6
    assert table.loc[("ladder", "uniform", "pot"), "crashed"] == 6
    assert table.loc[("ladder", "adaptive", "cot"), "wrong"] == 6
    assert table.to_numpy().sum() == len(SYSTEMS) * 2 * (6 + 3 + 3 + 2)


CHOICE = Problem(
    id="c",
    source="s",
    question="2 + 2?\nAnswer Choices: (A) 3 (B) 4",
    answer="B",
    kind="choice",
    choices=["3", "4"],
    solution="",
    program="",
    level=None,
    topic="t",
    template="c",
)


@pytest.mark.parametrize(
    ("prompting", "text", "about"),
    [
        ("cot", "It is four.\nThe answer is 5.", "5"),
        ("cot", "Let me think\nabout it", "about it"),
        ("cot", "The answer is (A).", None),
        ("cot", "", ""),
        ("pot", "```python\nprint(2 + 3)\n```", "5"),
        ("pot", "```python\nprint('B')\n```", None),
        ("pot", "```python\nprint(undefined)\n```", None),
        ("pot", "```python\nx = 5\n```", None),
        ("pot", "I would rather not.", None),
    ],
)
def test_what_is_none_of_the_options_is_asked_about(
    sandbox: SandboxLimits, prompting: Prompting, text: str, about: str | None
) -> None:
    one = Submission(text, prompting, CHOICE.answer, CHOICE.kind, CHOICE.choices)
    (judged,) = grade_batch([one], sandbox)
    assert unmatched_answer(one, judged) == about


@pytest.mark.parametrize(
    ("text", "reply", "status", "option_source"),
    [
        ("The answer is 5.", "The closest option is (B).", "correct", "asked"),
        ("The answer is 5.", "The answer is (A).", "wrong", "asked"),
        ("The answer is 5.", "None of them.", "wrong", "default"),
        ("The answer is (A).", "The answer is (B).", "wrong", ""),
        ("The answer is 5.", None, "unparsed", ""),
    ],
)
def test_a_reply_settles_what_is_none_of_the_options(
    sandbox: SandboxLimits, text: str, reply: str | None, status: str, option_source: str
) -> None:
    one = Submission(text, "cot", CHOICE.answer, CHOICE.kind, CHOICE.choices, reply)
    (judged,) = grade_batch([one], sandbox)
    assert (judged.verdict.status, judged.option_source) == (status, option_source)


def test_a_program_runs_once_and_verdicts_keep_their_order(
    sandbox: SandboxLimits, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[str] = []

    def counted(programs: list[str], **settings: Any) -> list[ProgramResult]:
        ran.extend(programs)
        return [ProgramResult("ok", text[6:-1], "", 0.0) for text in programs]

    monkeypatch.setattr(batch, "run_programs", counted)
    monkeypatch.setattr(batch, "AHEAD", 2)
    programs = ["print(4)", "print(5)", "print(5)", "print(4)", "print(6)"]
    answers = [Submission(f"```python\n{one}\n```", "pot", "4", "number", []) for one in programs]
    answers.insert(3, Submission("2 + 2 = 4. The answer is 4.", "cot", "4", "number", []))

    judged = list(grade_batch(iter(answers), sandbox))

    assert ran == ["print(4)", "print(5)", "print(6)"]
    assert [one.output for one in judged] == ["4", "5", "5", "", "4", "6"]
    assert [one.verdict.extracted for one in judged] == ["4", "5", "5", "4", "4", "6"]
    correct = [one.verdict.status == "correct" for one in judged]
    assert correct == [True, False, False, True, True, False]


def test_answers_are_taken_a_few_at_a_time(
    sandbox: SandboxLimits, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch, "AHEAD", 2)
    taken: list[int] = []

    def answers() -> Iterator[Submission]:
        for number in range(5):
            taken.append(number)
            yield Submission("The answer is 4.", "cot", "4", "number", [])

    next(grade_batch(answers(), sandbox))

    assert taken == [0, 1]


SETTLED: list[tuple[Prompting, Status, OptionSource]] = [
    ("cot", "wrong", ""),
    ("pot", "correct", "default"),
]


def test_an_option_by_default_is_no_answer_of_a_program() -> None:
    graded = [
        EvalRecord(
            benchmark="options",
            problem_id="c",
            system="base",
            prompting=prompting,
            status=status,
            extracted="",
            output="",
            finish_reason="stop",
            n_tokens=1,
            option_source=option_source,
        )
        for prompting, status, option_source in SETTLED
    ]
    frame = answer_frame(graded, {"options": [CHOICE]})
    assert frame.loc[0, list(ANSWER_MODES)].tolist() == [False, True, False, False, True]
    counts = status_table(graded).set_index("prompting")
    assert counts.loc["pot", ["cut", "asked", "default"]].tolist() == [0, 0, 1]


def test_comparisons_are_paired(analyzed: None) -> None:
    table = pd.read_csv(TABLES / "comparisons.csv")
    keys = ["benchmark", "first", "second", "answer_mode"]
    found = table.set_index(keys)["difference"].to_dict()
    assert found[("ladder", "adaptive", "uniform", "cot")] == -1
    assert found[("ladder", "adaptive", "uniform", "pot")] == 1
    assert found[("ladder", "adaptive", "uniform", "fallback")] == 0
    for row in table.to_dict("records"):
        assert row["low"] <= row["difference"] <= row["high"]
        assert row["p_holm"] >= row["p"]


@pytest.mark.parametrize(("sources", "p"), [(6, 2**-5), (5, None)])
def test_a_difference_in_every_source_is_told_from_one_in_a_few(
    sources: int, p: float | None
) -> None:
    frame = pd.DataFrame(
        [
            {
                "benchmark": "ladder",
                "system": system,
                "problem_id": f"{source}-{number}",
                "source": f"s{source}",
                "pot": system == "first" and source == 0,
                "cot": system == "first",
                "fallback": True,
            }
            for system in ("first", "second")
            for source in range(sources)
            for number in range(2)
        ]
    )
    table = comparison_table(
        frame, [["first", "second"]], draws=10, level=0.95, rng=np.random.default_rng(0)
    )
    found = table.set_index("answer_mode")["p_sources"]
    if p is None:
        assert found.isna().tolist() == [True] * 3
    else:
        assert found.to_dict() == {"cot": round(p, 4), "pot": 1.0, "fallback": 1.0}


def test_styles_are_measured_of_compared_systems(analyzed: None) -> None:
    styles = pd.read_csv(TABLES / "styles.csv").set_index(["benchmark", "system", "prompting"])
    assert styles.loc[("ladder", "uniform", "cot"), ["stated", "steps", "accuracy"]].tolist() == [
        1,
        0,
        1,
    ]
    assert styles.loc[("ladder", "base", "cot"), ["stated", "tokens"]].tolist() == [0, 5]
    differences = pd.read_csv(TABLES / "style_differences.csv")
    assert set(differences["measure"]) == {"tokens", "steps", "stated"}
    shown = pd.read_csv(TABLES / "side_by_side.csv")
    assert set(shown["text"]) == {
        "I do not know.",
        "The answer is 99999.",
        *(f"The answer is {answer}." for answer in shown["answer"]),
    }


def test_pairs_with_a_quantized_model_are_not_set_side_by_side(change: Change) -> None:
    wanted = load_params()
    assert wanted.quantize.models
    found = analyze.unquantized(wanted)
    assert found == [
        pair
        for pair in wanted.analyze.compare
        if not any(name in wanted.quantize.models for name in pair)
    ]
    assert 0 < len(found) < len(wanted.analyze.compare)


def test_verdicts_keep_what_programs_printed(analyzed: None) -> None:
    rows = read_parquet(GRADES, EvalRecord)
    assert len(rows) == len(SYSTEMS) * 2 * (6 + 3 + 3 + 2)
    crashed = [row for row in rows if row.status == "crashed"]
    assert crashed
    assert all("NameError" in row.output for row in crashed)


def test_a_missing_answer_is_an_error_and_not_a_wrong_one(change: Change, analyzed: None) -> None:
    shard = next((ANSWERS / "base").glob("*.parquet"))
    rows = list(Store(ANSWERS / "base").rows())
    shard.unlink()
    Store(ANSWERS / "base").append(rows[1:])
    with pytest.raises(ValueError, match="expected a CoT and a PoT answer to every problem"):
        analyze.main()
