"""The stage, from small tables to files."""

from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stages import figures
from stages.lib.analysis.answer_modes import ANSWER_MODES
from stages.lib.core.schema import Difficulty, Problem, content_id
from stages.lib.core.tables import write_parquet
from stages.lib.figures import read
from tests.rows import make_problem
from tests.stages.reports import recipe, write_params

SYSTEMS = ["base", "base-4shot", "uniform", "adaptive", "adaptive-gptq4"]
ARMS = ["uniform", "adaptive"]
LEVELS = {"sum": 1, "gcd": 2}
NO_SPEED = (None, None, None)
ALL = {"difficulty", "training", "accuracy", "topics", "width", "sources", "programs"}
LADDER_ONLY = {
    "prepare": {"benchmarks": {"ladder": {"source": "ladder", "per_rung": 2}}},
    "figures": {"palette": "colorblind", "width_in": 4.0, "dpi": 50},
}


def write(**changes: Any) -> None:
    """Write parameters with the ladder as the only benchmark, and with changes to groups."""
    evaluate = {"max_tokens": {"ladder": 64}} | changes.pop("evaluate", {})
    write_params(recipe(**LADDER_ONLY, evaluate=evaluate, **changes))


def problem(source: str, number: int, level: int | None) -> Problem:
    name = content_id(source, str(number))
    return make_problem(
        name,
        source=source,
        question=f"{source} {number}?",
        level=level,
        topic=f"topic of {source}",
        template=source,
    )


def difficulty_of(problem: Problem) -> Difficulty:
    return Difficulty(problem.id, problem.source, 4, 2, 0.5, 0.4, low=0.2, high=0.7, level=3.0)


def accuracy(columns: dict[str, list[str]]) -> pd.DataFrame:
    keys = {
        "benchmark": ["ladder"],
        "system": SYSTEMS,
        **columns,
        "answer_mode": list(ANSWER_MODES),
    }
    table = pd.DataFrame(product(*keys.values()), columns=list(keys))
    return table.assign(n=2, accuracy=0.5, standard_error=0.35, low=0.1, high=0.9)


def interval(name: str, rows: list[tuple[float | None, float | None, float | None]]) -> Any:
    """Return the three columns of an estimate with its interval."""
    return dict(zip((name, f"{name}_low", f"{name}_high"), zip(*rows, strict=True), strict=True))


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    problems = [problem(name, i, level) for name, level in LEVELS.items() for i in range(2)]
    write_parquet(Path("data/problems/train.parquet"), problems)
    write_parquet(Path("data/problems/eval/ladder.parquet"), problems)
    write_parquet(Path("data/difficulty.parquet"), [difficulty_of(problem) for problem in problems])
    quantized = pd.DataFrame(
        {
            "model": ["adaptive", "adaptive-gptq4", "adaptive-rtn3"],
            "parent": ["", "adaptive", "adaptive"],
            "method": ["", "gptq", "rtn"],
            "bits": [16, 4, 3],
            "bytes": [200, 100, 80],
            **interval("perplexity", [(3.0, 2.5, 3.5), (3.5, 3.0, 4.0), (30.0, 20.0, 40.0)]),
            **interval("tokens_per_second", [(900, 890, 910), (800, 700, 900), NO_SPEED]),
            **interval("tokens_per_second_single", [(30, 29, 31), (40, 39, 40), NO_SPEED]),
        }
    )
    tables = {
        "accuracy": accuracy({}),
        "accuracy_by_source": accuracy({"source": list(LEVELS)}),
        "accuracy_by_topic": accuracy({"topic": [f"topic of {name}" for name in LEVELS]}),
        "quantization": quantized,
    }
    log = pd.DataFrame({"step": [1, 2], "loss": [2.0, 1.0], "learning_rate": [1e-5, 0.0]})
    for folder in ("tables", "training"):
        Path("reports", folder).mkdir(parents=True)
    for name, table in tables.items():
        table.to_csv(f"reports/tables/{name}.csv", index=False)
    for arm in ARMS:
        folder = Path("reports", "training", arm, "plots", "metrics")
        folder.mkdir(parents=True)
        for name in ("loss", "learning_rate"):
            log[["step", name]].to_csv(folder / f"{name}.tsv", sep="\t", index=False)
    write()
    return tmp_path


