import shutil
from pathlib import Path
from typing import Any

import pytest

from stages.lib.core.paths import MODELS
from stages.lib.core.schema import Prompting
from stages.lib.params.load import load_params
from tests.conftest import REPOSITORY, TAUGHT
from tools.demo.answer import Panel, answer, is_bare
from tools.demo.problems import QUESTION, known_problems
from tools.demo.streaming import ModelCache

OUTPUT = "<img src=x onerror=hacked=1>\n6303"


@pytest.fixture
def with_models(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, taught: Path, tiny_base: Path
) -> None:
    """Enter a folder with a model that knows the answer and one that does not."""
    shutil.copytree(taught, tmp_path / MODELS / "taught")
    shutil.copytree(tiny_base, tmp_path / MODELS / "base")
    monkeypatch.chdir(tmp_path)


def asked(model: str, prompting: Prompting, question: str = QUESTION, **limits: Any) -> list[Panel]:
    wanted = load_params(REPOSITORY / "params.yaml")
    wanted = wanted.model_copy(update={"demo": wanted.demo.model_copy(update=limits)})
    known = known_problems(wanted).get(question)
    return list(answer(model, question, prompting, known, ModelCache(2), wanted))


def test_reasoning_is_shown_as_it_grows_and_graded(with_models: None) -> None:
    sides = asked("taught", "cot")
    assert [side.state for side in sides[:3]] == [
        "Loading the model",
        "Reading the question",
        "Writing",
    ]
    assert all(
        later.text.startswith(one.text) for one, later in zip(sides, sides[1:], strict=False)
    )
    last = sides[-1]
    assert (last.text, last.state, last.program) == (TAUGHT["cot"], "Done", "")
    assert (last.status, last.verdict) == ("correct", "Right: 6303")
    assert last.tokens == str(len(TAUGHT["cot"]) + 1)
    assert last.size == f"{(MODELS / 'taught/model.safetensors').stat().st_size / 1e6:.1f} MB"
    assert last.first_token.endswith(" s") and last.rate.endswith(" tokens/s")


def test_a_program_is_run_in_the_sandbox_and_graded(with_models: None) -> None:
    *_, running, last = asked("taught", "pot")
    assert running.state == "Running the program"
    assert (last.text, last.program) == (
        "",
        TAUGHT["pot"].split("```")[1].removeprefix("python\n").rstrip(),
    )
    assert (last.output, last.verdict, last.state) == (OUTPUT, "Right: 6303", "Done")


def test_no_answer_or_no_program_is_not_a_wrong_answer(with_models: None) -> None:
    *_, cut = asked("base", "cot", max_tokens=5)
    assert (cut.state, cut.status) == ("Cut at the limit of 5 tokens", "unparsed")
    assert cut.verdict == "No answer was found; right is 6303"
    *_, exclude = asked("base", "pot", max_tokens=5)
    assert (exclude.status, exclude.output) == ("unparsed", "There is no program.")


def test_an_answer_that_nobody_knows_has_no_verdict(with_models: None) -> None:
    *_, last = asked("base", "cot", "Is there life on Mars?", max_tokens=5)
    assert (last.state, last.status, last.verdict) == ("Cut at the limit of 5 tokens", "", "")


@pytest.mark.parametrize(
    ("model", "question", "problem"),
    [
        ("gone", QUESTION, "There is no model data/models/gone: `make repro` makes the default"),
        ("../base", QUESTION, "There is no model data/models/../base: "),
        ("base", "x" * 1900, "tokens long and its answer may have 256; together at most 2048 are"),
    ],
)
def test_what_can_be_mended_is_said(
    with_models: None, model: str, question: str, problem: str
) -> None:
    *_, last = asked(model, "cot", question)
    assert last.state == "Failed"
    assert problem in last.problem


def test_a_damaged_model_is_named(with_models: None) -> None:
    (MODELS / "base" / "model.safetensors").write_bytes(b"no weights")
    *_, last = asked("base", "cot")
    assert "data/models/base: damaged model file" in last.problem


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
