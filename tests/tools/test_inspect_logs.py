"""The logs of Inspect: what is written, and that Inspect itself reads them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stages import analyze
from tests.stages.test_analyze import PROBLEMS, write_inputs
from tools import inspect_logs

READ_BACK = """
import json
from inspect_ai.log import list_eval_logs, read_eval_log
for info in list_eval_logs("out"):
    log = read_eval_log(info)
    # As the list of logs reads them: the head only.
    assert read_eval_log(info, header_only=True).results == log.results
    values = [sample.scores["uphill"].value for sample in log.samples]
    accuracy = log.results.scores[0].metrics["accuracy"].value
    print(json.dumps([log.eval.task, log.eval.model, log.status, accuracy, values]))
"""


@pytest.fixture(autouse=True)
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Grade a small run, and write its logs."""
    monkeypatch.chdir(tmp_path)
    write_inputs()
    analyze.main()
    inspect_logs.main("out")


def test_there_is_a_log_of_each_system_on_each_benchmark_by_each_prompting() -> None:
    logs = [json.loads(path.read_text(encoding="utf-8")) for path in Path("out").iterdir()]
    names = {(log["eval"]["task"], log["eval"]["model"]) for log in logs}
    tasks = [f"{name}-{prompting}" for name in PROBLEMS for prompting in ("cot", "pot")]
    systems = ["base", "base-1shot", "uniform", "adaptive"]
    assert len(logs) == len(names)
    assert names == {(task, system) for task in tasks for system in systems}
    (log,) = (
        log
        for log in logs
        if (log["eval"]["task"], log["eval"]["model"]) == ("gsm8k-cot", "uniform")
    )
    assert [sample["id"] for sample in log["samples"]] == [row.id for row in PROBLEMS["gsm8k"]]
    assert {sample["scores"]["uphill"]["value"] for sample in log["samples"]} == {"C"}
    assert log["results"]["scores"][0]["metrics"]["accuracy"]["value"] == 1
    sample = log["samples"][0]
    assert [message["role"] for message in sample["messages"]] == ["system", "user", "assistant"]
    assert sample["input"] == PROBLEMS["gsm8k"][0].question
    assert sample["metadata"]["shots"] == 0


def test_a_folder_that_exists_is_left_alone() -> None:
    with pytest.raises(ValueError, match="out: expected a folder that does not exist yet"):
        inspect_logs.main("out")


def test_inspect_reads_the_logs(read_back: Callable[[str], list[Any]]) -> None:
    logs = read_back(READ_BACK)
    assert len(logs) == len(list(Path("out").iterdir()))
    assert {status for _, _, status, _, _ in logs} == {"success"}
    for _, _, _, accuracy, values in logs:
        assert accuracy == values.count("C") / len(values)
