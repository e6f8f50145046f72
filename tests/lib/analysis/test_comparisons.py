"""Tables of comparisons: whole sources swapped, and several runs."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from stages.lib.analysis.comparisons import comparison_table, run_table
from stages.lib.analysis.paired import Comparison
from stages.lib.analysis.seeds import compare_runs
from tests.rows import make_answers


@pytest.mark.parametrize(("n_sources", "p"), [(6, 2**-5), (5, None)])
def test_a_difference_in_every_source_is_distinguished_from_one_in_a_few(
    n_sources: int, p: float | None
) -> None:
    n = 2 * n_sources
    in_one = np.arange(n) % n_sources == 0
    first = make_answers("first", n, n_sources, cot=True, pot=in_one, fallback=True)
    second = make_answers("second", n, n_sources, cot=False, pot=False, fallback=True)
    options: dict[str, Any] = {"draws": 10, "level": 0.95, "rng": np.random.default_rng(0)}
    table = comparison_table(pd.concat([first, second]), [["first", "second"]], **options)
    p_sources = table.set_index("answer_mode")["p_sources"]
    if p is None:
        assert p_sources.isna().tolist() == [True] * 3
    else:
        assert p_sources.to_dict() == {"cot": round(p, 4), "pot": 1.0, "fallback": 1.0}


def test_the_table_takes_runs_in_their_order_and_problems_of_a_source_together() -> None:
    solved = np.array([np.arange(12) < 4 + run for run in (1, 2, 3)])
    frames = [
        make_answers(f"{arm}{run}", 12, cot=cot & (arm == "x"), pot=four, fallback=four)
        for four in [np.arange(12) < 4]
        for arm in "xy"
        for run, cot in enumerate(solved)
    ]
    runs = {arm: [f"{arm}{run}" for run in range(3)] for arm in "xy"}
    table = run_table(pd.concat(frames), [["x", "y"]], runs, level=0.95)
    cot, pot = table.to_dict("records")[:2]
    assert (cot["runs"], cot["n"], cot["difference"]) == (3, 12, 0.5)
    # 5, 6 and 7 of 12 against none.
    assert cot["std"] == pytest.approx(1 / 12, abs=1e-4)
    by_hand = compare_runs(solved, np.zeros((3, 12)), [0, 1] * 6, level=0.95)
    assert (cot["low"], cot["high"]) == (round(by_hand.low, 4), round(by_hand.high, 4))
    assert (pot["difference"], pot["p_holm"]) == (0, 1)


def test_equivalence_is_within_the_larger_end_of_the_narrower_interval() -> None:
    first, second = np.repeat([1, 0, 1], [30, 10, 60]), np.repeat([0, 1], [30, 70])
    frame = pd.concat(
        [make_answers("first", 100, 1, cot=first), make_answers("second", 100, 1, cot=second)]
    )
    options: dict[str, Any] = {"draws": 200, "rng": np.random.default_rng(3)}
    table = comparison_table(frame, [["first", "second"]], level=0.95, **options)
    options["rng"] = np.random.default_rng(3)
    narrow = comparison_table(frame, [["first", "second"]], level=0.9, **options)
    assert table["equivalent_within"].item() == narrow["high"].item() < table["high"].item()
    assert Comparison(0.01, low=-0.04, high=0.02, p=1.0).margin() == 0.04
