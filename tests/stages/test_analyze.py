"""From raw answers to grades, tables and metrics."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from stages import analyze
from stages.lib.analysis.answer_modes import ANSWER_MODES
from stages.lib.analysis.quantization import unquantized_pairs
from stages.lib.analysis.records import grade_answers
from stages.lib.core import paths
from stages.lib.core.files import read_json, write_json
from stages.lib.core.schema import PROMPTINGS, EvalRecord, Likelihood, system_name
from stages.lib.core.tables import read_parquet, write_csv, write_parquet
from stages.lib.generations.answers import answer_store, sampled_store
from stages.lib.params.load import load_params
from stages.lib.params.quantization import quantized_models
from tests.rows import make_generation, make_problem
from tests.stages.reports import recipe, write_params

# A CoT and a PoT answer of each model; base-1shot is not compared with another system.
TEXTS = {
    "base": ("I do not know.", "no program"),
    "uniform": ("The answer is {answer}.", "```python\nprint(undefined)\n```"),
    "adaptive": ("The answer is 99999.", "```python\nprint('{answer}')\n```"),
}
SHOTS = {"base": [0, 1], "uniform": [0], "adaptive": [0]}
PROBLEMS = {
    benchmark: [
        make_problem(f"{benchmark}-{n}", source=f"s{n % 2}", answer=str(n)) for n in range(size)
    ]
    for benchmark, size in (("ladder", 6), ("gsm8k", 3))
}


def write_inputs() -> None:
    write_params(
        recipe(
            evaluate={"models": SHOTS},
            quantize={"gptq": {}},
            analyze={"compare": [["adaptive", "uniform"], ["uniform", "base"]]},
        )
    )
    for benchmark, problems in PROBLEMS.items():
        write_parquet(paths.EVAL_PROBLEMS / f"{benchmark}.parquet", problems)
    for model, texts in TEXTS.items():
        answers = [
            make_generation(
                problem.id, prompting, shots=shots, text=text.replace("{answer}", problem.answer)
            )
            for shots in SHOTS[model]
            for problems in PROBLEMS.values()
            for problem in problems
            for prompting, text in zip(PROMPTINGS, texts, strict=True)
        ]
        answer_store(model).append(answers)
        report = {"weight_bytes": 10, "speed": None, "fingerprint": "f"}
        write_json(paths.MODEL_REPORTS / f"{model}.json", report)
        likelihood_report = {"held_out_tokens": 1, "memory_bytes": 11}
        write_json(paths.LIKELIHOOD_REPORTS / f"{model}.json", likelihood_report)
        likelihoods = [Likelihood(str(n), "s", 5.0 + n, 10) for n in range(3)]
        write_parquet(paths.LIKELIHOODS / f"{model}.parquet", likelihoods)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the inputs and outputs of the stage."""
    root = tmp_path_factory.mktemp("analyzed")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        write_inputs()
        analyze.main()
    return root


@pytest.fixture
def analyzed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Enter the folder, to read only."""
    monkeypatch.chdir(folder)


@pytest.fixture
def repository(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Enter a copy of the folder, to change."""
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)


def read(name: str, *keys: str) -> pd.DataFrame:
    return pd.read_csv(paths.TABLES / f"{name}.csv").set_index(list(keys))


def test_metrics_are_the_held_out_benchmark_and_the_mean_of_the_others(analyzed: None) -> None:
    expected = {
        "base": {"cot": 0.0, "pot": 0.0},
        "base-1shot": {"cot": 0.0, "pot": 0.0},
        "uniform": {"cot": 1.0, "pot": 0.0},
        "adaptive": {"cot": 0.0, "pot": 1.0},
    }
    metrics = read_json(paths.REPORTS / "metrics.json")
    assert metrics["accuracy"] == metrics["accuracy_others"] == expected


