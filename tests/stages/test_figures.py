"""The stage, from small tables to files."""

from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from stages import figures
from stages.lib.core.schema import Difficulty, Problem, content_id
from stages.lib.core.tables import write_parquet
from stages.lib.figures import read
from stages.lib.params.load import load_params
from stages.lib.params.quantization import Rtn

PARAMS = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
GPTQ4 = {
    "parent": "adaptive",
    "method": "gptq",
    "bits": 4,
    "calibrate_on": "training",
    "calibration_seed": 1,
}
SYSTEMS = ["base", "base-4shot", "uniform", "adaptive", "adaptive-gptq4"]
ARMS = ["uniform", "adaptive"]
LEVELS = {"sum": 1, "gcd": 2}
ALL = {"difficulty", "training", "accuracy", "topics", "width", "sources", "programs"}


def small_params() -> dict[str, Any]:
    changed = {
        "prepare": {"benchmarks": {"ladder": {"source": "ladder", "per_rung": 2}}},
        "weigh": {
            "arms": {
                "uniform": {"strategy": "uniform"},
                "adaptive": {"strategy": "repeat", "base": 1, "factor": 1},
            }
        },
        "quantize": PARAMS["quantize"] | {"models": {"adaptive-gptq4": GPTQ4}},
        "evaluate": {
            "models": {"base": [0, 4], "uniform": [0], "adaptive": [0], "adaptive-gptq4": [0]},
            "max_tokens": {"ladder": 64},
            "held_out": "ladder",
        },
        "analyze": {"compare": [["adaptive", "uniform"]]},
        "figures": {"palette": "colorblind", "width_in": 4.0, "dpi": 50},
    }
    return {group: values | changed.get(group, {}) for group, values in PARAMS.items()}


def problem(source: str, number: int, level: int | None) -> Problem:
    return Problem(
        id=content_id(source, str(number)),
        source=source,
        question=f"{source} {number}?",
        answer="1",
        kind="number",
        choices=[],
        solution="",
        program="",
        level=level,
        topic=f"topic of {source}",
        template=source,
    )


def difficulty_of(one: Problem) -> Difficulty:
    return Difficulty(
        problem_id=one.id,
        source=one.source,
        n=4,
        n_correct=2,
        pass_rate=0.5,
        posterior_mean=0.4,
        low=0.2,
        high=0.7,
        level=3.0,
    )


