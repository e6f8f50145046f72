"""The table of what a run spent on each cell, and how it is replayed."""

from collections import Counter
from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerFast

from stages.lib.core.tables import read_csv, write_csv
from stages.lib.mixing.cells import group_by_cell
from stages.lib.mixing.rules import Trace
from stages.lib.sft.allocation import COLUMNS, allocation, read_trace
from stages.lib.sft.online import OnlinePlan
from tests.lib.sft.test_batches import NINE, planned, settings
from tests.lib.sft.test_online import CELLS, FOUR, Learner, frontier, plan_of, simulate


@pytest.fixture
def run(tokenizer: PreTrainedTokenizerFast) -> OnlinePlan:
    plan = plan_of(tokenizer, frontier(), steps=20)
    simulate(plan, Learner(*FOUR), 20)
    return plan


def test_a_row_counts_what_a_cell_got_in_a_segment(run: OnlinePlan) -> None:
    rows = allocation(run)
    assert tuple(rows[0]) == COLUMNS
    assert [row["step"] for row in rows] == [step for step in range(1, 21, 2) for _ in range(CELLS)]
    for first in range(0, 20, 2):
        segment = [row for row in rows if row["step"] == first + 1]
        assert sum(row["tokens"] for row in segment) == 2 * 60
        taken = Counter(
            f"s{run.cells.cell_of[index]}"
            for batch in run.micro_batches[2 * first : 2 * first + 4]
            for index in batch
        )
        assert {row["source"]: row["examples"] for row in segment if row["examples"]} == taken


def test_a_replay_has_the_weights_to_the_last_bit_and_the_same_examples(
    tmp_path: Path, tokenizer: PreTrainedTokenizerFast, run: OnlinePlan
) -> None:
    file = tmp_path / "allocation.csv"
    write_csv(file, allocation(run))
    trace = read_trace(file, run.cells)
    assert trace.tolist() == [segment.weights.tolist() for segment in run.segments]
    replay = plan_of(tokenizer, Trace(trace), steps=20)
    simulate(replay, Learner([0.0] * CELLS, [1.0] * CELLS), 20)
    assert replay.micro_batches == run.micro_batches
    assert {row["signal"] for row in allocation(replay)} == {""}


def test_a_plan_made_beforehand_is_counted_without_weights(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    rows = allocation(planned(NINE, tokenizer, settings()))
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert {(row["weight"], row["signal"], row["tokens"]) for row in rows} == {("", "", 40)}


def test_a_trace_of_other_cells_or_without_weights_is_refused(
    tmp_path: Path, tokenizer: PreTrainedTokenizerFast, run: OnlinePlan
) -> None:
    file = tmp_path / "allocation.csv"
    write_csv(file, allocation(run))
    with pytest.raises(ValueError, match=r"allocation\.csv: 4 cells: expected the 1 of this run's"):
        read_trace(file, group_by_cell([row.info() for row in NINE]))
    rows = [row | {"weight": ""} for row in read_csv(file)]
    write_csv(file, rows)
    with pytest.raises(ValueError, match=r"allocation\.csv: weight: empty: expected the weights"):
        read_trace(file, run.cells)