def test_accuracy_is_counted_by_answer_mode(analyzed: None) -> None:
    accuracy = read("accuracy", "benchmark", "system", "answer_mode")["accuracy"]
    by_mode = {name: accuracy["gsm8k", "uniform", name] for name in ANSWER_MODES}
    assert by_mode == {"cot": 1, "pot": 0, "fallback": 1, "both": 0, "either": 1}


def test_every_non_answer_is_counted_by_status(analyzed: None) -> None:
    table = read("statuses", "benchmark", "system", "prompting")
    assert table.loc[("ladder", "base", "pot"), "unparsed"] == 6
    assert table.loc[("ladder", "uniform", "pot"), "crashed"] == 6
    assert table.loc[("ladder", "adaptive", "cot"), "wrong"] == 6
    assert table.to_numpy().sum() == 4 * 2 * (6 + 3)


def test_comparisons_are_paired(analyzed: None) -> None:
    table = read("comparisons", "benchmark", "first", "second", "answer_mode")
    difference = table.loc[("ladder", "adaptive", "uniform"), "difference"]
    assert difference.to_dict() == {"cot": -1, "pot": 1, "fallback": 0}
    assert all((table["low"] <= table["difference"]) & (table["difference"] <= table["high"]))
    assert all(table["p_holm"] >= table["p"])


def test_styles_are_measured_of_compared_systems(analyzed: None) -> None:
    styles = read("styles", "benchmark", "system", "prompting")
    tuned = styles.loc[("ladder", "uniform", "cot"), ["stated", "steps", "accuracy"]]
    assert tuned.tolist() == [1, 0, 1]
    assert styles.loc[("ladder", "base", "cot"), ["stated", "tokens"]].tolist() == [0, 5]
    assert set(styles.index.get_level_values("system")) == set(TEXTS)
    assert set(read("style_differences", "measure").index) == {"tokens", "steps", "stated"}
    answers: Any = read("side_by_side", "system", "answer")["text"]
    assert {(system, text) for (system, _), text in answers.items()} == {
        ("base", "I do not know."),
        ("adaptive", "The answer is 99999."),
        *(("uniform", f"The answer is {answer}.") for answer in answers["uniform"].index),
    }


def test_pairs_with_a_quantized_model_are_not_set_side_by_side() -> None:
    params = load_params()
    pairs = unquantized_pairs(params)
    assert 0 < len(pairs) < len(params.analyze.compare)
    quantized = {system_name(name, 0) for name in quantized_models(params.quantize)}
    assert pairs == [pair for pair in params.analyze.compare if not quantized & set(pair)]


def test_grades_keep_what_programs_printed(analyzed: None) -> None:
    records = read_parquet(paths.GRADES, EvalRecord)
    assert len(records) == 4 * 2 * (6 + 3)
    outputs = [record.output for record in records if record.status == "crashed"]
    assert len(outputs) == 9
    assert all("NameError" in output for output in outputs)


def test_the_same_answers_give_the_same_tables(repository: None) -> None:
    before = {path: path.read_bytes() for path in sorted(paths.TABLES.iterdir())}
    analyze.main()
    assert {path: path.read_bytes() for path in sorted(paths.TABLES.iterdir())} == before


def test_a_missing_answer_is_an_error_and_not_a_wrong_one(repository: None) -> None:
    store = answer_store("base")
    rows = list(store.rows())
    shutil.rmtree(store.folder)
    answer_store("base").append(rows[1:])
    with pytest.raises(
        ValueError, match="expected one of every system to every problem with each of cot, pot"
    ):
        analyze.main()


