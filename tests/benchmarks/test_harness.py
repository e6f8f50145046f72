"""The comparison with the harness, without the harness: its task, documents and messages."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from transformers import PreTrainedTokenizerFast

from benchmarks import harness
from stages.lib.params.load import load_params
from tests.conftest import END
from tests.rows import make_problem
from tools.export.agreement import is_correct

TASK: dict[str, Any] = yaml.safe_load(harness.TASK.read_text(encoding="utf-8"))
CHAT = load_params().prompts.model_copy(update={"format": "chat", "system": "Solve."})
PROBLEM = make_problem("p", question="Simplify 2/4.", answer="1/2", kind="expression")


def test_a_document_is_the_prompt_of_our_evaluation_and_the_answer(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    (document,) = harness.documents(tokenizer, CHAT, [PROBLEM])
    assert document == {
        "prompt": f"<|system|>Solve.{END}<|user|>Simplify 2/4.{END}<|assistant|>",
        "answer": "1/2",
    }
    (ids,) = harness.prompts(tokenizer, CHAT, [PROBLEM])
    assert tokenizer.decode(list(ids)) == document["prompt"]


def test_the_task_reads_the_documents(tokenizer: PreTrainedTokenizerFast) -> None:
    (document,) = harness.documents(tokenizer, CHAT, [PROBLEM])
    assert {TASK["doc_to_text"], TASK["doc_to_target"]} == set(document)
    assert TASK["dataset_kwargs"]["data_files"] == {TASK["test_split"]: str(harness.DOCUMENTS)}


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("3 + 4 = 7. The answer is 7.", "7"),
        ("15/55 = 3/11. The answer is 3/11.", "3/11"),
        ("9 + 1.2 = 10.2. The answer is 10.2.", "10.2"),
        ("60 - 81 = -21. The answer is -21.", "-21"),
    ],
)
def test_the_task_takes_the_last_number(text: str, answer: str) -> None:
    (entry,) = TASK["filter_list"]
    regex, _ = entry["filter"]
    assert re.findall(regex["regex_pattern"], text)[regex["group_select"]] == answer


def test_our_grader_judges_the_harness_texts() -> None:
    texts = ["The answer is 2/4.", "The answer is 2.", "No idea"]
    first = is_correct([PROBLEM] * 3, texts)
    assert first == [True, False, False]
    assert harness.differing(first, [True, True, False]) == pytest.approx(1 / 3)


def test_a_missing_installation_is_named_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(harness, "HARNESS", tmp_path)
    with pytest.raises(SystemExit):
        harness.check_installed()
    (message,) = capfd.readouterr().err.splitlines()
    assert message == f"harness: {tmp_path} is not there or not complete: run `make harness`"
