"""Problem sets: the ladder and its split, samples, local files."""

import json
import re
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.lib.core.paths import CONF
from stages.lib.core.schema import Problem, content_id
from stages.lib.data.ladder import RUNGS, part_of, sample_ladder
from stages.lib.data.problems import check_problems, load_jsonl, subsample
from stages.lib.params.compose import compose
from tests.rows import make_problem

PROBLEM = make_problem(
    "p1",
    source="sum-1-digit",
    question="What is 7 + 8?",
    answer="15",
    solution="7 + 8 = 15. The answer is 15.",
    program="print(7 + 8)",
    template="sum-1-digit",
)


def problems_with(*questions: str) -> list[Problem]:
    return [replace(PROBLEM, id=question, question=question) for question in questions]


class TestLadder:
    def test_every_rung_gives_as_many_different_problems_as_asked(self) -> None:
        problems = sample_ladder(list(RUNGS), per_rung=80, seed=3)
        assert [problem.source for problem in problems] == [n for n in RUNGS for _ in range(80)]
        assert len({(problem.source, problem.question) for problem in problems}) == len(RUNGS) * 80
        assert len({problem.id for problem in problems}) == len(RUNGS) * 80

    def test_a_problem_carries_its_rung(self) -> None:
        (problem,) = sample_ladder(["fraction"], per_rung=1, seed=3)
        assert problem.id == content_id("fraction", problem.question)
        assert (problem.source, problem.template) == ("fraction", "fraction")
        assert (problem.level, problem.topic, problem.kind) == (14, "fractions", "expression")
        assert (problem.choices, problem.solution[-len(problem.answer) - 1 :]) == (
            [],
            f"{problem.answer}.",
        )

    def test_the_seed_decides_and_other_rungs_do_not(self) -> None:
        alone = sample_ladder(["gcd"], per_rung=40, seed=3)
        beside = sample_ladder(["product-2x2", "gcd"], per_rung=40, seed=3)
        assert alone == beside[40:]
        assert alone[:10] == sample_ladder(["gcd"], per_rung=10, seed=3)
        assert alone != sample_ladder(["gcd"], per_rung=40, seed=4)

    def test_rungs_do_not_share_their_numbers(self) -> None:
        problems = sample_ladder(["sum-2-digit", "product-2x2"], per_rung=40, seed=3)
        pairs = [tuple(re.findall(r"\d+", problem.question)) for problem in problems]
        assert len(set(pairs[:40]) & set(pairs[40:])) < 5

    @pytest.mark.parametrize(
        ("name", "sign"), [("sum-1-digit", "+"), ("difference-1-digit", "-"), ("product-1x1", "*")]
    )
    def test_a_small_rung_can_be_drawn_to_its_end(self, name: str, sign: str) -> None:
        problems = sample_ladder([name], per_rung=100, seed=8)
        every = {f"What is {a} {sign} {b}?" for a in range(10) for b in range(10)}
        assert {problem.question for problem in problems} == every

    @pytest.mark.parametrize(
        ("name", "available"), [("product-1x1", 100), ("product-1x2", 720), ("lcm", 552)]
    )
    def test_asking_for_more_than_there_are(self, name: str, available: int) -> None:
        message = (
            f"rung {name}: {available + 1} different problems requested, {available} available"
        )
        with pytest.raises(ValueError, match=re.escape(message)):
            sample_ladder([name], per_rung=available + 1, seed=1)

    def test_an_unknown_rung(self) -> None:
        with pytest.raises(ValueError, match=r"rung: 'sums': expected one of sum-1-digit, "):
            sample_ladder(["sums"], per_rung=1, seed=1)


def assert_no_part_shares(pattern: str, rungs: list[str], sizes: dict[str, int]) -> None:
    """Sample parts of these sizes with two seeds; compare what the pattern finds in any order."""
    keys = [
        {
            (p.source, *sorted(re.findall(pattern, p.question)))
            for seed in (5, 6)
            for p in sample_ladder(rungs, per_rung=size, seed=seed, part=part)
        }
        for part, size in sizes.items()
    ]
    for first, second in combinations(keys, 2):
        assert first & second == set()


