"""The stage, from small tables to files."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from matplotlib.figure import Figure

from stages import figures
from stages.lib.core.schema import Problem, PublishedDifficulty, content_id
from stages.lib.core.tables import write_parquet
from stages.lib.difficulty.summary import published_difficulties
from stages.lib.figures import paper, quantization, read
from stages.lib.params.load import load_params
from tests.arms import FRONTIER, GRPO
from tests.rows import make_difficulty, make_problem
from tests.stages import reports
from tests.stages.reports import recipe, write_params

ARMS = ["uniform", "adaptive"]
ALL = set(reports.FIGURES)
LOG = pd.DataFrame({"step": [1, 2], "loss": [2.0, 1.0], "learning_rate": [1e-5, 0.0]})
LOOK = {"palette": "colorblind", "width_in": 4.0, "dpi": 50}


def write(**changes: Any) -> None:
    write_params(recipe(figures=LOOK, **changes))


def problem(source: str, number: int, level: int | None) -> Problem:
    name = content_id(source, str(number))
    topic = f"topic of {source}"
    return make_problem(name, source=source, level=level, topic=topic, template=source)


def write_log(model: str, log: pd.DataFrame) -> Path:
    """Write a training log, a file for each column but ``step``; return their folder."""
    folder = Path("reports/training", model, "plots/metrics")
    folder.mkdir(parents=True)
    for name in log.columns[1:]:
        log[["step", name]].dropna().to_csv(folder / f"{name}.tsv", sep="\t", index=False)
    return folder


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the outputs of all stages before this one."""
    root = tmp_path_factory.mktemp("built")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        reports.build(recipe(figures=LOOK))
        difficulty = make_difficulty("p", 0.5, source="ladder", low=0.2, high=0.7)
        write_parquet(Path("data/difficulty.parquet"), [difficulty])
        for arm in ARMS:
            write_log(arm, LOG)
    return root


