"""Write the benchmarks as tasks for lm-evaluation-harness.

Reads the benchmarks and the parameters. Writes to a new folder, for each benchmark, its problems
(``NAME.jsonl``) and a task ``uphill_NAME`` with the run's token limit and stop strings; a group
``uphill`` of them all; and ``uphill_tasks.py``, by which the harness reads and grades them. The
tasks are CoT without worked examples, in the model's own chat template: the harness has no sandbox
for programs. Their grades are those of the second grader
(``stages.lib.grading.second_grader``), which needs no more than one file.

    python -m tools.harness DIR
"""

import json
import shlex
import shutil
from pathlib import Path

import yaml

from stages.lib.core.files import atomic_replace
from stages.lib.core.schema import Problem
from stages.lib.generations.answers import read_benchmarks
from stages.lib.grading.second_grader import text_answer
from stages.lib.params.load import load_params
from stages.lib.params.root import Params
from stages.lib.prompts.templates import user_message
from stages.lib.runtime import console

GROUP = "uphill"
FUNCTIONS = Path(__file__).with_name("uphill_tasks.py")
# The harness's tag for a function of a file is not YAML's own.
TASK = """custom_dataset: !function uphill_tasks.load
process_results: !function uphill_tasks.grade
"""


def main(out: str) -> None:
    """Write the tasks, and log the command that runs them."""
    params = load_params()
    benchmarks = read_benchmarks(params.prepare.benchmarks)
    folder = Path(out)
    if folder.exists():
        raise ValueError(f"{folder}: expected a folder that does not exist yet")
    with atomic_replace(folder) as tmp:
        tmp.mkdir(parents=True)
        shutil.copy(FUNCTIONS, tmp)
        for name, problems in benchmarks.items():
            lines = [json.dumps(document(problem), ensure_ascii=False) for problem in problems]
            (tmp / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
            (tmp / f"{name}.yaml").write_text(task(name, params), encoding="utf-8")
        group = {"group": GROUP, "task": [task_name(name) for name in benchmarks]}
        (tmp / f"{GROUP}.yaml").write_text(yaml.safe_dump(group), encoding="utf-8")
    console.log_line(f"{out}: {command(out, params.prompts.system)}")


def document(problem: Problem) -> dict[str, str]:
    """Return a problem as the harness reads it: what the user says, and what is right."""
    return {
        "id": problem.id,
        "source": problem.source,
        "question": user_message(problem.question, "cot"),
        "answer": problem.answer,
        "letters": text_answer("", problem).letters,
    }


def task_name(benchmark: str) -> str:
    """Return the name of a benchmark's task."""
    return f"{GROUP}_{benchmark}"


def task(benchmark: str, params: Params) -> str:
    """Return the YAML of a benchmark's task."""
    settings = {
        "task": task_name(benchmark),
        "dataset_kwargs": {"file": f"{benchmark}.jsonl"},
        "test_split": "test",
        "output_type": "generate_until",
        "doc_to_text": "{{question}}",
        "doc_to_target": "{{answer}}",
        "generation_kwargs": {
            "do_sample": False,
            "max_gen_toks": params.evaluate.max_tokens[benchmark],
            "until": list(params.prompts.stop),
        },
        "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
        "metadata": {"version": 1.0},
    }
    return yaml.safe_dump(settings, sort_keys=False) + TASK


def command(folder: str, system: str) -> str:
    """Return the command that runs all tasks, with the run's system prompt."""
    instruction = f" --system_instruction {shlex.quote(system)}" if system else ""
    tasks = f"--include_path {shlex.quote(folder)} --tasks {GROUP}"
    model = "--model hf --model_args pretrained=MODEL"
    return f"lm_eval run {tasks} --apply_chat_template{instruction} {model}"


if __name__ == "__main__":
    console.run_stage("harness", main, item="out", timed=False)
