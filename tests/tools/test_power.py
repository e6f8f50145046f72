"""What a study could find, before any data."""

import numpy as np
import pytest

from tools.power import Power, Stratum, main, power

EVEN = Stratum(cells=4, problems=50, accuracy=0.5, problem_sd=0.0, run_sd=0.0)


def simulated(stratum: Stratum, gain: float, *, blocks: int = 6, bound: float = 0.0) -> Power:
    return power(
        stratum,
        gain=gain,
        bound=bound,
        blocks=blocks,
        draws=120,
        level=0.95,
        rng=np.random.default_rng(1),
    )


def test_the_half_width_is_that_of_the_answers_alone_where_nothing_else_varies() -> None:
    # 2 * 0.25 / (6 * 200) is the variance of the difference; Student's factor lies above 1.96.
    width = simulated(EVEN, 0.0).half_width
    assert 1.96 * (0.5 / 1200) ** 0.5 < width < 1.45 * 1.96 * (0.5 / 1200) ** 0.5


def test_nothing_is_found_more_often_than_the_level_says() -> None:
    noisy = Stratum(cells=4, problems=50, accuracy=0.5, problem_sd=0.2, run_sd=0.05)
    assert simulated(noisy, 0.0).above <= 0.07  # 2.5% expected, of 120


def test_runs_that_differ_cost_power() -> None:
    noisy = Stratum(cells=4, problems=50, accuracy=0.5, problem_sd=0.0, run_sd=0.15)
    assert simulated(noisy, 0.06).half_width > 1.5 * simulated(EVEN, 0.06).half_width
    assert simulated(noisy, 0.06).above < simulated(EVEN, 0.06).above


def test_the_command_prints_a_row_for_each_number_of_blocks_and_gain(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["power", "--blocks", "3", "4", "--draws", "5"])
    main()
    assert len(capsys.readouterr().out.splitlines()) == 1 + 2 * 4


@pytest.mark.parametrize(
    ("argument", "value", "expected"),
    [
        ("--blocks", "2", "at least 3"),
        ("--problems", "1", "at least 2"),
        ("--draws", "0", "at least 1"),
        ("--hard-cells", "0", "at least 1"),
        ("--level", "2.0", "a share"),
        ("--hard-accuracy", "45.0", "a share"),
    ],
)
def test_what_no_study_could_have_is_named(
    argument: str,
    value: str,
    expected: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sys.argv", ["power", argument, value])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2
    assert f"{argument}: {value}: expected {expected}" in capsys.readouterr().err


def test_a_gain_over_the_control_is_found_less_often_than_that_over_the_baseline_alone() -> None:
    noisy = Stratum(cells=4, problems=50, accuracy=0.5, problem_sd=0.0, run_sd=0.05)
    found = simulated(noisy, 0.06)
    # Both share the candidate's runs; if they were independent, the two would be equal.
    assert found.above**2 < found.both_above < found.above < 1


@pytest.mark.parametrize("bound", [-0.2, 0.2])
def test_the_bound_is_what_has_to_be_beaten(bound: float) -> None:
    assert simulated(EVEN, 0.0, bound=bound).above == (bound < 0)
