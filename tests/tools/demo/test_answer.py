import shutil
import threading
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from stages.lib.core.paths import MODELS
from stages.lib.core.schema import Prompting
from stages.lib.params.load import load_params
from tests.conftest import REPOSITORY, TAUGHT
from tools.demo.answer import Panel, answer, is_bare, side_by_side
from tools.demo.models import ModelCache
from tools.demo.problems import QUESTION, load_gradable_problems

OUTPUT = "<img src=x onerror=hacked=1>\n6303"


@pytest.fixture
def with_models(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, taught: Path, tiny_base: Path
) -> None:
    """Enter a folder with a model that knows the answer and one that does not."""
    shutil.copytree(taught, tmp_path / MODELS / "taught")
    shutil.copytree(tiny_base, tmp_path / MODELS / "base")
    monkeypatch.chdir(tmp_path)


def panels(model: str, prompting: Prompting, question: str = QUESTION, **demo: Any) -> list[Panel]:
    params = load_params(REPOSITORY / "params.yaml")
    params = params.model_copy(update={"demo": params.demo.model_copy(update=demo)})
    reference = load_gradable_problems(params).get(question)
    return list(answer(model, question, prompting, reference, ModelCache(2), params))


def test_reasoning_is_shown_as_it_grows_and_graded(with_models: None) -> None:
    *unfinished, last = panels("taught", "cot")
    statuses = [panel.status for panel in unfinished]
    begun = list(dict.fromkeys(statuses))[:3]
    assert begun == ["Loading the model", "Reading the question", "Writing"]
    assert (last.text, last.status, last.program) == (TAUGHT["cot"], "Done", "")
    assert last.grade == "Right: 6303"
    size = (MODELS / "taught/model.safetensors").stat().st_size / 1e6
    ending = f" tokens/s, {len(TAUGHT['cot']) + 1} tokens, {size:.1f} MB"
    assert last.measurements.startswith("first token ") and last.measurements.endswith(ending)


def test_a_program_is_run_in_the_sandbox_and_graded(with_models: None) -> None:
    *_, running, last = panels("taught", "pot")
    assert last.response == TAUGHT["pot"]  # for the next turn
    program = TAUGHT["pot"].split("```")[1].removeprefix("python\n").rstrip()
    assert running.status == "Running the program"
    assert (last.text, last.program) == ("", program)
    assert (last.output, last.grade, last.status) == (OUTPUT, "Right: 6303", "Done")


NONE_FOUND = "No answer was found; the correct answer is 6303"


@pytest.mark.parametrize(
    ("prompting", "question", "output", "expected"),
    [
        ("cot", QUESTION, "", NONE_FOUND),
        ("pot", QUESTION, "There is no program.", NONE_FOUND),
        ("cot", "Is there life on Mars?", "", ""),
    ],
)
def test_no_answer_is_not_a_wrong_answer(
    with_models: None, prompting: Prompting, question: str, output: str, expected: str
) -> None:
    *_, last = panels("base", prompting, question, max_tokens=5)
    assert last.status == "Cut at the limit of 5 tokens"
    assert (last.output, last.grade) == (output, expected)


@pytest.mark.parametrize(
    ("model", "question", "message"),
    [
        ("gone", QUESTION, "data/models/gone: no model here; `make repro` trains the default ones"),
        ("../base", QUESTION, "data/models/../base: no model here"),
        ("base", "x" * 1900, "answer may have 256: expected at most engine.max_model_len=2048"),
        ("damaged", QUESTION, "data/models/damaged: damaged model file"),
    ],
)
def test_errors_are_shown_and_logged(
    with_models: None, capsys: pytest.CaptureFixture[str], model: str, question: str, message: str
) -> None:
    shutil.copytree(MODELS / "base", MODELS / "damaged")
    (MODELS / "damaged" / "model.safetensors").write_bytes(b"no weights")
    *_, last = panels(model, "cot", question)
    assert last.status.startswith("Failed: ") and last.status.endswith("(see logs/)")
    assert message in last.status
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "bare"),
    [
        ("```python\nprint(1)\n```", True),
        ("```\nprint(1)\n```\n", True),
        ("```python\nprint(1)", True),
        ("print(1)", True),
        ("Here:\n```python\nprint(1)\n```", False),
        ("```python\nprint(1)\n```\nIt prints 1.", False),
    ],
)
def test_a_text_around_a_program_is_noticed(text: str, bare: bool) -> None:
    assert is_bare(text, "print(1)") == bare


def test_two_sources_run_at_once_and_their_last_panels_come_out() -> None:
    barrier = threading.Barrier(2)

    def count(to: int) -> Generator[Panel, None, None]:
        barrier.wait(60)
        for number in range(to + 1):
            yield Panel(str(number))

    assert list(side_by_side([count(3), count(5)], 0.001))[-1] == [Panel("3"), Panel("5")]


def test_closing_closes_every_source() -> None:
    ended = [threading.Event(), threading.Event()]

    def endless(event: threading.Event) -> Generator[Panel, None, None]:
        try:
            while True:
                yield Panel("Writing")
        finally:
            event.set()

    running = side_by_side([endless(event) for event in ended], 0.001)
    next(running)
    running.close()
    assert all(event.wait(60) for event in ended)
