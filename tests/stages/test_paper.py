"""The stage, from small tables to the paper and the page."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import typst

from stages import paper
from stages.lib.core.files import write_json
from stages.lib.core.paths import FIGURES, TABLES
from stages.lib.core.tables import write_csv
from stages.lib.params.load import load_params
from stages.lib.params.root import Params
from stages.lib.params.strategies import Weigh
from stages.lib.provenance.versions import versions
from stages.lib.report import descriptions, findings
from stages.lib.report.facts import describe_sources, hardware, identify_models
from stages.lib.report.tables import read_rows
from tests.arms import FRONTIER, GRPO, LORA, MASTERY, PLANNED, ROWS
from tests.lib.report.test_study import DESIGN
from tests.mini import gptq4
from tests.stages import reports
from tests.stages.reports import ATTACK, recipe, write_figure, write_params


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the outputs of a run, its paper and its page."""
    root = tmp_path_factory.mktemp("built")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        reports.build(recipe())
        paper.main()
    return root


@pytest.fixture
def report_folder(built: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Enter the folder of ``built``, to read only."""
    monkeypatch.chdir(built)
    return built


@pytest.fixture
def repository(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Params:
    """Enter a copy of ``built``, to change."""
    shutil.copytree(built, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return load_params()


@pytest.fixture
def inputs(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """Have ``paper.main`` keep the inputs of the paper, which it then does not compile."""
    kept: dict[str, Any] = {}
    monkeypatch.setattr(paper, "typeset", kept.update)
    yield kept


def texts_of(element: str, inputs: dict[str, Any], field: str | None = None) -> list[str]:
    """Compile the paper; return the text of each element of a kind, or of one field of it.

    Runs of spaces become one.
    """
    elements = typst.query(
        "reports/paper.typ",
        element,
        field=field,
        root=".",
        ignore_system_fonts=True,
        sys_inputs={"facts": json.dumps(inputs)},
    )
    return [" ".join(text_of(content).split()) for content in json.loads(elements)]


def text_of(content: Any) -> str:
    if isinstance(content, list):
        return "".join(map(text_of, content))
    if not isinstance(content, dict):
        return ""
    fields = [value for name, value in content.items() if name != "text"]
    space = " " if content.get("func") in ("space", "item", "cell") else ""
    return space + content.get("text", "") + text_of(fields)


def pdf() -> bytes:
    return Path("reports/paper.pdf").read_bytes()


def page() -> str:
    return Path("reports/index.html").read_text(encoding="utf-8")


def figures_on_page() -> set[str]:
    return {
        name for name in [*reports.FIGURES, "grpo", "sampled"] if f'id="figure-{name}"' in page()
    }


def test_the_paper_and_the_page_are_made(report_folder: Path) -> None:
    assert pdf().startswith(b"%PDF")
    assert "Does it help? A small test" in page()
    assert "adaptive and uniform are not shown to differ" in page()
    assert ATTACK not in page()
    assert figures_on_page() == set(reports.FIGURES)
    files = {path.name for path in Path("reports").iterdir() if path.is_file()}
    made = {"compute.csv", "index.html", "metrics.json", "paper.pdf"}
    assert files == made | {"layout.typ", "paper.typ", "references.bib"}
    costs = pd.read_csv("reports/compute.csv").set_index("arm")
    assert costs["generated_tokens"].to_dict() == {"uniform": 0, "adaptive": 4000}
    assert "Compute of each arm" in page()


def test_an_export_of_the_evaluated_weights_is_in_the_table(report_folder: Path) -> None:
    table = pd.read_csv(TABLES / "quantization.csv")
    assert table["model"].tolist() == ["adaptive", "adaptive-gptq4", "adaptive-onnx-int8"]
    assert table.loc[2, "ladder_cot"] == pytest.approx(1 / 3, abs=1e-4)
    assert table["ladder_n"].tolist() == [4, 4, 3]


def test_the_same_inputs_give_the_same_bytes_and_leftovers_are_not_shown(
    repository: Params,
) -> None:
    before = pdf(), page()
    # As another recipe in the same folder would leave them.
    Path("reports/tables/runs.csv").write_text("left,by,another,recipe\n")
    reports.write_json_files({"timings/train-gone": {"seconds": 1.0, "peak_mib": 2}})
    paper.main()
    assert (pdf(), page()) == before


MARKERS: list[tuple[str, str, Any, str]] = [
    ("accuracy", "accuracy", 0.4321, "43.2"),
    ("comparisons", "p_holm", 0.6543, "0.654"),
    ("retention", "original_accuracy", 0.5432, "54.3"),
    ("models", "perplexity", 9.876, "9.88"),
    ("statuses", "timeout", 4321, "4321"),
]


def test_the_paper_reads_its_numbers_from_the_tables(
    repository: Params, inputs: dict[str, Any]
) -> None:
    paper.main()
    for table, column, value, _ in MARKERS:
        path = TABLES / f"{table}.csv"
        pd.read_csv(path).assign(**{column: value}).to_csv(path, index=False)
    text = " ".join(texts_of("figure", inputs) + texts_of("raw", inputs))
    assert [table for table, _, _, marker in MARKERS if marker not in text] == []


def test_a_missing_figure_is_named(repository: Params) -> None:
    Path("reports/paper.pdf").unlink()
    for name in reports.FIGURES:
        path = FIGURES / f"{name}.svg"
        path.unlink()
        with pytest.raises(ValueError, match=rf"{path}: missing: .*stages/figures\.py"):
            paper.main()
        write_figure(name)
    assert not Path("reports/paper.pdf").exists()


@pytest.mark.parametrize("table", ["comparisons", "accuracy", "statuses", "styles", "models"])
def test_a_table_without_a_column_is_named(repository: Params, table: str) -> None:
    path = TABLES / f"{table}.csv"
    path.write_text(path.read_text().replace("benchmark,", "old,", 1).replace("model,", "old,", 1))
    with pytest.raises(ValueError, match=rf"{path}: column '(benchmark|model)': missing"):
        read_rows(table)


def test_a_recipe_without_ladder_or_quantization_has_a_paper_too(repository: Params) -> None:
    models = {name: n for name, n in repository.evaluate.models.items() if "gptq" not in name}
    benchmarks = reports.SMALL["prepare"]["benchmarks"]
    write_params(
        recipe(
            prepare={
                "train": [{"source": "file", "path": "train.jsonl"}],
                "benchmarks": benchmarks | {"ladder": {"source": "file", "path": "test.jsonl"}},
            },
            weigh=reports.SMALL["weigh"] | {"prompting": ["cot"]},
            quantize={"gptq": {}},
            evaluate={"models": models},
            analyze={"compare": [["adaptive", "uniform"]]},
        )
    )
    table = TABLES / "models.csv"
    pd.read_csv(table).query("bits == 16").to_csv(table, index=False)
    paper.main()
    assert figures_on_page() == set(reports.FIGURES) - {"topics", "width", "retention"}


LADDER = {"source": "ladder", "per_rung": 2}
ORCA = ROWS | {
    "name": "orca",
    "format": "orca-math",
    "path": "hub:microsoft/orca-math-word-problems-200k@0123456789abcdef/*.parquet",
    "fraction": 0.5,
}
TALK = [LADDER, ORCA, ORCA | {"name": "tome"}]

UNIFORM = {"strategy": "uniform"}
ADAPTIVE = {"strategy": "repeat", "base": 1, "factor": 0.5}
FOCAL = {"strategy": "focal", "gamma": 2.0, "level": "token"}
CONVERSATIONS = {"strategy": "conversations", "sources": ["orca"]}
QLORA = LORA | {"method": "qlora", "optimizer": "paged_adamw_8bit"}

DART = {"strategy": "dart_prop2diff", "per_problem": 4}

# Each strategy, and again with one value changed.
ARMS: dict[str, dict[str, Any]] = {
    "uniform": UNIFORM,
    "adaptive": ADAPTIVE,
    "adaptive-1": ADAPTIVE | {"factor": 1},
    "weight": {"strategy": "weight", "base": 1, "factor": 0.5},
    "weight-2": {"strategy": "weight", "base": 2, "factor": 0.5},
    "band": {"strategy": "band", "low": 0.25, "high": 0.75},
    "band-2": {"strategy": "band", "low": 0.5, "high": 0.75},
    "curriculum": {"strategy": "curriculum", "pace": 0.5},
    "curriculum-2": {"strategy": "curriculum", "pace": 0.25},
    "focal": FOCAL,
    "focal-2": FOCAL | {"level": "example"},
    "anti-focal": {"strategy": "anti_focal", "scale": 0.3},
    "asft": {"strategy": "asft", "anchor": 0.1},
    "prift": {"strategy": "prift"},
    "dart-uniform": {"strategy": "dart_uniform", "per_problem": 4},
    "dart": DART,
    "dart-2": DART | {"per_problem": 5},
    "control": {"strategy": "control", "control_of": "band"},
    "adaptive-control": {"strategy": "control", "control_of": "adaptive"},
    "focal-control": {"strategy": "control", "control_of": "focal"},
    "dart-control": {"strategy": "control", "control_of": "dart-uniform"},
    "frontier": FRONTIER,
    "mastery": MASTERY | {"floor": 0.3},
    "planned": PLANNED,
    "talk": CONVERSATIONS,
    "talk-2": CONVERSATIONS | {"sources": ["orca", "tome"]},
}


def test_the_method_says_what_each_arm_does(repository: Params, inputs: dict[str, Any]) -> None:
    groups = recipe(prepare={"train": TALK}, weigh={"arms": ARMS})
    reports.write_arm_reports(write_params(groups))
    write_figure("allocation")
    write_figure("learning")
    paper.main()
    method = next(text for text in texts_of("list", inputs) if " uniform: Every" in text)
    starts = [method.index(f" {name}: ") for name in ARMS]
    assert starts == sorted(starts)
    sentences = [
        method[start + 1 : end].partition(" ")[2]
        for start, end in zip(starts, [*starts[1:], None], strict=True)
    ]
    assert all(len(sentence) > 20 for sentence in sentences)
    assert len(set(sentences)) == len(ARMS)


def test_the_caption_says_which_samples_the_pass_rates_are_of(
    repository: Params, inputs: dict[str, Any]
) -> None:
    rule = {"width": 0.05, "interval": 0.9, "max_k": 16}
    write_params(recipe(sample={"sequential": rule}))
    paper.main()
    caption = "pass rate by prompting, from the first 4 samples per problem"
    assert any(caption in text for text in texts_of("figure", inputs))


def conversations_recipe() -> dict[str, Any]:
    """Conversations alone, no samples, adapters, word problems held out, nothing quantized."""
    return recipe(
        model={"base": "hub:google/gemma-2b@0123456789abcdef0123456789abcdef01234567"},
        prepare={"train": [ORCA], "demonstrations": 0},
        sample={"k": 0},
        weigh={"arms": {"tuned": CONVERSATIONS}},
        train={"tuning": QLORA},
        quantize={"gptq": {}},
        evaluate={"models": {"base": [0], "tuned": [0]}, "held_out": "gsm8k"},
        analyze={"compare": [["tuned", "base"]]},
    )


def mixed_recipe() -> dict[str, Any]:
    """Problems and conversations, two arms that need no difficulty, one of them quantized."""
    problems = ORCA | {"name": "mathinstruct", "format": "mathinstruct", "target": "problems"}
    return recipe(
        prepare={"train": [LADDER, problems, ORCA]},
        sample={"k": 0},
        weigh={"arms": {"talk": CONVERSATIONS | {"train": {"tuning": QLORA}}, "focal": FOCAL}},
        quantize={"gptq": {"talk-gptq4": gptq4("talk")}},
        evaluate={"models": {name: [0] for name in ("base", "talk", "focal", "talk-gptq4")}},
        analyze={"compare": [["talk", "focal"], ["talk", "base"], ["talk-gptq4", "talk"]]},
    )


def renamed_recipe() -> dict[str, Any]:
    """An arm by difficulty with a name of its own, no in-context examples, CoT alone."""
    return recipe(
        weigh={"arms": {"hard": ADAPTIVE}},
        quantize={"gptq": {"hard-gptq4": gptq4("hard")}},
        evaluate={"models": {"base": [0], "hard": [0], "hard-gptq4": [0]}, "prompting": ["cot"]},
        analyze={"compare": [["hard", "base"]]},
    )


def untuned_recipe() -> dict[str, Any]:
    """Only the base model is evaluated."""
    return recipe(
        sample={"k": 0},
        weigh={"arms": {"plain": UNIFORM}},
        quantize={"gptq": {}},
        evaluate={"models": {"base": [0, 4]}},
        analyze={"compare": [["base-4shot", "base"]]},
    )


def runs_recipe() -> dict[str, Any]:
    """Three runs of three arms, one of them a control."""
    control = {"strategy": "control", "control_of": "adaptive"}
    arms = {"uniform": UNIFORM, "adaptive": ADAPTIVE, "control": control}
    runs = {name: [name, f"{name}-2", f"{name}-3"] for name in arms}
    arm_of_run = {run: arms[name] for name, names in runs.items() for run in names}
    pairs = [["adaptive", "uniform"], ["adaptive", "control"], ["adaptive", "base"]]
    return recipe(
        weigh={"arms": arm_of_run},
        quantize={"gptq": {}},
        evaluate={"models": {"base": [0]} | {name: [0] for name in arm_of_run}},
        analyze={"compare": pairs, "runs": runs},
    )


def sampled_recipe() -> dict[str, Any]:
    """Four answers of each system are sampled, none is quantized."""
    sampling = {"samples": 4, "temperature": 0.7, "top_p": 0.9, "seed": 1}
    return recipe(
        quantize={"gptq": {}},
        evaluate={"models": {"uniform": [0], "adaptive": [0]}, "sampling": sampling},
        analyze={"compare": [["adaptive", "uniform"]]},
    )


def published_recipe() -> dict[str, Any]:
    """An arm by difficulty that the data set states, no samples, nothing quantized."""
    return recipe(
        sample={"k": 0},
        score={"definition": "published"},
        weigh={"arms": {"uniform": UNIFORM, "adaptive": ADAPTIVE}},
        quantize={"gptq": {}},
        evaluate={"models": {"base": [0], "uniform": [0], "adaptive": [0]}},
        analyze={"compare": [["adaptive", "uniform"]]},
    )


TUNED_FIGURES = {"training", "accuracy", "sources", "programs"}
RECIPES: list[tuple[Any, set[str], set[str], set[str]]] = [
    (
        conversations_recipe,
        TUNED_FIGURES,
        {"Arms", "Equal compute", "How answers changed"},
        {"Difficulty", "The registered study", "What survives quantization"},
    ),
    (
        mixed_recipe,
        TUNED_FIGURES | {"topics", "width", "retention"},
        {"How answers changed", "Equal compute", "What survives quantization"},
        {"Difficulty"},
    ),
    (
        renamed_recipe,
        {"training", "accuracy", "sources", "difficulty", "topics", "width", "retention"},
        {"Difficulty", "What survives quantization"},
        {"How answers changed", "Several runs"},
    ),
    (
        untuned_recipe,
        {"training", "accuracy"},
        {"How answers changed"},
        {"Difficulty", "What survives quantization", "Several runs"},
    ),
    (
        runs_recipe,
        TUNED_FIGURES | {"difficulty"},
        {"Several runs", "Difficulty"},
        {"What survives quantization"},
    ),
    (
        sampled_recipe,
        TUNED_FIGURES | {"difficulty", "sampled"},
        {"Sampled answers"},
        {"What survives quantization"},
    ),
    (
        published_recipe,
        TUNED_FIGURES | {"difficulty"},
        {"Difficulty"},
        {"How answers changed", "What survives quantization"},
    ),
]


@pytest.mark.parametrize(
    ("make_recipe", "figures", "present", "absent"),
    RECIPES,
    ids=[case[0].__name__ for case in RECIPES],
)
def test_any_recipe_has_a_paper_and_a_page(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    inputs: dict[str, Any],
    make_recipe: Any,
    figures: set[str],
    present: set[str],
    absent: set[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    groups = make_recipe()
    sources = groups["prepare"]["train"]
    n_problems, n_conversations = 2 * (sources != [ORCA]), 5 * (ORCA in sources)
    reports.build(groups, n_problems=n_problems, n_conversations=n_conversations)
    if "sampled" in figures:
        write_figure("sampled")
    for name in set(reports.FIGURES) - figures:
        (FIGURES / f"{name}.svg").unlink()
    paper.main()
    headings = set(texts_of("heading", inputs, field="body"))
    assert present <= headings
    assert not absent & headings
    assert figures_on_page() == figures
    if make_recipe is runs_recipe:
        check_runs(inputs["runs"])
    if make_recipe is published_recipe:
        assert any("Nothing was sampled." in text for text in texts_of("par", inputs))
    if make_recipe is sampled_recipe:
        check_sampled(inputs)


def check_sampled(inputs: dict[str, Any]) -> None:
    """Check what the paper says about sampled answers."""
    (text,) = [text for text in texts_of("par", inputs) if "Besides its greedy" in text]
    assert "4 samples for each problem at temperature 0.7 with nucleus sampling (top-p 0.9)" in text
    assert "no comparison of systems by the mean over their samples found a difference" in text
    (table,) = [text for text in texts_of("figure", inputs) if "Sampled answers to ladder" in text]
    # Two of four samples solve a problem of ``adaptive``, and a vote of all is a tie.
    assert "avg@4" in table and "adaptive CoT 50.0" in table
    assert "Sampled answers, 4 to each problem" in page()


def check_runs(runs: dict[str, Any]) -> None:
    """Check which systems have runs, and which share a permutation."""
    assert max(pd.read_csv(TABLES / "runs.csv")["std"]) > 0
    assert runs["systems"]["control"] == ["control", "control-2", "control-3"]
    assert list(runs["systems"]) == ["adaptive", "uniform", "control"]
    assert runs["shared_permutations"] == ["control"]
    assert [claim["summary"] for claim in runs["claims"]] == [
        "adaptive is not shown to differ from uniform with every answer mode",
        "adaptive is not shown to differ from control with every answer mode",
    ]


@pytest.mark.parametrize(
    ("seeds", "runs", "shared"),
    [
        ({}, ["control", "control-2"], True),
        ({"control-2": 2}, ["control", "control-2"], False),
        ({"control-2": 2}, ["control", "control-2", "control-3"], True),
        ({}, ["adaptive", "adaptive-2"], False),
    ],
)
def test_controls_share_a_permutation_unless_each_has_its_seed(
    seeds: dict[str, int], runs: list[str], shared: bool
) -> None:
    weigh = runs_recipe()["weigh"]
    arms = {
        name: arm | ({"seed": seeds[name]} if name in seeds else {})
        for name, arm in weigh["arms"].items()
    }
    validated = Weigh.model_validate(weigh | {"arms": arms})
    assert descriptions.share_permutation(validated, runs) == shared


def test_problems_for_grpo_alone_are_not_training_data_of_the_arms(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inputs: dict[str, Any]
) -> None:
    groups = conversations_recipe()
    groups["prepare"] |= {"train": TALK}
    groups["grpo"] |= {"models": {"grpo": GRPO | {"parent": "tuned"}}}
    groups["evaluate"] |= {"models": {"base": [0], "tuned": [0], "grpo": [0]}}
    monkeypatch.chdir(tmp_path)
    reports.build(groups, n_problems=2, n_conversations=5)
    write_figure("grpo")
    paper.main()
    (abstract,) = texts_of("<abstract>", inputs)
    assert "fine-tuning on 2 problems and 5 conversations" in abstract


STUDY_ROW = {"blocks": "10", "low": "0.02", "high": "0.06", "difference": "0.04", "bound": "0.0"}


def test_a_finished_study_of_the_arms_is_in_the_paper(
    repository: Params, inputs: dict[str, Any]
) -> None:
    folder = Path("reports/study")
    endpoints = [
        STUDY_ROW | {"first": "adaptive", "second": second, "stratum": stratum, "verdict": "met"}
        for second, stratum in (("uniform", "hard"), ("uniform", "easy"), ("uniform", "hard"))
    ]
    arms = [
        {"system": "adaptive", "stratum": "hard", "mean": "0.4321", "run_sd": run_sd}
        | {"low": "0.40", "high": "0.46", "runs": "0.42 0.44"}
        for run_sd in ("0.0123", "")
    ]
    write_csv(folder / "endpoints.csv", endpoints)
    write_csv(folder / "arms.csv", arms)
    write_json(folder / "design.json", DESIGN)
    write_csv(folder / "dose.csv", [{"steps": steps, "runs": 3} for steps in (12, 24, 48)])
    retention = [
        {"original": "uniform", "method": "gptq", "bits": bits, "calibration": calibration}
        | {"answer_mode": "cot", "draws": 3, "n": 660, "retention": 0.957, "low": 0.9}
        | {"high": 1.0}
        for bits, calibration in ((8, "training"), (4, "training"), (4, "text"), (3, "training"))
    ]
    write_csv(Path("reports/quantization/retention.csv"), retention)
    Path("reports/quantization/retention.svg").write_text(reports.SVG)
    (folder / "forest.svg").write_text(reports.SVG)
    (folder / "dose.svg").write_text(reports.SVG)
    paper.main()
    assert "The registered study" in texts_of("heading", inputs, field="body")
    (abstract,) = texts_of("<abstract>", inputs)
    assert "adaptive minus uniform is 4.0 points (2.0 to 6.0) on hard cells" in abstract
    assert "At 4 bits, GPTQ keeps 95.7% (90.0 to 100.0) with CoT of a model" in abstract
    (table,) = texts_of("<tab-study>", inputs)
    assert all(text in table for text in ("43.2 (40.0–46.0)", "1.2", "42.0 to 44.0"))
    (dose,) = texts_of("<fig-dose>", inputs)
    assert "The two arms at 3 doses, 3 runs each" in dose
    (draws,) = texts_of("<fig-draws>", inputs)
    assert "Accuracy kept by uniform" in draws
    assert "The registered study: mean accuracy" in page()
    assert all(f'id="figure-{name}"' in page() for name in ("study", "dose", "study-retention"))
    write_csv(folder / "endpoints.csv", [row | {"first": "other"} for row in endpoints])
    paper.main()
    assert "The registered study" not in texts_of("heading", inputs, field="body")


def test_a_grpo_model_and_its_quantized_model_are_in_the_paper(repository: Params) -> None:
    params = write_params(
        recipe(
            weigh={"arms": {"uniform": UNIFORM}},
            grpo={"models": {"adaptive": GRPO}},
        )
    )
    with pytest.raises(ValueError, match=r"figures/grpo\.svg: missing"):
        paper.main()
    write_figure("grpo")
    paper.main()
    assert "grpo" in figures_on_page()
    by_subject = findings.claims_by_subject(read_rows("comparisons"), params)
    counts = {subject: len(claims) for subject, claims in by_subject.items()}
    assert counts == {"question": 0, "grpo": 2, "quantization": 1, "others": 0, "elsewhere": 1}


OWN_REWARDS = {"answer": {"weight": 1.0}, "brief": {"function": "own:brief", "weight": 0.5}}
BUILT_IN = "1 if it is right and 0.2 for the form of the worked solutions"


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"beta": 0.01}, f"{BUILT_IN}; the divergence from the parent weighs 0.01. This is"),
        ({"rewards": OWN_REWARDS, "beta": 0.0}, "1 if it is right and 0.5 times brief. This is"),
    ],
)
def test_the_rewards_of_grpo_are_named(
    repository: Params, inputs: dict[str, Any], settings: dict[str, Any], expected: str
) -> None:
    write_params(
        recipe(
            weigh={"arms": {"uniform": UNIFORM}},
            grpo={"models": {"adaptive": GRPO}} | settings,
        )
    )
    write_figure("grpo")
    paper.main()
    assert any(f"An answer earns {expected}" in text for text in texts_of("par", inputs))


def test_claims_are_grouped_by_what_they_compare(report_folder: Path) -> None:
    by_subject = findings.claims_by_subject(read_rows("comparisons"), load_params())
    assert [claim["summary"] for claim in by_subject["question"]] == [
        "adaptive is not shown to differ from uniform with every answer mode"
    ]
    assert [claim["summary"] for claim in by_subject["quantization"]] == [
        "adaptive-gptq4 is not shown to differ from adaptive with every answer mode"
    ]
    assert [len(claim["details"]) for claim in by_subject["others"]] == [3]
    assert by_subject["elsewhere"] == ["On gsm8k, no comparison of systems found a difference."]


def test_models_have_the_hashes_of_both_records(report_folder: Path) -> None:
    assert identify_models(["uniform"]) == [
        {"name": "uniform", "md5": "md5 of uniform", "fingerprint": "print of uniform"}
    ]
    with pytest.raises(ValueError, match=r"dvc\.lock: data/models/other: not recorded"):
        identify_models(["base", "other"])


def test_a_source_is_described_by_its_first_problem(report_folder: Path) -> None:
    assert describe_sources() == [
        {
            "source": "ladder",
            "topic": "addition",
            "n": 2,
            "example": "What is ladder-7?",
            "answer": "1",
            "pass_rates": {"cot": 0.125},
        }
    ]


def test_versions_and_the_machine_are_described() -> None:
    version_of = dict(versions(paper.PACKAGES))
    assert version_of["numpy"] == np.__version__
    assert set(version_of) > {"python", "torch", "math-verify"}
    machine = hardware()
    assert machine["cores"] >= 1
    assert machine["memory_gib"] > 0.1
    assert machine["cpu"]
