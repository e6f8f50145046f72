"""Problems are collected, checked, and dropped where they overlap with benchmarks."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from stages import prepare
from stages.lib.core.files import read_json
from stages.lib.core.paths import (
    CONVERSATIONS,
    DATA_REPORTS,
    DEMONSTRATIONS,
    EVAL_PROBLEMS,
    METRICS,
    PASSAGES,
    TRAIN_PROBLEMS,
)
from stages.lib.core.schema import Conversation, Passage, Problem
from stages.lib.core.tables import read_parquet
from stages.lib.data.packaged import passages
from tests.arms import ROWS
from tests.stages.conftest import Change

LONG = "A farmer has 12 cows and buys 5 more cows at the market, how many cows are there now?"


def write_rows(path: str, rows: list[dict[str, Any]]) -> dict[str, str]:
    Path(path).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return {"source": "file", "path": path}


def row(question: str, **changes: Any) -> dict[str, Any]:
    problem = {"question": question, "answer": "17", "kind": "number", "source": "farm"}
    return problem | {"solution": "The answer is 17.", "program": "print(17)"} | changes


def only(benchmark: dict[str, Any]) -> dict[str, Any]:
    return {"prepare.benchmarks": {"ladder": benchmark}, "evaluate.max_tokens": {"ladder": 16}}


def test_the_ladder_is_split_without_overlap(change: Change) -> None:
    prepare.main()
    training = read_parquet(TRAIN_PROBLEMS, Problem)
    demonstrations = read_parquet(DEMONSTRATIONS, Problem)
    held_out = read_parquet(EVAL_PROBLEMS / "ladder.parquet", Problem)
    assert [len(training), len(demonstrations), len(held_out)] == [3 * 6, 3 * 1, 3 * 2]
    questions = {problem.question for problem in [*training, *demonstrations, *held_out]}
    assert len(questions) == 3 * (6 + 1 + 2)
    assert len(read_parquet(EVAL_PROBLEMS / "gsm8k.parquet", Problem)) == 3
    assert read_json(METRICS / "data.json")["problems"]["train"] == len(training)
    assert [passage.text for passage in read_parquet(PASSAGES, Passage)] == passages()


def test_problems_of_a_file_that_overlap_with_a_benchmark_are_dropped(change: Change) -> None:
    training = [row(f"What is {i} + 1?") for i in range(3)]
    training += [row(LONG), row(LONG.replace("12", "40")), row("Something else entirely?")]
    change({"prepare.train": [write_rows("train.jsonl", training)]})
    change(only(write_rows("test.jsonl", [row(LONG), row("What is 2 + 1 again?")])))
    prepare.main()
    kept = [problem.question for problem in read_parquet(TRAIN_PROBLEMS, Problem)]
    # The first is a demonstration; the two about cows share words, or words up to numbers.
    assert kept == ["What is 1 + 1?", "What is 2 + 1?", "Something else entirely?"]
    assert read_json(METRICS / "data.json")["dropped_for_overlap"] == {"ladder": 2}


def test_a_bad_row_is_named_and_nothing_is_written(change: Change) -> None:
    change(only(write_rows("test.jsonl", [row("1?", answer="many")])))
    with pytest.raises(ValueError, match="many"):
        prepare.main()
    assert not TRAIN_PROBLEMS.exists()


def test_a_problem_of_two_benchmarks_is_named(change: Change) -> None:
    benchmark = write_rows("test.jsonl", [row("1?")])
    change(
        {
            "prepare.benchmarks": {"ladder": benchmark, "again": benchmark},
            "evaluate.max_tokens": {"ladder": 16, "again": 16},
        }
    )
    with pytest.raises(ValueError, match=r"^prepare.benchmarks.again: problem \w+: also in ladder"):
        prepare.main()
    assert not TRAIN_PROBLEMS.exists()


def test_a_file_that_is_not_there_is_named(change: Change) -> None:
    change(only({"source": "file", "path": "none.jsonl"}))
    with pytest.raises(OSError, match="none.jsonl"):
        prepare.main()


def write_talk(*conversations: list[str]) -> dict[str, Any]:
    rows = [
        {
            "conversations": [
                {"from": role, "value": text}
                for question in questions
                for role, text in (("human", question), ("gpt", "17."))
            ]
        }
        for questions in conversations
    ]
    write_rows("talk.jsonl", rows)
    return ROWS


def test_a_conversation_one_of_whose_turns_is_a_benchmarks_is_dropped(change: Change) -> None:
    talk = write_talk(["Is it 3?", "What is 2 + 1?", "Sure?"], ["What is 1 + 1?", "And 2 + 1?"])
    farm = write_rows("train.jsonl", [row(f"What is {i} * 7?") for i in range(3)])
    change({"prepare.train": [farm, talk]})
    change(only(write_rows("test.jsonl", [row("what is 2 + 1?"), row("What is 8 + 8?")])))
    prepare.main()
    (kept,) = read_parquet(CONVERSATIONS, Conversation)
    assert [turn.question for turn in kept.turns] == ["What is 1 + 1?", "And 2 + 1?"]
    with (DATA_REPORTS / "overlaps.csv").open(encoding="utf-8") as lines:
        first, second = csv.DictReader(lines)
    assert (first["kind"], second["kind"]) == ("words", "template")
    assert (first["training_text"], first["benchmark_text"]) == ("What is 2 + 1?", "what is 2 + 1?")
    with (DATA_REPORTS / "sources.csv").open(encoding="utf-8") as lines:
        (farm_row, talk_row, benchmark) = csv.DictReader(lines)
    assert (farm_row["rows"], farm_row["used"]) == ("3", "2")
    assert farm_row["left_out"] == "shown in context: 1"
    assert (talk_row["license"], talk_row["used"], talk_row["overlapping"]) == ("MIT", "1", "1")
    assert (benchmark["role"], benchmark["used"]) == ("benchmark", "2")
    assert read_json(METRICS / "data.json")["conversations"] == 1


def test_a_share_of_the_rows_is_drawn(change: Change) -> None:
    talk = write_talk(*([f"What is {number} + {number}?"] for number in range(10)))
    change({"prepare.train": [{"source": "ladder", "per_rung": 6}, talk | {"fraction": 0.3}]})
    prepare.main()
    assert len(read_parquet(CONVERSATIONS, Conversation)) == 3


def test_in_context_examples_have_a_solution_and_a_program_where_any_has(change: Change) -> None:
    training = [row("0 * 1?", program=""), row("1 * 1?", solution=""), row("2 * 1?"), row("3 * 1?")]
    change({"prepare.train": [write_rows("train.jsonl", training)]})
    prepare.main()
    (demonstration,) = read_parquet(DEMONSTRATIONS, Problem)
    assert demonstration.question == "2 * 1?"