def test_metrics_have_the_doses_and_the_study_of_these_arms(repository: None) -> None:
    assert {"epochs", "study"} & set(read_json(paths.REPORTS / "metrics.json")) == set()
    write_json(paths.TRAINING_LOGS / "uniform.json", {"epochs": 1.5})
    values = {"difference": "0.05", "low": "0.03", "high": "0.07"}
    endpoint = {"first": "adaptive", "second": "uniform", "stratum": "hard"} | values
    write_csv(paths.STUDY_REPORTS / "endpoints.csv", [endpoint])
    arm = {"system": "uniform", "stratum": "hard", "run_sd": "0.02"}
    write_csv(paths.STUDY_REPORTS / "arms.csv", [arm])
    analyze.main()
    metrics = read_json(paths.REPORTS / "metrics.json")
    assert metrics["epochs"] == {"uniform": 1.5}
    assert metrics["study"]["run_sd"] == {"uniform": 0.02}
    write_csv(paths.STUDY_REPORTS / "endpoints.csv", [endpoint | {"first": "mastery"}])
    analyze.main()
    assert "study" not in read_json(paths.REPORTS / "metrics.json")


def test_sampled_answers_have_tables_and_grades_of_their_own(repository: None) -> None:
    files = [paths.GRADES, *sorted(paths.TABLES.iterdir())]
    greedy = [path.read_bytes() for path in files]
    assert not read_parquet(paths.SAMPLED_GRADES, EvalRecord)
    for model in TEXTS:
        rows = list(answer_store(model).rows())
        # The first sample is the greedy answer, the second is none.
        texts = [(row, index, row.text if index == 1 else "") for index in (1, 2) for row in rows]
        samples = [replace(row, index=index, text=text) for row, index, text in texts]
        sampled_store(model).append(samples)
    analyze.main()
    assert [path.read_bytes() for path in files] == greedy
    indices = {record.index for record in read_parquet(paths.SAMPLED_GRADES, EvalRecord)}
    assert indices == {1, 2}
    table = read("sampled", "benchmark", "system", "answer_mode", "measure")
    values = table.loc[("ladder", "uniform", "cot"), "value"]
    assert values.to_dict() == {"avg": 0.5, "pass": 1, "maj": 1}
    compared = read("sampled_comparisons", "benchmark", "first", "second", "answer_mode")
    assert compared.loc[("gsm8k", "adaptive", "uniform", "cot"), "difference"] == -0.5
    sampled = read_json(paths.REPORTS / "metrics.json")["sampled"]
    assert sampled["uniform"]["cot"] == {"avg_at_2": 0.5, "pass_at_2": 1.0, "maj_at_2": 1.0}


def test_a_reply_belongs_to_the_sample_that_it_follows() -> None:
    problem = make_problem("p", answer="B", kind="choice", choices=["1", "2"])
    rows = [("s", make_generation("p", "cot", index=index, text="77")) for index in (1, 2)]
    follow_ups: Any = {("s", "p", "cot", 2): "The answer is B."}
    sandbox = load_params().sandbox
    graded = grade_answers(rows, follow_ups, {"aqua": [problem]}, sandbox)
    found = [(record.index, record.status, record.option_source) for _, record in graded]
    assert found == [(1, "unparsed", ""), (2, "correct", "follow_up")]


def test_a_broken_model_is_named_and_stated_answers_are_counted(
    repository: None, capsys: pytest.CaptureFixture[str]
) -> None:
    extraction: Any = read("extraction", "benchmark", "system").loc[("ladder", "uniform")]
    assert extraction[["n", "n_stated", "strict", "flexible"]].tolist() == [6, 6, 1, 1]
    assert not len(read("alarms", "benchmark"))
    cut = [
        make_generation(p.id, prompting, shots=0, text="on and on", finish_reason="length")
        for problems in PROBLEMS.values()
        for p in problems
        for prompting in PROMPTINGS
    ]
    shutil.rmtree(paths.ANSWERS / "adaptive")
    answer_store("adaptive").append(cut)
    write_json(paths.TRAINING_LOGS / "adaptive.json", {})
    analyze.main()
    alarms: Any = read("alarms", "benchmark", "system", "prompting")["alarm"]
    assert alarms["ladder", "adaptive", "cot"] == "6 of 6 answers end at the token limit"
    assert len(alarms) == 4
    assert "analyze: adaptive on ladder, cot: 6 of 6 answers" in capsys.readouterr().err
