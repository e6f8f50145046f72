"""One question to one model of the demo, as evaluation asks it: prompt, program, verdict."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from stages.lib.core.paths import MODELS
from stages.lib.core.schema import Grade, Prompting, Status
from stages.lib.grading.batch import NO_PROGRAM
from stages.lib.grading.grader import grade, grade_program, program_in
from stages.lib.models.loading import weight_bytes
from stages.lib.params.root import Params
from stages.lib.params.sampling import SandboxLimits
from stages.lib.prompts.templates import ask, question_prompt
from stages.lib.sandbox.pool import run_programs
from tools.demo.problems import GradableProblem, found_models
from tools.demo.streaming import ModelCache, Partial, write

_FAILURES: dict[Status, str] = {
    "unparsed": "No answer was found",
    "timeout": "The program ran too long",
    "crashed": "The program crashed",
    "refused": "The sandbox refused the program",
}


@dataclass(frozen=True, slots=True)
class Panel:
    """What is shown of one model: plain texts, "" where there is nothing to show.

    ``status`` is that of the verdict; ``problem`` is what the user can mend.
    """

    model: str
    state: str
    size: str = ""
    text: str = ""
    program: str = ""
    output: str = ""
    status: str = ""
    verdict: str = ""
    first_token: str = ""
    rate: str = ""
    tokens: str = ""
    problem: str = ""


def answer(
    name: str,
    question: str,
    prompting: Prompting,
    known: GradableProblem | None,
    kept: ModelCache,
    wanted: Params,
) -> Iterator[Panel]:
    """Yield what to show of a model while it answers a question, without in-context examples.

    ``known`` is the problem that the question is, None if it is another.
    """
    side = begun = Panel(name, "Loading the model")
    yield side
    try:
        for side in _written(begun, question, prompting, known, kept, wanted):
            yield side
        if prompting == "cot":
            yield _graded(side, _verdict_on_text(side.text, known), known)
        else:
            yield from _with_program(side, known, wanted.sandbox)
    except (ValueError, OSError) as error:
        yield replace(side, state="Failed", problem=str(error))


def is_bare(text: str, program: str) -> bool:
    """Return whether a text is a program and nothing else, but for the fence around it."""
    around = text.replace(program, "", 1).replace("```", "").strip()
    return around in ("", "python", "py", "python3")


def _written(
    side: Panel,
    question: str,
    prompting: Prompting,
    known: GradableProblem | None,
    kept: ModelCache,
    wanted: Params,
) -> Iterator[Panel]:
    folder = MODELS / side.model
    if side.model not in found_models(()):
        raise ValueError(f"There is no model {folder}: `make repro` makes the default ones.")
    speaker = kept.get(folder)
    prompt = question_prompt(speaker.tokenizer, wanted.prompts, ask(question, prompting))
    limit = known.max_tokens if known else wanted.demo.max_tokens
    if len(prompt) + limit > wanted.engine.max_model_len:
        raise ValueError(
            f"The question is {len(prompt)} tokens long and its answer may have {limit}; "
            f"together at most {wanted.engine.max_model_len} are possible."
        )
    size = f"{weight_bytes(folder) / 1e6:,.1f} MB"
    side = replace(side, size=size, state="Reading the question")
    yield side
    for written in write(speaker, prompt, limit=limit, stops=wanted.prompts.stop):
        yield _with(side, written)


def _with(side: Panel, written: Partial) -> Panel:
    states = {
        "": "Writing",
        "stop": "Done",
        "length": f"Cut at the limit of {written.tokens} tokens",
    }
    return replace(
        side,
        state=states[written.ended],
        text=written.text,
        first_token=f"{written.first_s:.2f} s",
        rate="" if written.rate is None else f"{written.rate:.1f} tokens/s",
        tokens=str(written.tokens),
    )


def _with_program(
    side: Panel, known: GradableProblem | None, sandbox: SandboxLimits
) -> Iterator[Panel]:
    program = program_in(side.text)
    if not program:
        yield _graded(replace(side, output="There is no program."), NO_PROGRAM, known)
        return
    text = "" if is_bare(side.text, program) else side.text
    side = replace(side, text=text, program=program)
    yield replace(side, state="Running the program")
    (result,) = run_programs(
        [program],
        timeout_s=sandbox.timeout_s,
        memory_mb=sandbox.memory_mb,
        workers=1,
        allow_unprotected=sandbox.allow_unprotected,
    )
    output = (result.stdout or result.error).rstrip() or "(nothing)"
    verdict = None if known is None else grade_program(result, **_reference(known))
    yield _graded(replace(side, output=output), verdict, known)


def _verdict_on_text(text: str, known: GradableProblem | None) -> Grade | None:
    return None if known is None else grade(text, **_reference(known))


def _graded(side: Panel, verdict: Grade | None, known: GradableProblem | None) -> Panel:
    if verdict is None or known is None:
        return side
    right = known.problem.answer
    if verdict.status == "correct":
        said = f"Right: {right}"
    elif verdict.status == "wrong":
        said = f"Wrong: {verdict.extracted} instead of {right}"
    else:
        said = f"{_FAILURES[verdict.status]}; right is {right}"
    return replace(side, status=verdict.status, verdict=said)


def _reference(known: GradableProblem) -> dict[str, Any]:
    problem = known.problem
    return {"answer": problem.answer, "kind": problem.kind, "choices": problem.choices}
