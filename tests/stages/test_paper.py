"""The stage, from small tables to the paper and the page."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typst
import yaml

from stages import analyze, paper
from stages.lib.analysis import accuracy, response_style
from stages.lib.core.schema import PROMPTINGS, EvalRecord, Generation, Likelihood, Problem, Status
from stages.lib.core.tables import write_parquet
from stages.lib.generations.answers import read_answers
from stages.lib.generations.store import Store
from stages.lib.params.load import load_params
from stages.lib.params.root import Params
from stages.lib.params.strategies import Weigh
from stages.lib.provenance.versions import versions
from stages.lib.report import descriptions, findings
from stages.lib.report import facts as report_facts
from stages.lib.report.facts import describe_sources, flatten, hardware, identify_models
from tests.small import GPTQ4

ROOT = Path(__file__).parents[2]
PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
SYSTEMS = ["base", "base-4shot", "uniform", "adaptive", "adaptive-gptq4"]
FIGURES = ["difficulty", "training", "accuracy", "sources", "programs", "topics", "width"]
SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><path d="M0 0h9v9z"/></svg>'
SPEED = {
    "tokens_per_second": [800.0, 790.0, 810.0],
    "tokens_per_second_single": [30.5, 30.0, 31.0],
    "first_token_ms": [41.0, 40.0, 44.0],
}
SINGLE = {name: SPEED[name] for name in ("tokens_per_second_single", "first_token_ms")}
ATTACK = '<script>alert("x")</script>'


def small_params() -> dict[str, Any]:
    changed: dict[str, dict[str, Any]] = {
        "prepare": {
            "train": [{"source": "ladder", "per_rung": 2}],
            "benchmarks": {
                "ladder": {"source": "ladder", "per_rung": 4},
                "gsm8k": {"source": "gsm8k", "size": 4},
            },
        },
        "weigh": {
            "arms": {
                "uniform": {"strategy": "uniform"},
                "adaptive": {"strategy": "repeat", "base": 1, "factor": 0.5},
            }
        },
        "quantize": PARAMS["quantize"] | {"models": {"adaptive-gptq4": GPTQ4}},
        "evaluate": {
            "models": {"base": [0, 4], "uniform": [0], "adaptive": [0], "adaptive-gptq4": [0]},
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
    return {group: values | changed.get(group, {}) for group, values in PARAMS.items()}


def problem(benchmark: str, number: int) -> Problem:
    return Problem(
        id=f"{benchmark}-{number}",
        source=benchmark,
        question=f"What is {benchmark} {number}?",
        answer="1",
        kind="number",
        choices=[],
        solution="1 = 1. The answer is 1.",
        program="print(1)",
        level=1,
        topic="addition",
        template=f"{benchmark}-{number}",
    )


def status_of(system: str, number: int, prompting: str) -> Status:
    if system.startswith("uniform") and number % 2 and f"{system}-{number}" != "uniform-2-1":
        return "crashed" if prompting == "pot" else "wrong"
    return "unparsed" if system == "base" else "correct"


def write_answers(wanted: Params, problems: dict[str, list[Problem]]) -> list[EvalRecord]:
    graded = []
    for model, all_shots in wanted.evaluate.models.items():
        rows = []
        for shots in all_shots:
            system = f"{model}-{shots}shot" if shots else model
            for prompting in PROMPTINGS:
                for benchmark, members in problems.items():
                    for number, one in enumerate(members):
                        rows.append(
                            Generation(
                                problem_id=one.id,
                                model="sha",
                                prompting=prompting,
                                shots=shots,
                                index=0,
                                text=f"{ATTACK} {system}",
                                finish_reason="stop",
                                n_tokens=5,
                                prompt_sha="sha",
                            )
                        )
                        graded.append(
                            EvalRecord(
                                benchmark=benchmark,
                                problem_id=one.id,
                                system=system,
                                prompting=prompting,
                                status=status_of(system, number, prompting),
                                extracted="1",
                                output=ATTACK,
                                finish_reason="stop",
                                n_tokens=5,
                            )
                        )
        Store(Path("data/answers") / model).append(rows)
    return graded


PART = {
    "name": "ladder",
    "role": "train",
    "format": "ladder",
    "where": "stages/lib/sources.py",
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


def write_data_reports(overlaps: int) -> None:
    Path("reports/data").mkdir(exist_ok=True)
    pd.DataFrame([PART]).to_csv("reports/data/sources.csv", index=False)
    found = pd.DataFrame([OVERLAP] * overlaps, columns=list(OVERLAP))
    found.to_csv("reports/data/overlaps.csv", index=False)


def write_tables(
    wanted: Params, graded: list[EvalRecord], problems: dict[str, list[Problem]]
) -> None:
    frame = accuracy.answer_frame(graded, problems)
    level = wanted.analyze.interval
    tables = {
        "accuracy": accuracy.accuracy_table(frame, ["benchmark", "system"], level=level),
        "accuracy_by_topic": accuracy.accuracy_table(
            frame, ["benchmark", "system", "topic"], level=level
        ),
        "statuses": accuracy.status_table(graded),
        "comparisons": accuracy.comparison_table(
            frame, wanted.analyze.compare, draws=100, level=level, rng=np.random.default_rng(1)
        ),
    }
    if pairs := wanted.analyze.pairs_of_runs():
        tables["runs"] = accuracy.run_table(frame, pairs, wanted.analyze.runs, level=level)
    tables |= analyze.tables_of_models(frame, tables["accuracy"], wanted, np.random.default_rng(1))
    pairs = analyze.unquantized(wanted)
    answered = read_answers(wanted.evaluate.models)
    compared = [name for pair in pairs for name in pair]
    styles = response_style.style_frame(answered, graded, problems, compared)
    how = response_style.Bootstrap(draws=100, level=level, rng=np.random.default_rng(1))
    tables |= response_style.tables(styles, pairs, how)
    for name, table in tables.items():
        table.to_csv(f"reports/tables/{name}.csv", index=False)


def write_arm_reports(wanted: Params) -> None:
    about = {"mean_level": 3.5} if wanted.sample.k else {}
    run = {"shown": 409, "distinct": 332, "of_problems": 260, "most": 4, "passes": 0.104}
    for arm in wanted.weigh.arms:
        Path(f"reports/metrics/arms/{arm}.json").write_text(json.dumps(about))
        Path(f"reports/training/{arm}.json").write_text(json.dumps(run))


def write_reports(wanted: Params, *, taught: int, conversations: int) -> None:
    for folder in ("exports", "figures", "metrics/arms", "models", "tables", "timings", "training"):
        Path("reports", folder).mkdir(parents=True)
    for name in FIGURES:
        Path(f"reports/figures/{name}.svg").write_text(SVG)
    write_data_reports(overlaps=1)
    counts = {"train": taught, "ladder": 4, "gsm8k": 4}
    dropped = {"ladder": 0, "gsm8k": 1}
    contents: dict[str, dict[str, Any]] = {
        "metrics/data": {
            "problems": counts,
            "conversations": conversations,
            "dropped_for_overlap": dropped,
        },
        "metrics/difficulty": {
            "pass_rate": {"ladder": 0.125},
            "samples": {"correct": 1, "wrong": 6, "unparsed": 1},
            "pass_at_1": 0.125,
        }
        if wanted.sample.k
        else {},
        "timings/prepare": {"seconds": 1.9, "peak_mib": 209},
    }
    write_arm_reports(wanted)
    for model in wanted.evaluate.models:
        contents[f"models/{model}"] = {
            "weight_bytes": 269_000_000,
            "memory_bytes": 270_000_000,
            "speed": None if model == "adaptive-gptq4" else SPEED,
            "fingerprint": f"print of {model}",
        }
        contents[f"timings/evaluate-{model}"] = {
            "seconds": 300.0,
            "peak_mib": 3777,
        }
    for name, of in {"adaptive-int8": "adaptive", "base-int4": "another model"}.items():
        contents[f"exports/{name}"] = {
            "model": name.partition("-")[0],
            "precision": name.partition("-")[2],
            "bits": 8,
            "fingerprint": f"print of {of}",
            "by_benchmark": {"ladder": {"n": 3, "right": 1}, "gsm8k": {"n": 0, "right": 0}},
            "exported": {"bytes": 280_000_000} | SINGLE,
            "vllm": {"bytes": 269_000_000} | SINGLE,
            "agreement": {"same_verdict": 0.98},
            "vllm_with_itself": {"same_verdict": 1.0},
        }
    for name, content in contents.items():
        Path(f"reports/{name}.json").write_text(json.dumps(content))
    for model in wanted.evaluate.models:
        nats = 40.0 if model == "adaptive-gptq4" else 30.0
        likelihoods = [Likelihood(str(n), "s", nats + n, 20) for n in range(4)]
        write_parquet(Path(f"data/likelihoods/{model}.parquet"), likelihoods)
    outs = [{"path": f"data/models/{m}", "md5": f"md5 of {m}"} for m in wanted.evaluate.models]
    Path("dvc.lock").write_text(yaml.safe_dump({"stages": {"model": {"outs": outs}}}))


def build(groups: dict[str, Any], *, taught: int = 2, conversations: int = 0) -> None:
    """Write what the stages before left, with these parameters, into an empty folder."""
    Path("params.yaml").write_text(yaml.safe_dump(groups, sort_keys=False))
    wanted = load_params()
    problems = {name: [problem(name, n) for n in range(4)] for name in ("ladder", "gsm8k")}
    for name, members in problems.items():
        write_parquet(Path(f"data/problems/eval/{name}.parquet"), members)
    training = Path("data/problems/train.parquet")
    if taught:
        write_parquet(training, [problem("ladder", 7 + n) for n in range(taught)])
    else:
        pq.write_table(pa.table({}), training)
    write_reports(wanted, taught=taught, conversations=conversations)
    graded = write_answers(wanted, problems)
    write_parquet(Path("data/verdicts.parquet"), graded)
    write_tables(wanted, graded, problems)
    for name in ("paper.typ", "references.bib"):
        shutil.copy(ROOT / "reports" / name, "reports")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("built")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        build(small_params())
    return root


@pytest.fixture
def repository(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Params:
    shutil.copytree(built, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return load_params()


def test_an_export_of_the_evaluated_weights_is_in_the_table(repository: Params) -> None:
    table = pd.read_csv("reports/tables/quantization.csv")
    assert table["model"].tolist() == ["adaptive", "adaptive-gptq4", "adaptive-onnx-int8"]
    export = table.iloc[-1]
    assert (export["ladder_n"], export["ladder_cot"]) == (3, pytest.approx(1 / 3, abs=1e-4))
    assert table["ladder_n"].tolist() == [4, 4, 3]


def change_params(**groups: dict[str, Any]) -> None:
    changed = {group: values | groups.get(group, {}) for group, values in small_params().items()}
    Path("params.yaml").write_text(yaml.safe_dump(changed, sort_keys=False))


def change_column(table: str, column: str, value: Any) -> None:
    path = Path(f"reports/tables/{table}.csv")
    pd.read_csv(path).assign(**{column: value}).to_csv(path, index=False)


def test_the_paper_and_the_page_are_made(repository: Params) -> None:
    paper.main()
    assert Path("reports/paper.pdf").read_bytes().startswith(b"%PDF")
    page = Path("reports/index.html").read_text(encoding="utf-8")
    assert "Does it help? A small test" in page
    assert "adaptive and uniform are within noise of each other" in page
    assert ATTACK not in page
    assert sorted(path.name for path in Path("reports").iterdir() if path.is_file()) == [
        "index.html",
        "paper.pdf",
        "paper.typ",
        "references.bib",
    ]


def test_the_same_inputs_give_the_same_bytes(repository: Params) -> None:
    outputs = [Path("reports/paper.pdf"), Path("reports/index.html")]
    paper.main()
    first = [path.read_bytes() for path in outputs]
    paper.main()
    assert [path.read_bytes() for path in outputs] == first


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [
        ("accuracy", "accuracy", 0.4321),
        ("accuracy_by_topic", "accuracy", 0.4321),
        ("comparisons", "p", 0.4321),
        ("models", "perplexity", 9.876),
        ("statuses", "timeout", 4321),
        ("styles", "tokens", 43.21),
        ("style_differences", "difference", 0.4321),
        ("side_by_side", "text", "#panic() $ ``` <x> @y \\ */ //"),
    ],
)
def test_the_paper_reads_its_numbers_from_the_tables(
    repository: Params, table: str, column: str, value: Any
) -> None:
    paper.main()
    before = Path("reports/paper.pdf").read_bytes()
    change_column(table, column, value)
    paper.main()
    assert Path("reports/paper.pdf").read_bytes() != before


@pytest.mark.parametrize("name", FIGURES)
def test_a_missing_figure_is_named(repository: Params, name: str) -> None:
    Path(f"reports/figures/{name}.svg").unlink()
    with pytest.raises(ValueError, match=rf"figures/{name}\.svg: missing: .*stages/figures\.py"):
        paper.main()
    assert not Path("reports/paper.pdf").exists()


def test_a_recipe_without_ladder_or_quantization_has_a_paper_too(repository: Params) -> None:
    groups = small_params()
    models = {name: n for name, n in groups["evaluate"]["models"].items() if "gptq" not in name}
    benchmarks = groups["prepare"]["benchmarks"]
    change_params(
        prepare=groups["prepare"]
        | {"train": [{"source": "file", "path": "train.jsonl"}]}
        | {"benchmarks": benchmarks | {"ladder": {"source": "file", "path": "test.jsonl"}}},
        weigh=groups["weigh"] | {"prompting": ["cot"]},
        quantize={"models": {}},
        evaluate=groups["evaluate"] | {"models": models},
        analyze={"compare": [["adaptive", "uniform"]]},
    )
    for name in ("topics", "width"):
        Path(f"reports/figures/{name}.svg").unlink()
    table = Path("reports/tables/models.csv")
    pd.read_csv(table).query("bits == 16").to_csv(table, index=False)
    paper.main()
    page = Path("reports/index.html").read_text(encoding="utf-8")
    assert 'id="figure-sources"' in page
    assert 'id="figure-width"' not in page


LADDER = {"source": "ladder", "per_rung": 2}
ORCA = {
    "source": "rows",
    "name": "orca",
    "format": "orca-math",
    "path": "hub:microsoft/orca-math-word-problems-200k@0123456789abcdef/*.parquet",
    "license": "MIT",
    "fraction": 0.5,
    "exclude": [],
    "target": "conversations",
}
TALK = [LADDER, ORCA, ORCA | {"name": "tome"}]

ARMS: dict[str, dict[str, Any]] = {
    "uniform": {"strategy": "uniform"},
    "adaptive": {"strategy": "repeat", "base": 1, "factor": 0.5},
    "weight": {"strategy": "weight", "base": 1, "factor": 0.5},
    "band": {"strategy": "band", "low": 0.25, "high": 0.75},
    "curriculum": {"strategy": "curriculum", "pace": 0.5},
    "focal": {"strategy": "focal", "gamma": 2.0, "level": "token"},
    "dart-uniform": {"strategy": "dart_uniform", "per_problem": 4},
    "dart-prop2diff": {"strategy": "dart_prop2diff", "per_problem": 4},
    "control": {"strategy": "control", "control_of": "band"},
    "focal-control": {"strategy": "control", "control_of": "focal"},
    "dart-control": {"strategy": "control", "control_of": "dart-uniform"},
    "talk": {"strategy": "conversations", "sources": ["orca"]},
}
OTHER_ARMS = [
    ("adaptive", {"factor": 1}),
    ("weight", {"base": 2}),
    ("band", {"low": 0.5}),
    ("curriculum", {"pace": 0.25}),
    ("focal", {"level": "example"}),
    ("dart-prop2diff", {"per_problem": 5}),
    ("talk", {"sources": ["orca", "tome"]}),
    ("focal-control", {"control_of": "adaptive"}),
]


def test_the_method_says_what_each_arm_does(
    repository: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Beside the method, a table has the parameters.
    monkeypatch.setattr(report_facts, "flatten", lambda _: [])
    monkeypatch.setattr(paper, "page", lambda *_: "")
    groups = small_params()
    rule = {"width": 0.05, "interval": 0.9, "most": 16}
    sequential = {"sample": groups["sample"] | {"sequential": rule}}
    changes: list[dict[str, Any]] = [{}, sequential] + [
        {"weigh": groups["weigh"] | {"arms": ARMS | {arm: ARMS[arm] | change}}}
        for arm, change in OTHER_ARMS
    ]
    papers = set()
    for change in changes:
        arms = {"weigh": groups["weigh"] | {"arms": ARMS}}
        change_params(**({"prepare": groups["prepare"] | {"train": TALK}} | arms | change))
        write_arm_reports(load_params())
        paper.main()
        papers.add(Path("reports/paper.pdf").read_bytes())
    assert len(papers) == len(changes)


QLORA = {
    "method": "qlora",
    "r": 8,
    "alpha": 16.0,
    "dropout": 0.0,
    "targets": ["q_proj", "o_proj"],
    "optimizer": "paged_adamw_8bit",
}


def recipe(changes: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return {group: values | changes.get(group, {}) for group, values in small_params().items()}


def conversations_recipe() -> dict[str, Any]:
    """Conversations alone, no samples, adapters, word problems held out, nothing quantized."""
    return recipe(
        {
            "model": {"base": "hub:google/gemma-2b@0123456789abcdef0123456789abcdef01234567"},
            "prepare": {"train": [ORCA], "demonstrations": 0},
            "sample": {"k": 0},
            "weigh": {"arms": {"tuned": {"strategy": "conversations", "sources": ["orca"]}}},
            "train": {"tuning": QLORA},
            "quantize": {"models": {}},
            "evaluate": {"models": {"base": [0], "tuned": [0]}, "held_out": "gsm8k"},
            "analyze": {"compare": [["tuned", "base"]]},
        }
    )


def mixed_recipe() -> dict[str, Any]:
    """Problems and conversations, two arms that ask for no difficulty, one of them quantized."""
    problems = ORCA | {"name": "mathinstruct", "format": "mathinstruct", "target": "problems"}
    arms = {
        "talk": {"strategy": "conversations", "sources": ["orca"]},
        "focal": {"strategy": "focal", "gamma": 2.0, "level": "token"},
    }
    return recipe(
        {
            "prepare": {"train": [LADDER, problems, ORCA]},
            "sample": {"k": 0},
            "weigh": {"arms": arms},
            "train": {"tuning_by_arm": {"talk": QLORA}},
            "quantize": {"models": {"talk-gptq4": GPTQ4 | {"parent": "talk"}}},
            "evaluate": {"models": {name: [0] for name in ("base", "talk", "focal", "talk-gptq4")}},
            "analyze": {"compare": [["talk", "focal"], ["talk", "base"], ["talk-gptq4", "talk"]]},
        }
    )


def renamed_recipe() -> dict[str, Any]:
    """An arm by difficulty with a name of its own, and no in-context examples."""
    return recipe(
        {
            "weigh": {"arms": {"hard": {"strategy": "repeat", "base": 0, "factor": 1}}},
            "quantize": {"models": {}},
            "evaluate": {"models": {"base": [0], "hard": [0]}},
            "analyze": {"compare": [["hard", "base"]]},
        }
    )


def untuned_recipe() -> dict[str, Any]:
    """Only the base model is evaluated."""
    return recipe(
        {
            "sample": {"k": 0},
            "weigh": {"arms": {"plain": {"strategy": "uniform"}}},
            "quantize": {"models": {}},
            "evaluate": {"models": {"base": [0, 4]}},
            "analyze": {"compare": [["base-4shot", "base"]]},
        }
    )


def runs_recipe() -> dict[str, Any]:
    """Three runs of three arms, one of them a control."""
    arms = {
        "uniform": {"strategy": "uniform"},
        "adaptive": {"strategy": "repeat", "base": 1, "factor": 0.5},
        "control": {"strategy": "control", "control_of": "adaptive"},
    }
    runs = {name: [name, f"{name}-2", f"{name}-3"] for name in arms}
    of = {one: arms[name] for name, all_runs in runs.items() for one in all_runs}
    return recipe(
        {
            "weigh": {"arms": of},
            "quantize": {"models": {}},
            "evaluate": {"models": {"base": [0]} | {name: [0] for name in of}},
            "analyze": {
                "compare": [["adaptive", "uniform"], ["adaptive", "control"], ["adaptive", "base"]],
                "runs": runs,
            },
        }
    )


def test_the_paper_says_which_systems_have_runs_and_which_share_a_deal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    build(runs_recipe())
    table = pd.read_csv("reports/tables/runs.csv")
    assert max(table["spread"]) > 0
    said = findings.several_runs(load_params())
    assert said is not None
    assert said["systems"]["control"] == ["control", "control-2", "control-3"]
    assert list(said["systems"]) == ["adaptive", "uniform", "control"]
    assert said["deals"] == ["control"]
    assert [one["summary"] for one in said["claims"]] == [
        "adaptive is within noise of uniform with every decoding",
        "adaptive is within noise of control with every decoding",
    ]


@pytest.mark.parametrize(
    ("seeds", "runs", "share"),
    [
        ({}, ["control", "control-2"], True),
        ({"control-2": 2}, ["control", "control-2"], False),
        ({"control-2": 2}, ["control", "control-2", "control-3"], True),
        ({}, ["adaptive", "adaptive-2"], False),
    ],
)
def test_controls_share_a_deal_unless_each_has_its_seed(
    seeds: dict[str, int], runs: list[str], share: bool
) -> None:
    weigh = runs_recipe()["weigh"] | {"seeds": seeds}
    assert descriptions.share_permutation(Weigh.model_validate(weigh), runs) == share


def test_what_another_recipe_left_is_not_shown(repository: Params) -> None:
    paper.main()
    before = Path("reports/paper.pdf").read_bytes()
    Path("reports/tables/runs.csv").write_text("left,by,another,recipe\n")
    Path("reports/timings/train-gone.json").write_text('{"seconds": 1.0, "peak_mib": 2}')
    paper.main()
    assert Path("reports/paper.pdf").read_bytes() == before


RECIPES: list[tuple[Any, int, int, set[str], set[str], set[str]]] = [
    (
        conversations_recipe,
        0,
        5,
        {"training", "accuracy", "sources", "programs"},
        {"What training changes", "How answers changed", "Steps"},
        {"Difficulty", "Equal compute", "Does training harder on harder problems help?"},
    ),
    (
        mixed_recipe,
        2,
        5,
        {"training", "accuracy", "sources", "programs", "topics", "width"},
        {"What training changes", "Equal compute", "What survives quantization"},
        {"Difficulty", "From difficulty to training"},
    ),
    (
        renamed_recipe,
        2,
        0,
        {"difficulty", "training", "accuracy", "sources", "programs"},
        {"Difficulty", "From difficulty to training", "Steps"},
        {"What survives quantization", "What training changes"},
    ),
    (
        untuned_recipe,
        2,
        0,
        {"training", "accuracy"},
        {"What training changes", "How answers changed"},
        {"Difficulty", "What survives quantization", "Several runs"},
    ),
    (
        runs_recipe,
        2,
        0,
        {"difficulty", "training", "accuracy", "sources", "programs"},
        {"Several runs", "What else the comparisons show"},
        {"What survives quantization"},
    ),
]


@pytest.mark.parametrize(
    ("made", "taught", "conversations", "drawn", "said", "unsaid"),
    RECIPES,
    ids=[case[0].__name__ for case in RECIPES],
)
def test_any_recipe_has_a_paper_and_a_page(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    made: Any,
    taught: int,
    conversations: int,
    drawn: set[str],
    said: set[str],
    unsaid: set[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    build(made(), taught=taught, conversations=conversations)
    facts: dict[str, Any] = {}
    typeset = paper.typeset
    monkeypatch.setattr(paper, "typeset", lambda given: (facts.update(given), typeset(given)))
    for name in set(FIGURES) - drawn:
        Path(f"reports/figures/{name}.svg").unlink()
    paper.main()
    assert Path("reports/paper.pdf").read_bytes().startswith(b"%PDF")
    headings = headings_of(facts)
    assert said <= headings
    assert not unsaid & headings
    page = Path("reports/index.html").read_text(encoding="utf-8")
    shown = {name for name in FIGURES if f'id="figure-{name}"' in page}
    assert shown == drawn


def test_problems_that_only_grpo_asks_are_no_lesson_of_the_arms(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = {"parent": "tuned", "seed": 1, "tuning": {"method": "full"}, "zero_variance_weight": 1.0}
    groups = conversations_recipe()
    groups["prepare"] |= {"train": TALK}
    groups["grpo"] |= {"models": {"grpo": made}}
    groups["evaluate"] |= {"models": {"base": [0], "tuned": [0], "grpo": [0]}}
    monkeypatch.chdir(tmp_path)
    build(groups, taught=2, conversations=5)
    shutil.copy("reports/figures/training.svg", "reports/figures/grpo.svg")
    facts: dict[str, Any] = {}
    typeset = paper.typeset
    monkeypatch.setattr(paper, "typeset", lambda given: (facts.update(given), typeset(given)))
    paper.main()
    (abstract,) = texts_of("<abstract>", facts)
    assert "learns from 5 conversations in" in abstract
    assert "then by GRPO from its own answers to problems, and is then compared" in abstract


def headings_of(facts: dict[str, Any]) -> set[str]:
    return set(texts_of("heading", facts))


def texts_of(element: str, facts: dict[str, Any]) -> list[str]:
    """Return the text of each element of a kind, its spaces made single."""
    found = json.loads(
        typst.query(
            "reports/paper.typ",
            element,
            field="body",
            root=".",
            ignore_system_fonts=True,
            sys_inputs={"facts": json.dumps(facts)},
        )
    )
    return [" ".join(text_of(one).split()) for one in found]


def text_of(content: Any) -> str:
    if not isinstance(content, dict):
        return ""
    inner = [content.get("body"), content.get("child"), *content.get("children", [])]
    space = " " if content.get("func") == "space" else ""
    return space + content.get("text", "") + "".join(text_of(one) for one in inner)


def test_without_overlaps_the_paper_says_so(repository: Params) -> None:
    paper.main()
    before = Path("reports/paper.pdf").read_bytes()
    write_data_reports(overlaps=0)
    paper.main()
    assert Path("reports/paper.pdf").read_bytes() != before


def test_a_reinforced_model_and_what_was_made_of_it_are_in_the_paper(repository: Params) -> None:
    groups = small_params()
    made = {
        "parent": "uniform",
        "seed": 1,
        "tuning": {"method": "full"},
        "zero_variance_weight": 0.2,
    }
    change_params(
        weigh=groups["weigh"] | {"arms": {"uniform": {"strategy": "uniform"}}},
        grpo=groups["grpo"] | {"models": {"adaptive": made}},
    )
    with pytest.raises(ValueError, match=r"figures/grpo\.svg: missing"):
        paper.main()
    shutil.copy("reports/figures/training.svg", "reports/figures/grpo.svg")
    paper.main()
    page = Path("reports/index.html").read_text(encoding="utf-8")
    assert 'id="figure-grpo"' in page
    rows = pd.read_csv("reports/tables/comparisons.csv").to_dict("records")
    said = findings.claims_by_subject(rows, load_params())
    counts = {subject: len(claims) for subject, claims in said.items()}
    assert counts == {
        "question": 0,
        "grpo": 2,
        "quantization": 1,
        "others": 0,
        "elsewhere": 1,
    }


def test_claims_are_grouped_by_what_they_compare(repository: Params) -> None:
    rows = pd.read_csv("reports/tables/comparisons.csv").to_dict("records")
    said = findings.claims_by_subject(rows, repository)
    assert [one["summary"] for one in said["question"]] == [
        "adaptive is within noise of uniform with every decoding"
    ]
    assert [one["summary"] for one in said["quantization"]] == [
        "adaptive-gptq4 solves exactly the same problems as adaptive with every decoding"
    ]
    assert [len(one["details"]) for one in said["others"]] == [3]
    assert said["elsewhere"] == [
        "On gsm8k, no comparison of systems found a difference beyond noise."
    ]


def test_a_model_that_no_stage_recorded_is_refused(repository: Params) -> None:
    with pytest.raises(ValueError, match=r"dvc\.lock: data/models/other: not recorded"):
        identify_models(["base", "other"])


def test_models_have_the_hashes_of_both_records(repository: Params) -> None:
    assert identify_models(["uniform"]) == [
        {"name": "uniform", "md5": "md5 of uniform", "fingerprint": "print of uniform"}
    ]


def test_a_source_is_shown_by_its_first_problem(repository: Params) -> None:
    assert describe_sources() == [
        {
            "source": "ladder",
            "topic": "addition",
            "n": 2,
            "example": "What is ladder 7?",
            "answer": "1",
            "pass_rate": 0.125,
        }
    ]


@pytest.mark.parametrize(
    ("value", "rows"),
    [
        ({"a": {"b": 1, "c": [1, "x"]}}, [("a.b", "1"), ("a.c", '[1, "x"]')]),
        ({"a": {}, "b": None, "c": "‖"}, [("a", "{}"), ("b", "null"), ("c", '"‖"')]),
    ],
)
def test_parameters_are_flattened(value: Any, rows: list[tuple[str, str]]) -> None:
    assert flatten(value) == rows


def test_versions_are_those_that_run() -> None:
    found = dict(versions(paper.PACKAGES))
    assert found["numpy"] == np.__version__
    assert set(found) > {"python", "torch", "math-verify"}


def test_the_machine_is_described() -> None:
    found = hardware()
    assert found["cores"] >= 1
    assert found["memory_gib"] > 0.1
    assert found["cpu"]