def accuracy(columns: dict[str, list[str]]) -> pd.DataFrame:
    keys = {
        "benchmark": ["ladder"],
        "system": SYSTEMS,
        **columns,
        "answer_mode": ["cot", "pot", "fallback", "both", "either"],
    }
    table = pd.DataFrame(product(*keys.values()), columns=list(keys))
    return table.assign(n=2, accuracy=0.5, standard_error=0.35, low=0.1, high=0.9)


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    problems = [problem(source, i, level) for source, level in LEVELS.items() for i in range(2)]
    write_parquet(Path("data/problems/train.parquet"), problems)
    write_parquet(Path("data/problems/eval/ladder.parquet"), problems)
    write_parquet(Path("data/difficulty.parquet"), [difficulty_of(one) for one in problems])
    quantized = pd.DataFrame(
        {
            "model": ["adaptive", "adaptive-gptq4", "adaptive-rtn3"],
            "parent": ["", "adaptive", "adaptive"],
            "method": ["", "gptq", "rtn"],
            "bits": [16, 4, 3],
            "bytes": [200, 100, 80],
            "perplexity": [3.0, 3.5, 30.0],
            "perplexity_low": [2.5, 3.0, 20.0],
            "perplexity_high": [3.5, 4.0, 40.0],
            "tokens_per_second": [900.0, 800.0, None],
            "tokens_per_second_low": [890.0, 700.0, None],
            "tokens_per_second_high": [910.0, 900.0, None],
            "tokens_per_second_single": [30.0, 40.0, None],
            "tokens_per_second_single_low": [29.0, 39.0, None],
            "tokens_per_second_single_high": [31.0, 40.0, None],
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
    Path("params.yaml").write_text(yaml.safe_dump(small_params()))
    return tmp_path


def drawn() -> set[str]:
    return {path.name for path in Path("reports/figures").iterdir()}


def test_every_figure_is_written_twice_and_the_folder_replaced(workspace: Path) -> None:
    stale = workspace / "reports" / "figures" / "stale.svg"
    stale.parent.mkdir()
    stale.touch()
    figures.main()
    assert drawn() == {f"{name}{kind}" for name in ALL for kind in (".svg", ".png")}


def test_without_a_quantized_model_two_figures_are_left_out(workspace: Path) -> None:
    changed = small_params()
    changed["quantize"]["models"] = {}
    del changed["evaluate"]["models"]["adaptive-gptq4"]
    Path("params.yaml").write_text(yaml.safe_dump(changed))
    figures.main()
    names = {name.partition(".")[0] for name in drawn()}
    assert names == ALL - {"topics", "width"}


def test_without_samples_there_is_no_figure_of_difficulty(workspace: Path) -> None:
    changed = small_params()
    changed["sample"] = changed["sample"] | {"k": 0}
    changed["weigh"]["arms"]["adaptive"] = {"strategy": "uniform"}
    Path("params.yaml").write_text(yaml.safe_dump(changed))
    for name in ("difficulty", "problems/train"):
        pq.write_table(pa.table({}), f"data/{name}.parquet")
    figures.main()
    assert {name.partition(".")[0] for name in drawn()} == ALL - {"difficulty"}


def test_without_an_evaluated_tuned_model_there_are_no_figures_of_them(workspace: Path) -> None:
    changed = small_params()
    changed["quantize"]["models"] = {}
    changed["evaluate"]["models"] = {"base": [0, 4]}
    changed["analyze"]["compare"] = [["base-4shot", "base"]]
    Path("params.yaml").write_text(yaml.safe_dump(changed))
    figures.main()
    names = {name.partition(".")[0] for name in drawn()}
    assert names == ALL - {"topics", "width", "sources", "programs"}


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


@pytest.mark.parametrize("name", INPUTS)
def test_a_missing_input_is_named(workspace: Path, name: str) -> None:
    Path(name).unlink()
    with pytest.raises(FileNotFoundError, match=name):
        figures.main()


@pytest.mark.parametrize("name", [name for name in INPUTS if name.endswith(".csv")])
@pytest.mark.parametrize(
    ("keep", "complaint"),
    [
        pytest.param(lambda lines: [], "empty", id="nothing"),
        pytest.param(lambda lines: lines[:1], "no rows", id="header"),
        pytest.param(lambda lines: ["other", "1"], "column '.*': missing", id="columns"),
    ],
)
def test_an_empty_table_is_named(workspace: Path, name: str, keep: Any, complaint: str) -> None:
    Path(name).write_text("\n".join(keep(Path(name).read_text().splitlines())))
    with pytest.raises(ValueError, match=f"{name}: {complaint}"):
        figures.main()


@pytest.mark.parametrize("name", [name for name in INPUTS if name.endswith(".parquet")])
def test_a_table_of_rows_that_has_none_is_named(workspace: Path, name: str) -> None:
    pq.write_table(pq.read_table(name).slice(0, 0), name)
    with pytest.raises(ValueError, match=f"{name}: no rows"):
        figures.main()


@pytest.mark.parametrize("table", ["accuracy_by_source", "accuracy_by_topic"])
def test_a_table_without_the_held_out_benchmark_is_named(workspace: Path, table: str) -> None:
    path = Path(f"reports/tables/{table}.csv")
    path.write_text(path.read_text().replace("ladder", "gsm8k"))
    with pytest.raises(ValueError, match=f"{table}.csv: no rows of benchmark 'ladder'"):
        figures.main()


def test_with_a_reinforced_model_there_is_a_figure_of_its_run(workspace: Path) -> None:
    changed = small_params()
    made = {
        "parent": "uniform",
        "seed": 1,
        "tuning": {"method": "full"},
        "zero_variance_weight": 0.2,
    }
    changed["grpo"] = changed["grpo"] | {"models": {"grpo": made}}
    Path("params.yaml").write_text(yaml.safe_dump(changed))
    log = pd.DataFrame({"step": [1, 2, 3], "reward": [0.2, None, 0.4], "kl": [0.0, 0.1, 0.2]})
    log = log.assign(answer_tokens=[30, None, 20], groups_without_signal=[0.5, None, 0.25])
    folder = Path("reports/training/grpo/plots/metrics")
    folder.mkdir(parents=True)
    for name in log.columns[1:]:
        log[["step", name]].dropna().to_csv(folder / f"{name}.tsv", sep="\t", index=False)
    figures.main()
    assert drawn() == {f"{name}{kind}" for name in ALL | {"grpo"} for kind in (".svg", ".png")}
    (folder / "kl.tsv").write_text("step\n1\n")
    with pytest.raises(ValueError, match=f"{folder}/kl.tsv: column 'kl': missing"):
        figures.main()


def test_families_hold_what_was_made_of_an_original() -> None:
    made = {
        name: Rtn(method="rtn", parent=name[0], bits=4) for name in ("a-8", "b-4", "a-4", "c-4")
    }
    quantize = load_params().quantize.model_copy(update={"models": made})
    evaluated = ["base", "b", "a", "a-4", "a-8", "b-4", "c"]
    assert quantize.families(evaluated) == [["b", "b-4"], ["a", "a-8", "a-4"]]


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
    found = read.by_gptq(pd.DataFrame(rows, columns=columns))
    assert found == [["a", "a-8", "a-3"], ["b", "b-4"]]


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
    assert read.by_level(rows) == order