def drawn() -> set[str]:
    """Return the names of the figures, each of which is there as SVG and PNG."""
    files = {path.name for path in Path("reports/figures").iterdir()}
    names = {name.partition(".")[0] for name in files}
    assert files == {f"{name}{kind}" for name in names for kind in (".svg", ".png")}
    return names


def test_every_figure_is_written_twice_and_the_folder_replaced(workspace: Path) -> None:
    stale = workspace / "reports" / "figures" / "stale.svg"
    stale.parent.mkdir()
    stale.touch()
    figures.main()
    assert drawn() == ALL


def test_without_samples_or_a_quantized_model_their_figures_are_left_out(workspace: Path) -> None:
    write(
        sample={"k": 0},
        weigh={"arms": {name: {"strategy": "uniform"} for name in ARMS}},
        quantize={"models": {}},
        evaluate={"models": {"base": [0, 4], "uniform": [0], "adaptive": [0]}},
        analyze={"compare": [["adaptive", "uniform"]]},
    )
    for name in ("difficulty", "problems/train"):
        pq.write_table(pa.table({}), f"data/{name}.parquet")
    figures.main()
    assert drawn() == ALL - {"difficulty", "topics", "width"}


def test_without_an_evaluated_tuned_model_there_are_no_figures_of_them(workspace: Path) -> None:
    write(
        quantize={"models": {}},
        evaluate={"models": {"base": [0, 4]}},
        analyze={"compare": [["base-4shot", "base"]]},
    )
    figures.main()
    assert drawn() == ALL - {"topics", "width", "sources", "programs"}


INPUTS = [
    "reports/tables/accuracy.csv",
    "reports/tables/accuracy_by_source.csv",
    "reports/tables/accuracy_by_topic.csv",
    "reports/tables/quantization.csv",
    "reports/training/adaptive/plots/metrics/loss.tsv",
    "data/difficulty.parquet",
    "data/problems/train.parquet",
    "data/problems/eval/ladder.parquet",
]


def test_a_missing_input_is_named(workspace: Path) -> None:
    for name in INPUTS:
        content = Path(name).read_bytes()
        Path(name).unlink()
        with pytest.raises(FileNotFoundError, match=name):
            figures.main()
        Path(name).write_bytes(content)


@pytest.mark.parametrize("name", [name for name in INPUTS if name.endswith(".csv")])
def test_a_table_without_rows_or_columns_is_named(workspace: Path, name: str) -> None:
    header = Path(name).read_text().partition("\n")[0]
    for content, message in (("", "empty"), (header, "no rows"), ("other\n1", "column '.*': mis")):
        Path(name).write_text(content)
        with pytest.raises(ValueError, match=f"{name}: {message}"):
            figures.main()


def test_a_table_of_problems_without_rows_is_named(workspace: Path) -> None:
    for name in [name for name in INPUTS if name.endswith(".parquet")]:
        table = pq.read_table(name)
        pq.write_table(table.slice(0, 0), name)
        with pytest.raises(ValueError, match=f"{name}: no rows"):
            figures.main()
        pq.write_table(table, name)


@pytest.mark.parametrize("table", ["accuracy_by_source", "accuracy_by_topic"])
def test_a_table_without_the_held_out_benchmark_is_named(workspace: Path, table: str) -> None:
    path = Path(f"reports/tables/{table}.csv")
    path.write_text(path.read_text().replace("ladder", "gsm8k"))
    with pytest.raises(ValueError, match=f"{table}.csv: no rows of benchmark 'ladder'"):
        figures.main()


def test_with_a_grpo_model_there_is_a_figure_of_its_run(workspace: Path) -> None:
    tuning = {"tuning": {"method": "full"}, "zero_variance_weight": 0.2}
    write(grpo={"models": {"grpo": {"parent": "uniform", "seed": 1} | tuning}})
    log = pd.DataFrame({"step": [1, 2, 3], "reward": [0.2, None, 0.4], "kl": [0.0, 0.1, 0.2]})
    log = log.assign(answer_tokens=[30, None, 20], groups_without_signal=[0.5, None, 0.25])
    folder = Path("reports/training/grpo/plots/metrics")
    folder.mkdir(parents=True)
    for name in log.columns[1:]:
        log[["step", name]].dropna().to_csv(folder / f"{name}.tsv", sep="\t", index=False)
    figures.main()
    assert drawn() == ALL | {"grpo"}
    (folder / "kl.tsv").write_text("step\n1\n")
    with pytest.raises(ValueError, match=f"{folder}/kl.tsv: column 'kl': missing"):
        figures.main()


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
