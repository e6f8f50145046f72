"""The page of the demo in a real Chromium, with tiny models; one of them writes markup."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from stages.lib.core.paths import EVAL_PROBLEMS, MODELS
from stages.lib.core.tables import write_parquet
from tests.conftest import REPOSITORY, TAUGHT
from tests.mini import make_small, set_params
from tests.rows import make_problem
from tools.demo.problems import QUESTION

PATIENCE_MS = 240_000
NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)

SIDES = ("first", "second")

# With the tests of the package, which need the same models.
pytestmark = pytest.mark.xdist_group("tests/tools/demo")
in_browser = pytest.mark.skipif(CHROMIUM is None, reason="no chromium: `apt install chromium`")

LADDER = make_problem("p", question="What is <b>2</b> + 2?", answer="4")
LONG = 50_000  # tokens: more than anyone waits for

Open = Callable[..., Page]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, taught: Path, tiny_base: Path) -> Path:
    """Return a folder with small parameters, three models and a problem."""
    path = tmp_path_factory.mktemp("demo")
    shutil.copy(REPOSITORY / "params.yaml", path)
    make_small(path)
    limits = {"port": 0, "queue": 1, "max_tokens": LONG, "max_characters": 200}
    set_params(path, {f"demo.{name}": value for name, value in limits.items()})
    set_params(path, {"engine.max_model_len": 2 * LONG})
    for name, source in (("base", taught), ("adaptive", tiny_base), ("gone", tiny_base)):
        shutil.copytree(source, path / MODELS / name)
    write_parquet(path / EVAL_PROBLEMS / "ladder.parquet", [LADDER])
    return path


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    """Serve the page; return its address."""
    server = subprocess.Popen(
        [sys.executable, "-m", "tools.demo"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(REPOSITORY), *sys.path])},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert server.stderr is not None
    line = server.stderr.readline()
    assert line.startswith("demo: http://127.0.0.1:"), line
    yield line.split()[1]
    server.send_signal(signal.SIGINT)
    _, rest = server.communicate(timeout=60)
    assert (rest, server.returncode) == ("demo: stopped\n", 0)


expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Return Chromium, without a window."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM)
        yield chromium
        chromium.close()


@pytest.fixture
def open_page(browser: Browser, address: str) -> Iterator[Open]:
    """Return a function that opens the page as a new user; check that no host is asked but ours."""
    urls: list[str] = []
    contexts = []

    def open_(**options: Any) -> Page:
        context = browser.new_context(**options)
        context.set_default_timeout(PATIENCE_MS)
        contexts.append(context)
        page = context.new_page()
        page.on("request", lambda request: urls.append(request.url))
        page.goto(address)
        expect(page.get_by_label("Question")).to_be_focused()
        return page

    yield open_
    for context in contexts:
        context.close()
    assert urls
    assert [url for url in urls if not url.startswith((address, "data:", "blob:"))] == []


def box(page: Page, side: str, label: str) -> Any:
    """Return what can be expected of a box of the first or second model."""
    return expect(page.locator(f"#{side}").get_by_label(label, exact=True))


def choose(page: Page, label: str, model: str) -> None:
    page.get_by_label(label).click()
    page.get_by_role("option", name=model).last.click()  # another list may still be closing


def ask(page: Page, question: str) -> None:
    page.get_by_label("Question").fill(question)
    page.keyboard.press("Enter")


def is_hacked(page: Page) -> bool:
    return page.evaluate("'hacked' in window || document.querySelector('img') !== null")


@in_browser
@pytest.mark.parametrize(("width", "scheme"), [(360, "dark"), (1280, "light")])
def test_both_answers_appear_as_text(
    open_page: Open, folder: Path, width: int, scheme: str
) -> None:
    page = open_page(viewport={"width": width, "height": 740}, color_scheme=scheme)
    choose(page, "Second model", "base")
    page.get_by_role("button", name="Example problems").click()
    expect(page.get_by_role("button", name=LADDER.question)).to_be_visible()
    page.get_by_role("button", name=QUESTION).click()
    expect(page.get_by_label("Question")).to_have_value(QUESTION)
    page.get_by_role("button", name="Ask").click()
    size = (folder / MODELS / "base" / "model.safetensors").stat().st_size / 1e6
    measurements = rf"first token [\d.]+ s, [\d.]+ tokens/s, {len(TAUGHT['cot']) + 1} tokens, "
    for side in SIDES:
        box(page, side, "Status").to_have_value("Done")
        box(page, side, "Answer").to_have_value(TAUGHT["cot"])
        box(page, side, "Grade").to_have_value("Right: 6303")
        box(page, side, "Speed and size").to_have_value(re.compile(f"{measurements}{size:.1f} MB"))
        expect(page.locator(f"#{side}").get_by_text("Output of the program")).to_be_hidden()
    assert not is_hacked(page)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.locator("body.dark").count() == (scheme == "dark")


@in_browser
def test_a_program_is_shown_with_its_output(open_page: Open) -> None:
    page = open_page()
    choose(page, "Second model", "base")
    page.get_by_label("a program, which is run").check()
    ask(page, QUESTION)
    for side in SIDES:
        box(page, side, "Status").to_have_value("Done")
        program = page.locator(f"#{side} .cm-content")
        expect(program).to_have_text("print('<img src=x onerror=hacked=1>')print(125 * 45 + 678)")
        box(page, side, "Output of the program").to_have_value("<img src=x onerror=hacked=1>\n6303")
        box(page, side, "Grade").to_have_value("Right: 6303")
        expect(page.locator(f"#{side}").get_by_label("Answer", exact=True)).to_be_hidden()
    assert not is_hacked(page)


@in_browser
def test_earlier_turns_and_examples_stand_in_the_prompt(open_page: Open, folder: Path) -> None:
    page = open_page()
    choose(page, "Second model", "base")
    for keep in (False, True):
        page.get_by_label("Continue the conversation").set_checked(keep)
        ask(page, QUESTION)
        expect(page.locator("#first").get_by_label("Earlier turns")).to_be_visible(visible=keep)
        for side in SIDES:
            box(page, side, "Status").to_have_value(re.compile("Done|Cut"))
    turns = f"Question: {QUESTION}\nAnswer: {TAUGHT['cot']}"
    for side in SIDES:
        box(page, side, "Earlier turns").to_have_value(turns)
    # No examples are prepared here.
    page.get_by_label("Worked examples in the prompt").first.fill("1")
    ask(page, QUESTION)
    for side in SIDES:
        box(page, side, "Status").to_have_value(re.compile("Failed: .*demonstrations.parquet"))
    assert not is_hacked(page)


@in_browser
def test_errors_are_shown_as_text(open_page: Open, folder: Path) -> None:
    page = open_page()
    ask(page, "")
    expect(page.get_by_text("Write a question first.")).to_be_visible()
    ask(page, "x" * 201)
    message = page.get_by_text("The question has 201 characters; the limit is 200.")
    expect(message).to_be_visible()
    shutil.rmtree(folder / MODELS / "gone")
    choose(page, "First model", "gone")
    choose(page, "Second model", "base")
    ask(page, QUESTION)
    box(page, "second", "Status").to_have_value("Done")
    box(page, "first", "Status").to_have_value(
        "Failed: data/models/gone: no model here; `make repro` trains the default ones (see logs/)"
    )
    expect(message).to_be_hidden()
    log = (folder / "logs" / "demo.log").read_text(encoding="utf-8")
    assert "ValueError: data/models/gone: no model here" in log


@in_browser
def test_one_question_waits_a_second_is_refused_and_stop_makes_room(open_page: Open) -> None:
    first, second, third = (open_page() for _ in range(3))
    ask(first, "Write for ever.")
    box(first, "second", "Status").to_have_value("Writing")
    choose(second, "Second model", "base")
    ask(second, QUESTION)
    expect(second.get_by_text("queue: 1/1").first).to_be_attached()
    ask(third, QUESTION)
    expect(third.get_by_text("This application is currently busy")).to_be_visible()
    first.get_by_role("button", name="Stop").click()
    box(first, "second", "Status").to_have_value("Stopped")
    for side in SIDES:
        box(second, side, "Grade").to_have_value("Right: 6303")
    box(first, "second", "Status").to_have_value("Stopped")


def test_without_a_model_there_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Imported here: it takes seconds, and the other tests run it in a process.
    from tools.demo import __main__ as demo

    shutil.copy(REPOSITORY / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError) as error:
        demo.main()
    assert str(error.value) == "data/models: no models here; `make repro` trains the default ones"
