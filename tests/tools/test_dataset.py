"""The data set for the Hub, read back by the library that its users have."""

from pathlib import Path
from typing import Any

import pytest
from datasets import load_dataset
from huggingface_hub import DatasetCard

from stages.lib.core.paths import DIFFICULTY, EVAL_PROBLEMS, TRAIN_PROBLEMS
from stages.lib.core.schema import Difficulty
from stages.lib.core.tables import write_parquet
from tests.rows import make_difficulty, make_problem
from tests.stages.reports import recipe, write_params
from tools import dataset

RUNG = {"source": "sum-1-digit"}
LADDER = {"source": "ladder", "per_rung": 2}
GSM8K = {"source": "gsm8k", "size": 4}


def write_run(benchmarks: dict[str, Any], *, held_out: str, k: int = 4) -> None:
    """Write parameters with k samples and these benchmarks."""
    write_params(
        recipe(
            prepare={"rungs": ["sum-1-digit"], "train": [LADDER], "benchmarks": benchmarks},
            sample={"k": k},
            weigh={"arms": {"uniform": {"strategy": "uniform"}}},
            quantize={"gptq": {}},
            evaluate={
                "models": {"base": [0], "uniform": [0]},
                "max_tokens": dict.fromkeys(benchmarks, 9),
                "held_out": held_out,
            },
            analyze={"compare": [["uniform", "base"]]},
        )
    )


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Enter a folder with problems of the ladder and of another source, and their difficulty."""
    monkeypatch.chdir(tmp_path)
    write_run({"ladder-2": LADDER | {"part": "test"}, "gsm8k": GSM8K}, held_out="ladder-2")
    train = [make_problem("a", **RUNG), make_problem("b", **RUNG), make_problem("other")]
    write_parquet(TRAIN_PROBLEMS, train)
    write_parquet(EVAL_PROBLEMS / "ladder-2.parquet", [make_problem("c", **RUNG)])
    write_parquet(EVAL_PROBLEMS / "gsm8k.parquet", [make_problem("g")])
    rows = [make_difficulty(name, rate) for name, rate in (("a", 0.25), ("b", 1), ("other", 0))]
    write_parquet(DIFFICULTY, rows)


def test_what_is_written_is_loaded(written: None) -> None:
    dataset.main("out")
    problems: Any = load_dataset("out", cache_dir="cache")  # the default configuration
    assert {split: rows["id"][:] for split, rows in problems.items()} == {
        "train": ["a", "b"],
        "ladder_2": ["c"],
    }
    difficulty: Any = load_dataset("out", "difficulty", split="train", cache_dir="cache")
    assert difficulty["pass_rate"][:] == [0.25, 1]
    assert set(difficulty.column_names) == set(Difficulty.__dataclass_fields__)
    card = DatasetCard.load("out/README.md")
    assert card.data.to_dict()["license"] == "apache-2.0"
    assert "| train | 2 |" in card.text and "posterior" in card.text


def test_without_samples_there_is_no_difficulty(written: None) -> None:
    write_run({"ladder-2": LADDER | {"part": "test"}}, held_out="ladder-2", k=0)
    dataset.main("out")
    assert not Path("out/difficulty").exists()
    assert "difficulty" not in Path("out/README.md").read_text().partition("---\n\n")[2]


def test_a_folder_that_exists_and_a_run_without_the_ladder_are_refused(written: None) -> None:
    Path("out").mkdir()
    with pytest.raises(ValueError, match="^out: expected a folder that does not exist yet"):
        dataset.main("out")
    write_run({"gsm8k": GSM8K}, held_out="gsm8k")
    write_parquet(TRAIN_PROBLEMS, [make_problem("other")])
    with pytest.raises(ValueError, match="^prepare: expected problems of the ladder"):
        dataset.main("new")
    assert not Path("new").exists()
