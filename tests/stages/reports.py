"""Write small outputs of all stages before the paper, with any parameters."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from stages import analyze, cross_check
from stages.lib.core import paths
from stages.lib.core.schema import (
    EvalRecord,
    Generation,
    Likelihood,
    Problem,
    Prompting,
    Status,
    system_name,
)
from stages.lib.core.tables import write_parquet
from stages.lib.generations.answers import answer_store, sampled_store
from stages.lib.params.load import load_params
from stages.lib.params.quantization import quantized_models
from stages.lib.params.root import Params
from tests.mini import gptq4
from tests.rows import make_generation, make_problem, make_record

REPOSITORY = Path(__file__).parents[2]
PARAMS = yaml.safe_load((REPOSITORY / "params.yaml").read_text(encoding="utf-8"))
BENCHMARKS = ("ladder", "gsm8k")
FIGURES = ["difficulty", "training", "accuracy", "sources", "programs"]
FIGURES += ["topics", "width", "retention"]  # of quantized models
SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><path d="M0 0h9v9z"/></svg>'
SINGLE = {"tokens_per_second_single": [30.5, 30.0, 31.0], "first_token_ms": [41.0, 40.0, 44.0]}
SPEED = {"tokens_per_second": [800.0, 790.0, 810.0]} | SINGLE
ATTACK = '<script>alert("x")</script>'

SMALL: dict[str, dict[str, Any]] = {
    "prepare": {
        "train": [{"source": "ladder", "per_rung": 2}],
        "benchmarks": {
            "ladder": {"source": "ladder", "per_rung": 4, "part": "test"},
            "gsm8k": {"source": "gsm8k", "size": 4},
        },
    },
    "weigh": {
        "prompting": ["cot", "pot"],
        "replays": {},
        "arms": {
            "uniform": {"strategy": "uniform"},
            "adaptive": {"strategy": "repeat", "base": 1, "factor": 0.5},
        },
    },
    "quantize": {"gptq": {"adaptive-gptq4": gptq4("adaptive")}},
    "evaluate": {
        "models": {"base": [0, 4], "uniform": [0], "adaptive": [0], "adaptive-gptq4": [0]},
        "prompting": ["cot", "pot"],
        "max_tokens": {"ladder": 64, "gsm8k": 64},
        "held_out": "ladder",
    },
    "analyze": {
        "draws": 100,
        "compare": [
            ["adaptive", "uniform"],
            ["adaptive", "base-4shot"],
            ["adaptive-gptq4", "adaptive"],
        ],
    },
    "paper": {"title": "Does it help? A small test", "browser_problems": 3},
}

SOURCE = {
    "name": "ladder",
    "role": "train",
    "format": "ladder",
    "where": "stages/lib/data/ladder.py",
    "revision": "",
    "license": "Apache-2.0",
    "rows": 2,
    "used": 2,
    "left_out": 0,
    "overlapping": 0,
}
OVERLAP = {
    "benchmark": "gsm8k",
    "kind": "words",
    "training_id": "t",
    "training_text": "#strong[A farmer] has $5 * of",
    "benchmark_text": "A farmer has 7",
    "words": "a farmer has",
}


def recipe(**changes: dict[str, Any]) -> dict[str, Any]:
    """Return the committed parameters made small, with changes to their groups."""
    return {
        group: values | SMALL.get(group, {}) | changes.get(group, {})
        for group, values in PARAMS.items()
    }


def write_params(groups: dict[str, Any]) -> Params:
    """Write and check ``params.yaml``."""
    paths.PARAMS.write_text(yaml.safe_dump(groups, sort_keys=False))
    return load_params()


def build(groups: dict[str, Any], *, n_problems: int = 2, n_conversations: int = 0) -> None:
    """Write the outputs of a run with these parameters into an empty folder."""
    params = write_params(groups)
    for name in BENCHMARKS:
        problems = [problem(name, number) for number in range(4)]
        write_parquet(paths.EVAL_PROBLEMS / f"{name}.parquet", problems)
    if n_problems:
        write_parquet(paths.TRAIN_PROBLEMS, [problem("ladder", 7 + n) for n in range(n_problems)])
    else:
        pq.write_table(pa.table({}), paths.TRAIN_PROBLEMS)
    write_data_reports(n_overlaps=1)
    write_json_files(
        {
            "metrics/data": {
                "problems": {"train": n_problems, "ladder": 4, "gsm8k": 4},
                "conversations": n_conversations,
                "dropped_for_overlap": {"ladder": 0, "gsm8k": 1},
            },
            "metrics/difficulty": {
                "cot": {
                    "pass_rate": {"ladder": 0.125},
                    "samples": {"correct": 1, "wrong": 6, "unparsed": 1},
                    "pass_at_1": 0.125,
                    "generated_tokens": 4000,
                }
            }
            if params.sample.k
            else {},
            "timings/prepare": {"seconds": 1.9, "peak_mib": 209},
        }
    )
    write_arm_reports(params)
    write_model_reports(params)
    for name in FIGURES:
        write_figure(name)
    analyze_answers(params)
    for name in ("layout.typ", "paper.typ", "references.bib"):
        shutil.copy(REPOSITORY / "reports" / name, "reports")


def problem(benchmark: str, number: int) -> Problem:
    """Return a problem with a worked solution and a program."""
    solved = {"solution": "1 = 1. The answer is 1.", "program": "print(1)"}
    return make_problem(f"{benchmark}-{number}", source=benchmark, **solved)


def write_json_files(contents: dict[str, Any]) -> None:
    """Write reports by their path under ``reports/``, without its ending."""
    for name, content in contents.items():
        path = Path("reports", f"{name}.json")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))


def write_figure(name: str) -> None:
    """Write a figure."""
    paths.FIGURES.mkdir(parents=True, exist_ok=True)
    (paths.FIGURES / f"{name}.svg").write_text(SVG)


def write_data_reports(n_overlaps: int) -> None:
    """Write the tables of ``reports/data/``."""
    paths.DATA_REPORTS.mkdir(parents=True, exist_ok=True)
    overlaps = pd.DataFrame([OVERLAP] * n_overlaps, columns=list(OVERLAP))
    overlaps.to_csv(paths.DATA_REPORTS / "overlaps.csv", index=False)
    pd.DataFrame([SOURCE]).to_csv(paths.DATA_REPORTS / "sources.csv", index=False)


def write_arm_reports(params: Params) -> None:
    """Write the reports of every arm."""
    metrics = {"mean_level": 3.5} if params.sample.k else {}
    run = {
        "examples": 409,
        "distinct_examples": 332,
        "distinct_problems": 260,
        "max_repeats": 4,
        "epochs": 0.104,
        "supervised_tokens": 12544,
        "processed_tokens": 24310,
        "total": 134_515_008,
    }
    measured = {"seconds": 60.0, "peak_mib": 4000}
    for arm in params.weigh.arms:
        write_json_files(
            {
                f"metrics/arms/{arm}": metrics,
                f"training/{arm}": run,
                f"timings/train-{arm}": measured,
            }
        )
    write_json_files({f"timings/{stage}": measured for stage in ("sample", "resample")})


def write_model_reports(params: Params) -> None:
    """Write the reports and likelihoods of models, two exports, and ``dvc.lock``."""
    for model in params.evaluate.models:
        quantized = model in quantized_models(params.quantize)
        speed = None if quantized else SPEED
        report = {"weight_bytes": 269_000_000, "fingerprint": f"print of {model}"}
        write_json_files(
            {
                f"models/{model}": report | {"speed": speed},
                f"likelihoods/{model}": {"held_out_tokens": 80, "memory_bytes": 270_000_000},
                f"timings/evaluate-{model}": {"seconds": 300.0, "peak_mib": 3777},
            }
        )
        nats = 40.0 if quantized else 30.0
        likelihoods = [Likelihood(str(n), "s", nats + n, 20) for n in range(4)]
        write_parquet(paths.LIKELIHOODS / f"{model}.parquet", likelihoods)
    # The second has the weights of another model than the evaluated one.
    for name, original in {"adaptive-int8": "adaptive", "base-int4": "another model"}.items():
        model, _, precision = name.partition("-")
        export = {
            "model": model,
            "precision": precision,
            "bits": 8,
            "fingerprint": f"print of {original}",
            "by_benchmark": {"ladder": {"n": 3, "right": 1}, "gsm8k": {"n": 0, "right": 0}},
            "exported": {"bytes": 280_000_000} | SINGLE,
            "vllm": {"bytes": 269_000_000} | SINGLE,
            "agreement": {"same_grade": 0.98},
            "vllm_with_itself": {"same_grade": 1.0},
        }
        write_json_files({f"exports/{name}": export})
    outs = [{"path": f"data/models/{m}", "md5": f"md5 of {m}"} for m in params.evaluate.models]
    Path("dvc.lock").write_text(yaml.safe_dump({"stages": {"model": {"outs": outs}}}))


def analyze_answers(params: Params) -> None:
    """Write answers to all benchmarks, and run the stage with grades made up."""
    problem_ids = [f"{benchmark}-{number}" for benchmark in BENCHMARKS for number in range(4)]
    for model, all_shots in params.evaluate.models.items():
        answers = [
            make_generation(
                name, prompting, shots=shots, text=f"{ATTACK} {system_name(model, shots)}"
            )
            for shots in all_shots
            for prompting in params.evaluate.prompting
            for name in problem_ids
        ]
        answer_store(model).append(answers)
        if params.evaluate.sampling is not None:
            indices = range(1, params.evaluate.sampling.samples + 1)
            samples = [replace(answer, index=index) for index in indices for answer in answers]
            sampled_store(model).append(samples)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(analyze, "grade_answers", made_up_grades)
        analyze.main()
        patch.setattr(cross_check, "grade_again", lambda texts: (None for _ in texts))
        cross_check.main()


def made_up_grades(answers: Any, *_: Any) -> Iterator[tuple[Generation, EvalRecord]]:
    """Grade answers by system and problem alone; samples after the second are wrong."""
    for system, answer in answers:
        benchmark, _, number = answer.problem_id.partition("-")
        status = status_of(system, int(number), answer.prompting) if answer.index < 3 else "wrong"
        grade = {"benchmark": benchmark, "status": status, "output": ATTACK}
        grade |= {"index": answer.index, "extracted": "2" if status == "wrong" else "1"}
        yield answer, make_record(system, answer.problem_id, answer.prompting, **grade)


def status_of(system: str, number: int, prompting: Prompting) -> Status:
    """Return a status such that ``uniform`` and ``adaptive`` differ within noise."""
    if system.startswith("uniform") and number % 2 and f"{system}-{number}" != "uniform-2-1":
        return "crashed" if prompting == "pot" else "wrong"
    return "unparsed" if system == "base" else "correct"
