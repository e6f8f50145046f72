"""Write the greedy answers as logs of Inspect, which ``inspect view`` shows.

Reads the benchmarks, the answers and their grades. Writes to a new folder a log per benchmark,
system and prompting, in Inspect's JSON format: each problem with the user's message, the answer,
the grade, and what it was made of. Worked examples in the prompt are counted, not repeated.

    python -m tools.inspect_logs DIR
    inspect view --log-dir DIR
"""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean
from typing import Any

from stages.lib.analysis.intervals import standard_error
from stages.lib.analysis.records import graded_answers
from stages.lib.core.files import atomic_replace
from stages.lib.core.paths import GRADES
from stages.lib.core.schema import EvalRecord, Generation, Problem, content_id
from stages.lib.core.tables import read_parquet
from stages.lib.generations.answers import read_answers, read_benchmarks
from stages.lib.params.load import load_params
from stages.lib.prompts.templates import user_message
from stages.lib.runtime import console

FORMAT_VERSION = 2
"""Of the logs; as of inspect-ai 0.3.285."""

SCORER = "uphill"
_STOP_REASONS = {"stop": "stop", "length": "max_tokens"}
_Answer = tuple[EvalRecord, Generation, Problem]


def main(out: str) -> None:
    """Write all logs."""
    params = load_params()
    folder = Path(out)
    if folder.exists():
        raise ValueError(f"{folder}: expected a folder that does not exist yet")
    records, answers = read_parquet(GRADES, EvalRecord), read_answers(params.evaluate.models)
    groups: dict[tuple[str, str, str], list[_Answer]] = {}
    for answer in graded_answers(records, answers, read_benchmarks(params.prepare.benchmarks)):
        record = answer[0]
        groups.setdefault((record.benchmark, record.system, record.prompting), []).append(answer)
    graded_at = datetime.fromtimestamp(GRADES.stat().st_mtime, UTC).replace(microsecond=0)
    with atomic_replace(folder) as tmp:
        tmp.mkdir(parents=True)
        for names, members in groups.items():
            log = as_log(members, params.prompts.system, graded_at.isoformat())
            # Inspect lists files whose name begins with a time.
            file = f"{graded_at:%Y-%m-%dT%H-%M-%S}_{'_'.join(names)}.json"
            text = json.dumps(log, ensure_ascii=False, indent=1)
            (tmp / file).write_text(text, encoding="utf-8")
    console.log_line(f"{len(groups)} logs in {out}: inspect view --log-dir {out}")


def as_log(answers: Sequence[_Answer], system_prompt: str, graded_at: str) -> dict[str, Any]:
    """Return the answers of one system to one benchmark, by one prompting, as a log."""
    record = answers[0][0]
    task = f"{record.benchmark}-{record.prompting}"
    identity = content_id(task, record.system)
    return {
        "version": FORMAT_VERSION,
        "status": "success",
        "eval": {
            "created": graded_at,
            "task": task,
            "task_id": identity,
            "run_id": identity,
            "eval_id": identity,
            "dataset": {"name": record.benchmark, "samples": len(answers)},
            "model": record.system,
            "config": {"epochs": 1},
            "scorers": [{"name": SCORER}],
        },
        # Inspect's list of logs does not show a log without a plan.
        "plan": {"name": "uphill", "steps": [{"solver": "generate"}]},
        "results": _results([answer[0].status == "correct" for answer in answers]),
        # Without times, its page of a log shows "NaN days".
        "stats": {"started_at": graded_at, "completed_at": graded_at},
        "samples": [as_sample(*answer, system_prompt) for answer in answers],
    }


def _results(correct: Sequence[bool]) -> dict[str, Any]:
    values = {"accuracy": fmean(correct)}
    if len(correct) > 1:
        values["stderr"] = standard_error(correct)
    metrics = {name: {"name": name, "value": value} for name, value in values.items()}
    return {
        "total_samples": len(correct),
        "completed_samples": len(correct),
        "scores": [{"name": SCORER, "scorer": SCORER, "metrics": metrics}],
    }


def as_sample(
    record: EvalRecord, answer: Generation, problem: Problem, system_prompt: str
) -> dict[str, Any]:
    """Return an answer as a sample of a log."""
    question = user_message(problem.question, record.prompting)
    reply = {"role": "assistant", "content": answer.text, "source": "generate"}
    stop_reason = _STOP_REASONS.get(answer.finish_reason, "unknown")
    system = [{"role": "system", "content": system_prompt}] if system_prompt else []
    return {
        "id": problem.id,
        "epoch": 1,
        "input": question,
        "choices": list(problem.choices or []) or None,
        "target": problem.answer,
        "messages": [*system, {"role": "user", "content": question, "source": "input"}, reply],
        "output": {
            "model": record.system,
            "choices": [{"message": reply, "stop_reason": stop_reason}],
            "completion": answer.text,
            "usage": {"output_tokens": answer.n_tokens},
        },
        "scores": {
            SCORER: {
                "value": "C" if record.status == "correct" else "I",
                "answer": record.matched_option or record.extracted,
                "explanation": record.output or record.status,
            }
        },
        "metadata": {
            "source": problem.source,
            "topic": problem.topic,
            "level": problem.level,
            "shots": answer.shots,
            "status": record.status,
            "option_source": record.option_source,
        },
    }


if __name__ == "__main__":
    console.run_stage("inspect_logs", main, item="out", timed=False)