@pytest.fixture
def workspace(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Enter a copy of the folder, without figures."""
    shutil.copytree(built, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    shutil.rmtree("reports/figures")
    return tmp_path


@pytest.fixture
def undrawn(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Enter that copy, where figures stay empty: to draw them takes most of the time."""
    for module, names in (
        (paper, ("training", "accuracy", "difficulty", "sources", "topics")),
        (quantization, ("draw", "draw_retention")),
    ):
        for name in names:
            monkeypatch.setattr(module, name, lambda *_: Figure())


def test_every_figure_is_written_twice_and_the_folder_replaced(workspace: Path) -> None:
    """With an online arm, its replay and a GRPO model there are figures of these, too."""
    arms = {name: {"strategy": "uniform"} for name in ARMS} | {"frontier": FRONTIER}
    replays = {"dealt": {"arm": "frontier", "cells": "dealt", "seed": 1}}
    write(weigh={"arms": arms, "replays": replays}, grpo={"models": {"grpo": GRPO}})
    rows = [
        {"step": step, "source": "ladder", "prompting": prompting, "weight": weight, "signal": 0.5}
        for step in (1, 3)
        for prompting, weight in (("cot", 1.0), ("pot", 0.25))
    ]
    for name in ("frontier", "dealt"):
        folder = write_log(name, LOG).parents[1]
        pd.DataFrame(rows).to_csv(folder / "allocation.csv", index=False)
    log = pd.DataFrame({"step": [1, 2, 3], "reward": [0.2, None, 0.4], "kl": [0.0, 0.1, 0.2]})
    log = log.assign(answer_tokens=[30, None, 20], groups_without_signal=[0.5, None, 0.25])
    folder = write_log("grpo", log)
    stale = workspace / "reports" / "figures" / "stale.svg"
    stale.parent.mkdir()
    stale.touch()
    figures.main()
    names = ALL | {"allocation", "learning", "grpo"}
    files = {path.name for path in stale.parent.iterdir()}
    assert files == {f"{name}{kind}" for name in names for kind in (".svg", ".png")}
    (folder / "kl.tsv").write_text("step\n1\n")
    with pytest.raises(ValueError, match=f"{folder}/kl.tsv: column 'kl': missing"):
        figures.main()


@pytest.mark.usefixtures("undrawn")
def test_grpo_without_a_weight_of_the_divergence_is_drawn_without_it(workspace: Path) -> None:
    log = pd.DataFrame({"step": [1, 2, 3], "reward": [0.2, None, 0.4]})
    log = log.assign(answer_tokens=[30, None, 20], groups_without_signal=[0.5, None, 0.25])
    folder = write_log("grpo", log)
    write(grpo={"models": {"grpo": GRPO}, "beta": 0.0})
    figures.main()
    assert (workspace / "reports/figures/grpo.svg").exists()
    write(grpo={"models": {"grpo": GRPO}, "beta": 0.1})
    with pytest.raises(FileNotFoundError, match=f"{folder}/kl.tsv"):
        figures.main()


def test_without_samples_or_a_quantized_model_their_figures_are_left_out(undrawn: None) -> None:
    write(
        sample={"k": 0},
        weigh={"arms": {name: {"strategy": "uniform"} for name in ARMS}},
        quantize={"gptq": {}},
        evaluate={"models": {"base": [0, 4], "uniform": [0], "adaptive": [0]}},
        analyze={"compare": [["adaptive", "uniform"]]},
    )
    for name in ("difficulty", "problems/train"):
        pq.write_table(pa.table({}), f"data/{name}.parquet")
    left_out = {"difficulty", "topics", "width", "retention"}
    assert set(figures.draw(load_params())) == ALL - left_out


def test_a_published_difficulty_is_drawn_without_samples(
    undrawn: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables: list[pd.DataFrame] = []
    monkeypatch.setattr(paper, "difficulty", lambda table, *_: tables.append(table) or Figure())
    write(sample={"k": 0}, score={"definition": "published"})
    source = problem("ladder", 7, None)
    published = [PublishedDifficulty("cot", 0.25, 2), PublishedDifficulty("pot", 0.75, 4)]
    rows = published_difficulties([replace(source, published=published)])
    write_parquet(Path("data/difficulty.parquet"), rows)
    assert set(figures.draw(load_params())) == ALL
    (table,) = tables
    assert table.values.tolist() == [["ladder", 0.75, 0.75, 0.75, 2.0]]


def test_sampled_answers_are_drawn_for_every_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    sampling = {"samples": 4, "temperature": 0.7, "top_p": 1.0, "seed": 1}
    models = {"base": [0], "uniform": [0]}
    changes = {"models": models, "sampling": sampling}
    reports.build(
        recipe(
            figures=LOOK,
            quantize={"gptq": {}},
            evaluate=reports.SMALL["evaluate"] | changes,
            analyze={"compare": [["uniform", "base"]]},
        )
    )
    params = load_params()
    figure = figures.draw_sampled(params, {"uniform": (0.1, 0.2, 0.3)})
    # A row for CoT, PoT and their combination; k = 1, 2 and 4.
    panels = figure.axes
    assert len(panels) == 2 * 3
    base, tuned = (np.asarray(line.get_xydata()) for line in panels[0].lines)
    assert tuned[:, 0].tolist() == [1, 2, 4]
    assert base[:, 1].max() == 0 < tuned[:, 1].max()
    assert panels[0].lines[1].get_color() == (0.1, 0.2, 0.3)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["base", "uniform"]


def test_without_an_evaluated_tuned_model_there_are_no_figures_of_them(undrawn: None) -> None:
    write(
        quantize={"gptq": {}},
        evaluate={"models": {"base": [0, 4]}},
        analyze={"compare": [["base-4shot", "base"]]},
    )
    left_out = {"topics", "width", "retention", "sources", "programs"}
    assert set(figures.draw(load_params())) == ALL - left_out


INPUTS = [
    "reports/tables/accuracy.csv",
    "reports/tables/accuracy_by_source.csv",
    "reports/tables/accuracy_by_topic.csv",
    "reports/tables/quantization.csv",
    "reports/tables/retention.csv",
    "reports/training/adaptive/plots/metrics/loss.tsv",
    "data/difficulty.parquet",
    "data/problems/train.parquet",
    "data/problems/eval/ladder.parquet",
]


def test_a_missing_input_is_named(undrawn: None) -> None:
    for name in INPUTS:
        content = Path(name).read_bytes()
        Path(name).unlink()
        with pytest.raises(FileNotFoundError, match=name):
            figures.main()
        Path(name).write_bytes(content)


def test_a_table_without_rows_is_named(undrawn: None) -> None:
    header = Path(INPUTS[0]).read_text().partition("\n")[0]
    for content, message in (("", "empty"), (header, "no rows")):
        Path(INPUTS[0]).write_text(content)
        with pytest.raises(ValueError, match=f"{INPUTS[0]}: {message}"):
            figures.main()


@pytest.mark.parametrize("name", [name for name in INPUTS if name.endswith(".csv")])
def test_a_table_without_a_column_is_named(undrawn: None, name: str) -> None:
    Path(name).write_text("other\n1")
    with pytest.raises(ValueError, match=f"{name}: column '.*': missing"):
        figures.main()


def test_a_table_of_problems_without_rows_is_named(undrawn: None) -> None:
    for name in [name for name in INPUTS if name.endswith(".parquet")]:
        table = pq.read_table(name)
        pq.write_table(table.slice(0, 0), name)
        with pytest.raises(ValueError, match=f"{name}: no rows"):
            figures.main()
        pq.write_table(table, name)


@pytest.mark.parametrize("table", ["accuracy_by_source", "accuracy_by_topic"])
def test_a_table_without_the_held_out_benchmark_is_named(undrawn: None, table: str) -> None:
    path = Path(f"reports/tables/{table}.csv")
    path.write_text(path.read_text().replace("ladder", "gsm8k"))
    with pytest.raises(ValueError, match=f"{table}.csv: no rows of benchmark 'ladder'"):
        figures.main()


@pytest.mark.usefixtures("workspace")
def test_a_figure_has_one_answer_mode() -> None:
    rows = read.read_accuracies("accuracy_by_source", "source", "ladder", "pot")
    assert set(rows["answer_mode"]) == {"pot"}


def test_topics_are_shown_for_the_first_gptq_of_each_width() -> None:
    columns = ["model", "parent", "method", "bits"]
    rows = [
        ("a", None, None, 16),
        ("a-3", "a", "gptq", 3),
        ("a-8", "a", "gptq", 8),
        ("a-3-text", "a", "gptq", 3),
        ("a-rtn3", "a", "rtn", 3),
        ("b-4", "b", "gptq", 4),
    ]
    families = read.gptq_families(pd.DataFrame(rows, columns=columns))
    assert families == [["a", "a-8", "a-3"], ["b", "b-4"]]


@pytest.mark.parametrize(
    ("levels", "order"),
    [
        ([("x", 3), ("y", 1), ("z", 2)], ["y", "z", "x"]),
        ([("x", None), ("y", 5), ("z", None)], ["y", "x", "z"]),
        ([("x", 1), ("x", 5), ("y", 2)], ["y", "x"]),
    ],
)
def test_sources_are_ordered_by_level(
    levels: list[tuple[str, int | None]], order: list[str]
) -> None:
    rows = [problem(source, number, level) for number, (source, level) in enumerate(levels)]
    assert read.sources_by_level(rows) == order
