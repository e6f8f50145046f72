"""The tasks for lm-evaluation-harness: what is written, and that the harness itself reads them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from stages.lib.core.paths import EVAL_PROBLEMS
from stages.lib.core.tables import write_parquet
from tests.rows import make_problem
from tests.stages.reports import recipe, write_params
from tools.harness import __main__ as harness

READ_BACK = """
import json
from lm_eval.tasks import TaskManager, get_task_dict
tasks = get_task_dict(["uphill"], TaskManager(include_path="out", include_defaults=False))
(group,) = tasks.values()
for name, task in group.items():
    docs = list(task.test_docs())
    prompts = [task.doc_to_text(doc) for doc in docs]
    right = [task.process_results(doc, [f"The answer is {doc['answer']}."]) for doc in docs]
    print(json.dumps([name, prompts, right, task.config.generation_kwargs]))
"""


@pytest.fixture(autouse=True)
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write two benchmarks, one of them multiple choice, as tasks in ``out``."""
    monkeypatch.chdir(tmp_path)
    aqua = {"source": "aqua", "path": "aqua.json", "size": "all"}
    ladder = {"source": "ladder", "per_rung": 2, "part": "test"}
    write_params(
        recipe(
            prepare={"benchmarks": {"ladder": ladder, "aqua": aqua}},
            prompts={"stop": ["Question:"]},
            evaluate={"max_tokens": {"ladder": 9, "aqua": 8}, "held_out": "ladder"},
        )
    )
    sums = [make_problem("a", question="1 + 1?", answer="2"), make_problem("b", answer="1/2")]
    option = make_problem("c", answer="B", kind="choice", choices=["1", "2", "3"])
    write_parquet(EVAL_PROBLEMS / "ladder.parquet", sums)
    write_parquet(EVAL_PROBLEMS / "aqua.parquet", [option])
    harness.main("out")


def test_a_benchmark_is_a_task_with_its_limits_and_its_problems() -> None:
    assert sorted(path.name for path in Path("out").iterdir()) == [
        *("aqua.jsonl", "aqua.yaml", "ladder.jsonl", "ladder.yaml", "uphill.yaml"),
        "uphill_tasks.py",
    ]
    documents = [json.loads(line) for line in Path("out/aqua.jsonl").read_text().splitlines()]
    assert [(doc["id"], doc["answer"], doc["letters"]) for doc in documents] == [("c", "B", "ABC")]
    group = yaml.safe_load(Path("out/uphill.yaml").read_text(encoding="utf-8"))
    assert group == {"group": "uphill", "task": ["uphill_ladder", "uphill_aqua"]}


def test_a_folder_that_exists_is_left_alone() -> None:
    with pytest.raises(ValueError, match="out: expected a folder that does not exist yet"):
        harness.main("out")


def test_the_command_names_the_system_prompt() -> None:
    assert "--system_instruction" not in harness.command("out", "")
    assert "--system_instruction 'You'\"'\"'re good'" in harness.command("out", "You're good")


def test_the_harness_reads_and_grades_the_tasks(read_back: Callable[[str], list[Any]]) -> None:
    tasks = {name: values for name, *values in read_back(READ_BACK)}
    right = {"exact_match": 1.0}
    assert sorted(tasks) == ["uphill_aqua", "uphill_ladder"]
    prompts, grades, generation = tasks["uphill_ladder"]
    assert prompts[0] == "1 + 1?"
    assert grades == [right, right]
    assert tasks["uphill_aqua"][1] == [right]
    assert generation == {"do_sample": False, "max_gen_toks": 9, "until": ["Question:"]}
