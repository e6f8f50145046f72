"""Answers of the demo, as evaluation gets them: prompt, text, program, grade."""

import traceback
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import dataclass, replace
from threading import Event

from stages.lib.core.paths import LOGS
from stages.lib.core.schema import Grade, Prompting, Status, Turn
from stages.lib.grading.batch import NO_PROGRAM
from stages.lib.grading.grader import extract_program, grade, grade_program
from stages.lib.models.folder import weight_bytes
from stages.lib.params.root import Params
from stages.lib.prompts.templates import question_prompt, user_message
from stages.lib.sandbox.pool import ProgramResult, run_programs
from tools.demo.models import ModelCache, PartialAnswer, stream
from tools.demo.problems import GradableProblem, model_folder

LOADING, READING = "Loading the model", "Reading the question"
WRITING, RUNNING = "Writing", "Running the program"
UNFINISHED = (LOADING, READING, WRITING, RUNNING)

_FAILURES: dict[Status, str] = {
    "unparsed": "No answer was found",
    "ungraded": "The answer could not be compared",
    "timeout": "The program timed out",
    "crashed": "The program crashed",
    "refused": "The sandbox refused the program",
}


@dataclass(frozen=True, slots=True)
class Panel:
    """The plain texts that the page shows of one model; "" where there is nothing to show.

    ``response`` is the whole text of the model, which the page does not show.
    """

    status: str
    text: str = ""
    program: str = ""
    output: str = ""
    grade: str = ""
    measurements: str = ""
    response: str = ""


def answer(
    name: str,
    question: str,
    prompting: Prompting,
    reference: GradableProblem | None,
    cache: ModelCache,
    params: Params,
    turns: Callable[[], Sequence[Turn]] = tuple,
) -> Generator[Panel, None, None]:
    """Yield the panels of a model as it answers a question.

    ``turns`` returns what stands before the question in the prompt. ``reference`` is the problem
    with this question, None if its answer is not known. Errors are shown in the status, and their
    tracebacks go to the log.
    """
    panel = Panel(LOADING)
    yield panel
    try:
        folder = model_folder(name)
        loaded = cache.get(folder)
        limit = reference.max_tokens if reference else params.demo.max_tokens
        prompt = question_prompt(
            loaded.tokenizer, params.prompts, user_message(question, prompting), turns()
        )
        _check_length(prompt, limit, params.engine.max_model_len)
        yield Panel(READING)
        size = f"{weight_bytes(folder) / 1e6:,.1f} MB"
        for partial in stream(loaded, prompt, limit=limit, stops=params.prompts.stop):
            panel = _panel(partial, size)
            yield panel
        status, result = panel.status, None
        if prompting == "pot":
            program = extract_program(panel.text)
            text = "" if is_bare(panel.text, program) else panel.text
            panel = replace(panel, text=text, program=program, output="There is no program.")
            if program:
                yield replace(panel, status=RUNNING, output="")
                (result,) = run_programs([program], **params.sandbox.model_dump())
                output = (result.stdout or result.error).rstrip() or "(nothing)"
                panel = replace(panel, output=output)
        description = (
            "" if reference is None else _describe_grade(panel.text, prompting, result, reference)
        )
        yield replace(panel, status=status, grade=description)
    except Exception as error:  # of any kind: a thread would swallow it
        traceback.print_exc()
        yield replace(panel, status=f"Failed: {error} (see {LOGS}/)")


def is_bare(text: str, program: str) -> bool:
    """Return whether a text is a program and nothing else except the fence around it."""
    rest = text.replace(program, "", 1).replace("```", "").strip()
    return rest in ("", "python", "py", "python3")


def side_by_side(
    sources: Sequence[Generator[Panel, None, None]], every_s: float = 0.1
) -> Generator[list[Panel], None, None]:
    """Run generators at once, each in a thread; yield the latest panel of each.

    Yields every ``every_s`` seconds, and at the end the last panels. Closed early, it closes
    each source at its next panel, without waiting.
    """
    latest = [Panel("")] * len(sources)
    closed = Event()

    def drain(index: int) -> None:
        with closing(sources[index]) as source:
            for panel in source:
                latest[index] = panel
                if closed.is_set():
                    break

    pool = ThreadPoolExecutor(len(sources))
    try:
        futures = [pool.submit(drain, index) for index in range(len(sources))]
        while wait(futures, every_s).not_done:
            yield list(latest)
        for future in futures:
            future.result()
        yield list(latest)
    finally:
        closed.set()
        pool.shutdown(wait=False)


def _check_length(prompt: Sequence[int], limit: int, max_model_len: int) -> None:
    if len(prompt) + limit > max_model_len:
        raise ValueError(
            f"the prompt has {len(prompt)} tokens and its answer may have {limit}: "
            f"expected at most engine.max_model_len={max_model_len} together"
        )


def _panel(partial: PartialAnswer, size: str) -> Panel:
    status = {
        "": WRITING,
        "stop": "Done",
        "length": f"Cut at the limit of {partial.tokens} tokens",
    }[partial.finish_reason]
    rate = "" if partial.rate is None else f"{partial.rate:.1f} tokens/s, "
    measurements = f"first token {partial.first_s:.2f} s, {rate}{partial.tokens} tokens, {size}"
    return Panel(status, partial.text, measurements=measurements, response=partial.text)


def _describe_grade(
    text: str, prompting: Prompting, result: ProgramResult | None, reference: GradableProblem
) -> str:
    problem = reference.problem
    expected = {"answer": problem.answer, "kind": problem.kind, "choices": problem.choices}
    result_grade: Grade = NO_PROGRAM
    if prompting == "cot":
        result_grade = grade(text, **expected)
    elif result is not None:
        result_grade = grade_program(result, **expected)
    if result_grade.status == "correct":
        return f"Right: {problem.answer}"
    if result_grade.status == "wrong":
        return f"Wrong: {result_grade.extracted} instead of {problem.answer}"
    return f"{_FAILURES[result_grade.status]}; the correct answer is {problem.answer}"
