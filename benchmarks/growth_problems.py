"""Synthetic inputs, of any number of rows, for the stages that work on problems.

Every file is written in parts, so that a million rows need little memory.
"""

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.report import write_params
from stages.lib.core.paths import (
    CONF,
    DIFFICULTY,
    EVAL_PROBLEMS,
    TABLES,
    TRAIN_PROBLEMS,
    TRAINING_LOGS,
)
from stages.lib.core.schema import Difficulty, Problem
from stages.lib.data import ladder, packaged
from stages.lib.params.compose import compose

SEED = 1
PER_RUNG = 50
SAMPLES = 4
PART = 10_000
# One row in this many repeats a benchmark's question with a suffix.
OVERLAPPING = 100
ROWS = "rows.jsonl"

PEOPLE = ("Amina", "Bruno", "Chidi", "Daria", "Emeka", "Farid", "Greta", "Hana", "Ivo", "Jun")
THINGS = ("lamps", "ropes", "maps", "kites", "chairs", "jars", "bells", "tiles", "drums", "nets")
PLACES = ("harbour", "mill", "village", "workshop", "orchard", "station", "island", "school")
QUESTIONS = (
    "{who} keeps {a} {what} in a shed behind the {where}. In spring a cart brings {b} more of "
    "them, and by autumn {c} have been carried off by the neighbours. How many {what} does "
    "{who} have then?",
    "At the {where}, one crate of {what} weighs {a} grams and the next weighs {b} grams more. "
    "{who} takes {c} grams out of the second crate before it is closed. What does the second "
    "crate weigh now, in grams?",
    "A guild near the {where} orders {a} {what} from {who}, then asks for another {b}. When the "
    "boat arrives, {c} turn out to be cracked and are sent back at once. How many good {what} "
    "has the guild received?",
)
SOLUTION = (
    "First {who} counts {a} and {b} together: that is {ab}. From these {ab} another {c} are "
    "taken away, so that {d} remain.\nThe answer is {d}."
)


def make_rows(folder: Path, rows: int) -> None:
    """Write inputs of ``prepare``: distinct rows in the format of Orca-Math.

    They are word problems as long as those of GSM8K, checked against all of GSM8K and
    MATH-500; one in a hundred overlaps with GSM8K.
    """
    values = compose([], CONF)
    values["prepare"]["train"] = [
        {
            "source": "rows",
            "name": "made",
            "format": "orca-math",
            "path": ROWS,
            "license": "ours",
            "fraction": 1,
            "exclude": [],
            "target": "problems",
        }
    ]
    for name in ("gsm8k", "math500"):
        values["prepare"]["benchmarks"][name] = {"source": name, "size": "all"}
        values["evaluate"]["max_tokens"][name] = 96
    write_params(folder, values)
    with (folder / ROWS).open("w", encoding="utf-8") as stream:
        for row in _word_problems(rows):
            stream.write(json.dumps(row) + "\n")


def make_problems(folder: Path, rows: int) -> None:
    """Write inputs of ``weigh``: problems of the ladder, each with its difficulty."""
    values = compose([], CONF)
    write_params(folder, values)
    rungs = values["prepare"]["rungs"]
    _write(folder / TRAIN_PROBLEMS, _ladder(rungs, rows))
    _write(folder / DIFFICULTY, _difficulties(rungs, rows))


def make_tables(folder: Path, rows: int) -> None:
    """Write inputs of ``figures``: problems, and the tables and logs of ``reports/``."""
    make_problems(folder, rows)
    values = compose([], CONF)
    held_out = f"{values['evaluate']['held_out']}.parquet"
    _write(folder / EVAL_PROBLEMS / held_out, _ladder(values["prepare"]["rungs"], rows))
    shutil.copytree(TABLES, folder / TABLES)
    shutil.copytree(TRAINING_LOGS, folder / TRAINING_LOGS)


def _word_problems(rows: int) -> Iterator[dict[str, str]]:
    gsm8k_questions = [problem.question for problem in packaged.gsm8k()]
    rng = np.random.default_rng(SEED)
    for number in range(rows):
        if number % OVERLAPPING == 0:
            question = gsm8k_questions[number // OVERLAPPING % len(gsm8k_questions)]
            yield {"question": f"{question} (Sheet {number}.)", "answer": "The answer is 7."}
            continue
        # The first amount depends on the row number, so that no question repeats.
        a, b = number + 1000, int(rng.integers(10, 1000))
        c = int(rng.integers(1, b))
        words = {
            "who": PEOPLE[rng.integers(len(PEOPLE))],
            "what": THINGS[rng.integers(len(THINGS))],
            "where": PLACES[rng.integers(len(PLACES))],
        }
        filled = words | {"a": a, "b": b, "c": c, "ab": a + b, "d": a + b - c}
        question = QUESTIONS[rng.integers(len(QUESTIONS))].format(**filled)
        yield {"question": question, "answer": SOLUTION.format(**filled)}


def _ladder(rungs: Sequence[str], rows: int) -> Iterator[Problem]:
    """Yield problems of the rungs in turn, with unique ids; their texts repeat."""
    drawn = ladder.sample_ladder(rungs, per_rung=PER_RUNG, seed=SEED)
    for number in range(rows):
        rung, position = number % len(rungs), number // len(rungs) % PER_RUNG
        yield replace(drawn[rung * PER_RUNG + position], id=f"{number:016x}")


def _difficulties(rungs: Sequence[str], rows: int) -> Iterator[Difficulty]:
    rng = np.random.default_rng(SEED)
    for number in range(rows):
        correct = int(rng.integers(SAMPLES + 1))
        mean = (correct + 1) / (SAMPLES + 2)
        yield Difficulty(
            problem_id=f"{number:016x}",
            prompting="cot",
            source=rungs[number % len(rungs)],
            n=SAMPLES,
            n_correct=correct,
            pass_rate=correct / SAMPLES,
            posterior_mean=mean,
            low=mean / 2,
            high=(1 + mean) / 2,
            level=float(SAMPLES - correct),
        )


def _write(path: Path, rows: Iterator[Any]) -> None:
    """Write rows of one type to a Parquet file, a part at a time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    first = pa.Table.from_pylist([asdict(row) for row in islice(rows, PART)])
    with pq.ParquetWriter(path, first.schema, compression="zstd") as writer:
        writer.write_table(first)
        while part := [asdict(row) for row in islice(rows, PART)]:
            writer.write_table(pa.Table.from_pylist(part, schema=first.schema))
