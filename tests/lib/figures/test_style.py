"""Figures of tables small enough to check by hand."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from PIL import Image

from stages.lib.figures import allocation, paper, quantization, style

BLUE, ORANGE = (0.0, 0.0, 1.0), (1.0, 0.5, 0.0)
SHARES = ["accuracy", "low", "high"]


def dots(panel: Axes) -> list[list[tuple[float, float]]]:
    """Return (percent, row) of the dots, a list per hue."""
    lines = [line for line in panel.lines if line.get_marker() not in ("None", None)]
    return [
        [(round(float(x), 6), round(float(y))) for x, y in line.get_xydata()]  # type: ignore[union-attr]
        for line in lines
    ]


def bars(panel: Axes) -> list[tuple[float, float, int]]:
    """Return (low, high, row) of the interval bars."""
    lines = [line for line in panel.lines if line.get_marker() in ("None", None)]
    ends = [line.get_xydata() for line in lines]
    return [(round(a[0], 6), round(b[0], 6), round(a[1])) for a, b in ends]  # type: ignore[misc]


def heights(line: Line2D) -> list[float]:
    return np.asarray(line.get_ydata(), dtype=float).round(9).tolist()


def row_names(panel: Axes) -> list[str]:
    return [label.get_text() for label in panel.get_yticklabels()]


def ends(drawn: Any) -> list[tuple[float, ...]]:
    """Return (low, high) of the error bars of points."""
    (bars,) = drawn[2]
    return [tuple(segment[:, 1]) for segment in bars.get_segments()]


def legend_of(drawn: Any) -> list[str]:
    return [text.get_text() for text in drawn.get_texts()]


def shares(columns: list[str], rows: list[tuple[Any, ...]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=[*columns, *SHARES])


def by_benchmark() -> pd.DataFrame:
    rows = [
        (benchmark, system, answer_mode, 50, share, share / 2, min(1.0, 2 * share))
        for benchmark, best in (("ladder", 0.4), ("gsm8k", 0.02))
        for system, of_best in (("base", 0.5), ("tuned", 1.0))
        for answer_mode, share in (
            ("cot", best * of_best),
            ("pot", best * of_best / 2),
            ("either", 0.9),
        )
    ]
    return shares(["benchmark", "system", "answer_mode", "n"], rows)


def by_topic() -> pd.DataFrame:
    rows = [
        ("tuned", "lines", 20, 0.25, 0.1, 0.5),
        ("tuned", "sums", 60, 0.75, 0.6, 0.9),
        ("tuned", "areas", 20, 0.25, 0.1, 0.5),
        ("tuned-q4", "lines", 20, 0.5, 0.3, 0.7),
        ("tuned-q4", "sums", 60, 0.0, 0.0, 0.1),
        ("tuned-q4", "areas", 20, 0.2, 0.1, 0.3),
    ]
    return shares(["system", "topic", "n"], rows)


def by_source() -> pd.DataFrame:
    rows = [
        ("base", "easy", 0.5, 0.4, 0.7),
        ("base", "hard", 0.0, 0.0, 0.2),
        ("one", "easy", 1.0, 0.8, 1.0),
        ("one", "hard", 0.1, 0.0, 0.3),
        ("two", "easy", 0.6, 0.5, 0.8),
        ("two", "hard", 0.2, 0.1, 0.4),
    ]
    return shares(["system", "source"], rows)


def of_problems() -> pd.DataFrame:
    rows = [
        ("hard", 0.0, 0.0, 0.1, 5.0),
        ("hard", 0.2, 0.1, 0.5, 4.0),
        ("easy", 0.9, 0.8, 1.0, 1.0),
        ("easy", 0.7, 0.5, 0.9, 1.0),
        ("easy", 0.5, 0.2, 0.8, 1.0),
        ("easy", 0.1, 0.0, 0.4, 5.0),
    ]
    return pd.DataFrame(rows, columns=["source", "posterior_mean", "low", "high", "level"])


def of_models() -> pd.DataFrame:
    rows = [
        ("tuned-q4", "tuned", "gptq", 4, 1e8, 3.5, 3.2, 3.9, 400.0, 380.0, 410.0, 40.0, 39.0, 42.0),
        ("tuned", None, None, 16, 2.5e8, 3.0, 2.8, 3.2, 900.0, 900.0, 950.0, 30.0, 25.0, 30.0),
        ("tuned-q8", "tuned", "gptq", 8, 1.5e8, 3.1, 3.0, 3.3, *[None] * 6),
        ("tuned-q8-text", "tuned", "gptq", 8, 1.5e8, 9.0, 8.0, 10.0, *[None] * 6),
        ("tuned-nf4", "tuned", "nf4", 4, 1.1e8, 4.0, 3.5, 4.5, *[None] * 6),
    ]
    rows += [("tuned-onnx-fp32", "tuned", "onnx-fp32", 32, 5e8, *[None] * 9)]  # is left out
    return pd.DataFrame(rows, columns=quantization.COLUMNS)


def test_a_cell_is_as_dark_as_its_weight_is_far_from_the_mean() -> None:
    rows = [
        (step, source, prompting, weight, weight / 8)
        for step, weights in ((1, (1, 1, 1, 1)), (3, (8, 4, 2, 2)))
        for (source, prompting), weight in zip(
            [("hard", "cot"), ("easy", "cot"), ("hard", "pot"), ("easy", "pot")],
            weights,
            strict=True,
        )
    ]
    table = pd.DataFrame(rows, columns=allocation.COLUMNS)
    figure = allocation.allocation({"online": table}, ["easy", "other", "hard"], 5.0)
    panel = figure.axes[0]
    seen = allocation.learning({"online": table}, ["easy", "other", "hard"], 5.0).axes[0]
    accuracies = np.asarray(seen.collections[0].get_array()).reshape(4, 2)
    assert accuracies.tolist() == [[12.5, 50], [12.5, 100], [12.5, 25], [12.5, 25]]
    assert row_names(panel) == ["easy, CoT", "hard, CoT", "easy, PoT", "hard, PoT"]
    assert panel.get_title() == "online"
    values = np.asarray(panel.collections[0].get_array())
    # Relative to means of 1 and 4, as powers of two.
    assert values.reshape(4, 2).tolist() == [[0, 0], [0, 1], [0, -1], [0, -1]]
    assert row_names(figure.axes[1]) == ["0.25", "0.5", "1", "2", "4"]


def log_of_training() -> pd.DataFrame:
    rows = [
        (arm, step, loss, 1e-5 * step)
        for arm, losses in (("one", [3.0, 2.0, 1.0]), ("two", [3.5, 2.5, 1.5]))
        for step, loss in enumerate(losses, start=1)
    ]
    return pd.DataFrame(rows, columns=["arm", "step", "loss", "learning_rate"])


def draw(name: str) -> Figure:
    match name:
        case "difficulty":
            return paper.difficulty(of_problems(), ["easy", "hard"], 5.0)
        case "training":
            return paper.training(log_of_training(), {"one": BLUE, "two": ORANGE}, 5.0)
        case "accuracy":
            colors = {"cot": BLUE, "pot": ORANGE}
            systems = ["base", "tuned"]
            return paper.accuracy(by_benchmark(), ["gsm8k", "ladder"], systems, colors, 5.0)
        case "topics":
            return paper.topics(by_topic(), [["tuned", "tuned-q4"]], {"tuned": BLUE}, 5.0)
        case "width":
            return quantization.draw(of_models(), {"tuned": BLUE, "other": ORANGE}, 32, 5.0)
    colors = {"one": BLUE, "two": ORANGE}
    return paper.sources(by_source(), ["hard", "easy"], "base", ["two", "one"], colors, 5.0)


FIGURES = ["difficulty", "training", "accuracy", "topics", "width", "sources"]


def test_difficulty_shows_means_intervals_and_shares_of_levels() -> None:
    rates, levels = draw("difficulty").axes
    assert row_names(rates) == ["easy", "hard"]
    assert dots(rates) == [[(55.0, 0), (10.0, 1)]]
    assert bars(rates) == [(37.5, 77.5, 0), (5.0, 30.0, 1)]
    widths = [[bar.get_width() for bar in group] for group in levels.containers]  # type: ignore[attr-defined]
    assert widths == [[75.0, 0.0], [0.0, 50.0], [25.0, 50.0]]
    lefts = [[bar.get_x() for bar in group] for group in levels.containers]  # type: ignore[attr-defined]
    assert lefts == [[0.0, 0.0], [75.0, 0.0], [75.0, 50.0]]
    assert legend_of(levels.get_legend()) == ["level 1", "4", "5"]


def test_a_published_pass_rate_is_a_dot_without_a_bar() -> None:
    table = of_problems().assign(low=of_problems()["posterior_mean"])
    figure = paper.difficulty(table.assign(high=table["low"]), ["easy", "hard"], 5.0)
    rates, levels = figure.axes
    assert dots(rates) == [[(55.0, 0), (10.0, 1)]]
    assert bars(rates) == [(55.0, 55.0, 0), (10.0, 10.0, 1)]
    assert legend_of(levels.get_legend()) == ["level 1", "4", "5"]
    figure.draw_without_rendering()


def test_training_shows_a_loss_per_arm_and_one_learning_rate() -> None:
    loss, rate = draw("training").axes
    drawn = [line for line in loss.lines if heights(line)]
    assert [heights(line) for line in drawn] == [[3.0, 2.0, 1.0], [3.5, 2.5, 1.5]]
    assert [to_rgb(line.get_color()) for line in drawn] == [BLUE, ORANGE]
    assert {to_rgb(line.get_color()) for line in rate.lines} == {to_rgb(style.INK)}
    assert heights(rate.lines[0]) == [1e-5, 2e-5, 3e-5]
    assert loss.get_xlim() == rate.get_xlim()


def test_accuracy_shows_each_answer_mode_with_its_interval() -> None:
    figure = draw("accuracy")
    floor, ladder = figure.axes
    assert row_names(floor) == ["base", "tuned"]
    assert dots(ladder) == [[(20.0, 0), (40.0, 1)], [(10.0, 0), (20.0, 1)]]
    assert bars(ladder) == [(10, 40, 0), (20, 80, 1), (5, 20, 0), (10, 40, 1)]
    assert dots(floor) == [[(1.0, 0), (2.0, 1)], [(0.5, 0), (1.0, 1)]]
    assert legend_of(figure.legends[0]) == ["CoT", "PoT"]
    assert floor.get_title() == "gsm8k ($n$ = 50)"
    assert floor.get_xlabel() == "Accuracy (%, 0–5)"
    assert ladder.get_xlabel() == "Accuracy (%, 0–80)"
    assert floor.get_xlim() == pytest.approx((-0.225, 5.225))


def test_topics_go_from_the_best_solved_down() -> None:
    (panel,) = draw("topics").axes
    assert row_names(panel) == ["sums (60)", "areas (20)", "lines (20)"]
    assert dots(panel) == [[(75.0, 0), (25.0, 1), (25.0, 2)], [(0.0, 0), (20.0, 1), (50.0, 2)]]
    assert legend_of(panel.get_legend()) == ["tuned", "tuned-q4"]


def test_width_goes_from_many_bits_to_few() -> None:
    figure = draw("width")
    size, speed, perplexity = figure.axes
    assert [label.get_text() for label in size.get_xticklabels()] == ["16", "8", "4"]
    gptq, nf4 = (container[0] for container in size.containers)
    assert heights(gptq) == [250.0, 150.0, 100.0]
    assert heights(nf4) == [110.0]
    assert nf4.get_xdata().tolist() == [2.0]
    assert perplexity.get_yscale() == "linear"
    full, single = (container[0] for container in speed.containers[:2])
    assert (heights(full), heights(single)) == ([900, 400], [30, 40])
    assert single.get_markerfacecolor() == "white"
    assert ends(perplexity.containers[0]) == [(2.8, 3.2), (3.0, 3.3), (3.2, 3.9)]
    assert ends(speed.containers[0]) == [(900, 950), (380, 410)]
    assert ends(speed.containers[1]) == [(25, 30), (39, 42)]
    assert all(panel.yaxis.get_gridlines()[0].get_visible() for panel in figure.axes)
    assert legend_of(figure.legends[0]) == ["GPTQ", "NF4", "batch of 32", "batch of 1"]


def test_perplexities_that_lie_far_apart_get_a_logarithmic_axis() -> None:
    table = of_models()
    table.loc[0, ["perplexity", "perplexity_high"]] = 40.0
    _, _, perplexity = quantization.draw(table, {"tuned": BLUE}, 32, 5.0).axes
    assert perplexity.get_yscale() == "log"


def test_an_original_with_exports_alone_is_not_drawn() -> None:
    columns = quantization.COLUMNS
    base = dict.fromkeys(columns) | {"model": "base", "bits": 16, "bytes": 9e9, "perplexity": 99.0}
    export = base | {"model": "base-onnx", "parent": "base", "method": "onnx-int8", "bits": 2}
    table = pd.concat([of_models(), pd.DataFrame([base, export], columns=columns)])
    drawn = quantization.draw(table, {"tuned": BLUE}, 32, 5.0).axes
    for panel, expected in zip(drawn, draw("width").axes, strict=True):
        assert list(map(heights, panel.lines)) == list(map(heights, expected.lines))
        assert panel.get_yscale() == expected.get_yscale()
        assert panel.get_xlim() == expected.get_xlim()


def test_sources_stand_beside_the_reference() -> None:
    figure = draw("sources")
    two_panel, one_panel = figure.axes
    assert row_names(two_panel) == ["hard", "easy"]
    assert [panel.get_title() for panel in (two_panel, one_panel)] == ["two", "one"]
    assert dots(two_panel) == [[(0.0, 0), (50.0, 1)], [(20.0, 0), (60.0, 1)]]
    assert dots(one_panel) == [[(0.0, 0), (50.0, 1)], [(10.0, 0), (100.0, 1)]]
    colors = [to_rgb(line.get_color()) for line in two_panel.lines if line.get_marker() == "D"]
    assert colors == [ORANGE]
    assert legend_of(figure.legends[0]) == ["base"]


def test_many_panels_go_to_a_second_row() -> None:
    table = by_source()
    arms = [f"arm-{number}" for number in range(5)]
    copies = [table[table["system"] == "one"].assign(system=arm) for arm in arms]
    figure = paper.sources(
        pd.concat([table, *copies]), ["easy", "hard"], "base", arms, dict.fromkeys(arms, BLUE), 5.0
    )
    rows = [panel.get_subplotspec().rowspan.start for panel in figure.axes]  # type: ignore[union-attr]
    assert rows == [0, 0, 0, 0, 1]


@pytest.mark.parametrize(
    ("table", "benchmarks", "systems", "complaint"),
    [
        (by_benchmark(), ["math500"], ["base"], "benchmark: 'math500': expected in the table"),
        (by_benchmark(), ["gsm8k"], ["base", "gone"], "system: 'gone': expected in the table"),
        (
            by_benchmark().query("answer_mode != 'pot'"),
            ["gsm8k"],
            ["base"],
            "answer_mode: 'pot': expected in the table",
        ),
    ],
)
def test_what_a_table_lacks_is_named(
    table: pd.DataFrame, benchmarks: list[str], systems: list[str], complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        paper.accuracy(table, benchmarks, systems, {"cot": BLUE, "pot": ORANGE}, 5.0)


def test_an_unknown_palette_is_named() -> None:
    with pytest.raises(ValueError, match=r"figures\.palette: 'no-such': expected"):
        style.palette("no-such", ["one"])


def test_a_palette_gives_each_name_a_color_of_its_own() -> None:
    colors = style.palette("colorblind", ["one", "two", "three"])
    assert list(colors) == ["one", "two", "three"]
    assert len(set(colors.values())) == 3


@pytest.mark.parametrize("name", FIGURES)
def test_the_same_table_gives_the_same_bytes_without_fonts_or_dates(
    name: str, tmp_path: Path
) -> None:
    for stem in ("first", "second"):
        style.save(draw(name), tmp_path / stem, dpi=60)
    for kind in (".svg", ".png"):
        first, second = (tmp_path / f"{stem}{kind}" for stem in ("first", "second"))
        assert first.read_bytes() == second.read_bytes()
    svg = (tmp_path / "first.svg").read_text(encoding="utf-8")
    assert re.search(r'<svg [^>]*width="360pt"', svg)
    assert "<text" not in svg
    assert "<dc:date>" not in svg
    with Image.open(tmp_path / "first.png") as image:
        assert image.width == 300
        assert "Software" not in image.info