class TestParts:
    def test_no_numbers_stand_in_two_parts_whatever_is_sampled(self) -> None:
        names = ["sum-1-digit", "product-1x1", "gcd"]
        sizes = {"train": 32, "dev": 5, "test": 18, "test-2": 12}
        assert_no_part_shares(r"\d+", names, sizes)

    def test_no_numbers_and_signs_stand_in_two_parts_of_the_study(self) -> None:
        study, dev = (
            compose([f"recipe={name}"], CONF)["prepare"] for name in ("study", "study-dev")
        )
        (train,), test = study["train"], study["benchmarks"]["ladder"]
        assert (test["part"], dev["benchmarks"]["ladder"]["part"]) == ("test", "dev")
        sizes = {
            "train": train["per_rung"],
            "dev": dev["benchmarks"]["ladder"]["per_rung"],
            "test": test["per_rung"],
            "test-2": test["per_rung"],
        }
        assert study["rungs"] == dev["rungs"]
        assert_no_part_shares(r"[\d.]*\d|[-+*/=]", study["rungs"], sizes)

    @pytest.mark.parametrize(
        ("part", "least"), [("train", 32), ("dev", 12), ("test", 20), ("test-2", 20)]
    )
    def test_a_part_has_its_share_of_every_rung(self, part: str, least: int) -> None:
        drawn = sample_ladder(list(RUNGS), per_rung=least, seed=1, part=part)
        assert len(drawn) == len(RUNGS) * least

    def test_a_part_is_a_part_of_the_whole(self) -> None:
        whole = {p.id for p in sample_ladder(["product-1x1"], per_rung=100, seed=8)}
        test = sample_ladder(["product-1x1"], per_rung=20, seed=8, part="test")
        assert {p.id for p in test} <= whole
        assert {part_of(p.source, p.question) for p in test} == {"test"}

    def test_twins_belong_to_one_part(self) -> None:
        for first, second in (("7 + 8", "8 + 7"), ("9 - 4", "4 - 9")):
            assert part_of("r", f"What is {first}?") == part_of("r", f"What is {second}?")

    def test_asking_for_more_than_a_part_has(self) -> None:
        message = r"^rung product-1x1: 90 different problems of the part test requested, \d+ avail"
        with pytest.raises(ValueError, match=message):
            sample_ladder(["product-1x1"], per_rung=90, seed=1, part="test")


class TestSubsample:
    def test_it_keeps_the_order_and_depends_on_the_seed(self) -> None:
        problems = problems_with(*(f"What is {n} + 1?" for n in range(50)))
        first, again, other = (
            subsample(problems, size=20, rng=np.random.default_rng(seed)) for seed in (1, 1, 2)
        )
        assert len({problem.id for problem in first}) == 20
        assert first == [problem for problem in problems if problem in first]
        assert first == again
        assert first != other
        assert subsample(problems, size=50, rng=np.random.default_rng(1)) == problems

    def test_more_than_there_are(self) -> None:
        with pytest.raises(ValueError, match="size: 2: expected at most 1, the number"):
            subsample([PROBLEM], size=2, rng=np.random.default_rng(1))


MINIMAL = {"source": "mine", "question": "2 + 2?", "answer": "4", "kind": "number"}


class TestLocalFiles:
    def test_missing_fields_are_filled(self, tmp_path: Path) -> None:
        path = write_lines(tmp_path, MINIMAL)
        problem_id = content_id("mine", "2 + 2?")
        fields = MINIMAL | {"level": None, "topic": "mine", "template": problem_id}
        assert load_jsonl(path) == [make_problem(problem_id, **fields)]

    def test_given_fields_are_kept(self, tmp_path: Path) -> None:
        given: dict[str, Any] = MINIMAL | {
            "id": "a1",
            "kind": "choice",
            "answer": "B",
            "choices": ["3", "4"],
            "solution": "2 + 2 = 4.",
            "program": "print('B')",
            "level": 2,
            "topic": "addition",
            "template": "sums",
        }
        path = write_lines(tmp_path, given)
        assert load_jsonl(path) == [Problem(**given)]

    @pytest.mark.parametrize("field", ["source", "question", "answer", "kind"])
    def test_a_missing_field_is_named(self, field: str, tmp_path: Path) -> None:
        broken = {name: value for name, value in MINIMAL.items() if name != field}
        path = write_lines(tmp_path, MINIMAL, broken)
        with pytest.raises(ValueError, match=rf"problems\.jsonl: line 2: {field}: missing"):
            load_jsonl(path)

    @pytest.mark.parametrize(
        ("rows", "message"),
        [
            ([], r"problems\.jsonl: no problems"),
            ([MINIMAL, MINIMAL | {"question": "?"}, MINIMAL], r"lines 1 and 3: id \w{16} twice"),
            ([MINIMAL | {"id": "a"}, MINIMAL | {"id": "a"}], "lines 1 and 2: id a twice"),
            ([MINIMAL | {"answer": 4}], "line 1: answer: 4: "),
            ([MINIMAL | {"question": ""}], "line 1: question: ''"),
            ([MINIMAL | {"kind": "word"}], "line 1: kind: 'word'"),
            ([MINIMAL | {"hint": "add"}], "line 1: hint: unknown"),
            ([MINIMAL | {"kind": "choice", "id": "a"}], "problems.jsonl: a: choices: none"),
        ],
    )
    def test_malformed_files(self, rows: list[Any], message: str, tmp_path: Path) -> None:
        path = write_lines(tmp_path, *rows)
        with pytest.raises(ValueError, match=message):
            load_jsonl(path)


@pytest.mark.parametrize(
    ("problems", "message"),
    [
        ([], "train: no problems"),
        ([PROBLEM, PROBLEM], r"train: id p1 twice: 'What is 7 \+ 8\?'"),
        ([replace(PROBLEM, answer=" ")], "train: p1: answer: blank"),
        ([replace(PROBLEM, kind="choice")], "train: p1: choices: none"),
    ],
)
def test_sets_that_cannot_be_used(problems: list[Problem], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_problems(problems, where="train")


def write_lines(folder: Path, *rows: Any) -> Path:
    path = folder / "problems.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path
