"""The replicate command on small results in the authors' layout, and on theirs if available."""

import json
import os
import shutil
from contextlib import chdir
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from stages.lib.analysis import accuracy
from stages.lib.core.files import read_json
from tests.mini import set_params
from tests.tools.replicate.test_results import QUESTION, row, write
from tools.replicate import __main__ as replicate
from tools.replicate import regrade
from tools.replicate.results import read_results

BASELINE, TUNED = "llemma-epochs3--checkpoint-6144", "llemma-pre-b1-w1-x--checkpoint-5970"

# Texts and programs for a problem whose answer is 2.
RIGHT, WRONG = "1 + 1 = 2. The answer is 2", "The answer is 3"
PROGRAM, CRASH = "print(1 + 1)", "print(undefined)"


def write_results(folder: Path) -> None:
    """Write eleven problems of two models; the tuned one solves fewer."""
    n = 11
    cot = [row(output=RIGHT)] * 5 + [row(output=WRONG, ans="3", correct=False)] * (n - 5)
    pot = [row(output=PROGRAM)] * 2 + [row(output=CRASH, ans="", err=True, correct=False)] * (n - 2)
    write(folder, BASELINE, gsm8k__cot=cot, gsm8k__pot=pot)
    write(folder, TUNED, gsm8k__cot=cot[::-1], gsm8k__pot=pot)
    # The authors reject an equal number, and ask a second time for an option.
    equal = row(output="The answer is 2.0", ans="2.0", correct=False)
    option = row(question=QUESTION, gt="A", output="I cannot tell.", ans="A")
    retried = option | {"raw_ans": "", "matching_strategy": "self||A"}
    for model in (BASELINE, TUNED):
        write(folder, model, sat__cot=[equal, retried], sat__pot=[row(), option])


def replicate_into(folder: Path, results: Path) -> Path:
    """Run the command with small settings; return the folder of its outputs."""
    shutil.copy(Path("params.yaml"), folder)
    set_params(folder, {"sandbox.workers": 1, "analyze.draws": 200})
    with chdir(folder):
        replicate.main(str(results), "replicated")
    return folder / "replicated"


@pytest.fixture(scope="module", name="out")
def replicated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return what the command wrote about eleven problems of two models."""
    folder = tmp_path_factory.mktemp("replicate")
    write_results(folder / "results")
    return replicate_into(folder, folder / "results")


def cells(table: Path, model: str) -> dict[str, Any]:
    return pd.read_csv(table).set_index("model").loc[model].to_dict()


def test_answer_modes_come_from_the_published_verdicts(out: Path) -> None:
    baseline, tuned = cells(out / "table.csv", BASELINE), cells(out / "table.csv", TUNED)
    assert (tuned["b"], tuned["w"], tuned["steps"]) == (1, 1, 5970)
    assert pd.isna(baseline["b"])
    scores = {mode: baseline[f"gsm8k_{mode}"] for mode in ("cot", "pot", "fallback")}
    # Two programs, and five texts where nine programs failed: problems 0 to 4.
    assert scores == {"cot": 45.45, "pot": 18.18, "fallback": 45.45}
    assert (baseline["gsm8k_both"], baseline["gsm8k_either"]) == (18.18, 45.45)
    # The tuned model's texts are right on problems 6 to 10, its programs on 0 and 1.
    assert tuned["gsm8k_fallback"] == 63.64


def test_regraded_verdicts_come_from_the_texts_alone(out: Path) -> None:
    stored, own = cells(out / "table.csv", TUNED), cells(out / "regraded.csv", TUNED)
    assert {k: v for k, v in own.items() if k.startswith("gsm8k")} == {
        k: v for k, v in stored.items() if k.startswith("gsm8k")
    }
    assert (stored["sat_cot"], own["sat_cot"]) == (50.0, 50.0)


def test_disagreements_have_a_reason(out: Path) -> None:
    rows = [json.loads(line) for line in (out / "disagreements.jsonl").open()]
    assert {(row["problem"], row["prompting"]): row["reason"] for row in rows} == {
        ("sat/0", "cot"): "equivalent_form",
        ("sat/1", "cot"): "option_retry_needs_model",
        ("sat/1", "pot"): "default_option",
    }
    assert rows[0]["published"] == {"answer": "2.0", "failed": False, "status": "wrong"}
    assert rows[0]["regraded"] == {"answer": "2", "status": "correct", "printed": ""}
    rates = read_json(out / "agreement.json")
    assert rates["gsm8k-cot"]["verdicts_agree"] == 1
    assert rates["sat-cot"]["n_where_stored_suffices"] == 2
    assert rates["sat-cot"]["verdicts_agree_where_stored_suffices"] == 0


def test_every_model_is_compared_with_the_baseline(out: Path) -> None:
    table = pd.read_csv(out / "significance.csv")
    assert set(table["verdicts"]) == {"stored", "own"}
    rows = table[(table["benchmark"] == "gsm8k") & (table["verdicts"] == "stored")]
    differences = rows.set_index("answer_mode")["difference"].to_dict()
    assert differences == {"cot": 0, "pot": 0, "fallback": pytest.approx(2 / 11, abs=1e-4)}
    assert set(rows["first"]) == {TUNED}
    assert set(rows["second"]) == {BASELINE}


def test_figures_are_drawn(out: Path) -> None:
    names = {path.name for path in (out / "figures").iterdir()}
    stems = ("score_by_weight", "score_by_answer_mode")
    assert names == {f"{stem}.{suffix}" for stem in stems for suffix in ("png", "svg")}


def test_skipped_files_are_counted_and_set_the_exit_status(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write_results(tmp_path / "results")
    (tmp_path / "results" / BASELINE / "results" / "gsm8k-pot.json").write_text("[{")
    with pytest.raises(SystemExit) as stop:
        replicate_into(tmp_path, tmp_path / "results")
    assert stop.value.code == 3
    assert "skipped: " in capfd.readouterr().err
    summary = read_json(tmp_path / "replicated" / "summary.json")
    assert len(summary["skipped"]) == 1
    assert "gsm8k-pot.json: not complete JSON" in summary["skipped"][0]
    assert pd.isna(cells(tmp_path / "replicated" / "table.csv", BASELINE)["gsm8k_cot"])


# Published cells of the two models whose results are available: PoT‖CoT, percent.
PUBLISHED = {
    "6144": {
        "gsm8k": 62.77,
        "aqua": 57.48,
        "numglue": 72.74,
        "mmlu_mathematics": 57.60,
        "sat": 60.00,
        "deepmind": 55.60,
        "svamp": 72.20,
    },
    "5970": {
        "gsm8k": 60.88,
        "aqua": 48.43,
        "numglue": 71.40,
        "mmlu_mathematics": 52.77,
        "sat": 55.91,
        "deepmind": 58.30,
        "svamp": 70.10,
    },
}


@pytest.mark.skipif("SDAT_RESULTS" not in os.environ, reason="SDAT_RESULTS: a folder of results")
def test_the_published_table_comes_out() -> None:
    cases = read_results(Path(os.environ["SDAT_RESULTS"]), pytest.fail)
    models = list({case.model: None for case in cases})
    frame = regrade.grade_frame(cases, regrade.published_records(cases))
    table = regrade.score_table(
        accuracy.accuracy_table(frame, ["benchmark", "system"], level=0.95), models
    ).set_index("steps")
    for steps, scores in PUBLISHED.items():
        cells = {name: table.loc[int(steps), f"{name}_fallback"] for name in scores}
        assert cells == scores
