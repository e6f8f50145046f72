"""Tables of comparisons: whole sources swapped, and several runs."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from stages.lib.analysis.comparisons import comparison_table, run_table
from stages.lib.analysis.paired import Comparison
from stages.lib.analysis.seeds import compare_runs


@pytest.mark.parametrize(("n_sources", "p"), [(6, 2**-5), (5, None)])
def test_a_difference_in_every_source_is_distinguished_from_one_in_a_few(
    n_sources: int, p: float | None
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
            for source in range(n_sources)
            for number in range(2)
        ]
    )
    table = comparison_table(
        frame, [["first", "second"]], draws=10, level=0.95, rng=np.random.default_rng(0)
    )
    p_sources = table.set_index("answer_mode")["p_sources"]
    if p is None:
        assert p_sources.isna().tolist() == [True] * 3
    else:
        assert p_sources.to_dict() == {"cot": round(p, 4), "pot": 1.0, "fallback": 1.0}


def test_the_table_takes_runs_in_their_order_and_problems_of_a_source_together() -> None:
    rows = [
        {
            "benchmark": "b",
            "system": f"{arm}{run}",
            "problem_id": f"p{problem}",
            "source": f"s{problem % 2}",
            "cot": arm == "x" and problem < 4 + run,
            "pot": problem < 4,
            "fallback": problem < 4,
        }
        for arm in "xy"
        for run in (1, 2, 3)
        for problem in range(12)
    ]
    runs = {arm: [f"{arm}{run}" for run in (1, 2, 3)] for arm in "xy"}
    table = run_table(pd.DataFrame(rows), [["x", "y"]], runs, level=0.95)
    cot, pot = table.to_dict("records")[:2]
    assert (cot["runs"], cot["n"], cot["difference"]) == (3, 12, 0.5)
    # 5, 6 and 7 of 12 against none.
    assert cot["std"] == pytest.approx(1 / 12, abs=1e-4)
    solved = np.array([[problem < 4 + run for problem in range(12)] for run in (1, 2, 3)])
    by_hand = compare_runs(solved, np.zeros((3, 12)), [0, 1] * 6, level=0.95)
    assert (cot["low"], cot["high"]) == (round(by_hand.low, 4), round(by_hand.high, 4))
    assert (pot["difference"], pot["p_holm"]) == (0, 1)


def test_equivalence_is_within_the_larger_end_of_the_narrower_interval() -> None:
    first, second = np.repeat([1, 0, 1], [30, 10, 60]), np.repeat([0, 1], [30, 70])
    frame = pd.DataFrame(
        {
            "benchmark": "b",
            "system": np.repeat(["first", "second"], 100),
            "problem_id": np.tile(np.arange(100), 2),
            "source": "s",
            "cot": np.concatenate([first, second]),
        }
    )
    options: dict[str, Any] = {"draws": 200, "rng": np.random.default_rng(3)}
    table = comparison_table(frame, [["first", "second"]], level=0.95, **options)
    options["rng"] = np.random.default_rng(3)
    narrow = comparison_table(frame, [["first", "second"]], level=0.9, **options)
    assert table["equivalent_within"].item() == narrow["high"].item() < table["high"].item()
    assert Comparison(0.01, low=-0.04, high=0.02, p=1.0).margin() == 0.04
