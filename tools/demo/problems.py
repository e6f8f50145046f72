"""The models that can be asked, and the problems whose answer is known."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from stages.lib.core.paths import DEMONSTRATIONS, EVAL_PROBLEMS, MODELS
from stages.lib.core.schema import Problem, Prompting, Turn, content_id
from stages.lib.core.sequences import evenly_spaced
from stages.lib.core.tables import read_parquet
from stages.lib.models.folder import WEIGHTS_PATTERN
from stages.lib.params.root import Params
from stages.lib.prompts.few_shot import choose_demonstrations
from stages.lib.prompts.templates import as_turn

OWN = "example"
QUESTION = "What is 125 * 45 + 678? Show your work."
_OWN_PROBLEM = Problem(
    id=content_id(OWN, QUESTION),
    source=OWN,
    question=QUESTION,
    answer="6303",
    kind="number",
    choices=[],
    solution="",
    program="",
    level=None,
    topic="mixed",
    template=OWN,
)


@dataclass(frozen=True, slots=True)
class GradableProblem:
    """A problem whose answer is known, its benchmark, and the token limit of an answer."""

    benchmark: str
    problem: Problem
    max_tokens: int


def available_models(order: Iterable[str]) -> list[str]:
    """Return the names of the models in ``data/models/``, those in ``order`` first."""
    names = {
        folder.name
        for folder in (MODELS.iterdir() if MODELS.is_dir() else ())
        if not folder.name.startswith(".") and any(folder.glob(WEIGHTS_PATTERN))
    }
    first = [name for name in order if name in names]
    return first + sorted(names.difference(first))


def model_folder(name: str) -> Path:
    """Return the folder of a model of ``data/models/``. Raises ValueError if there is none."""
    if name not in available_models(()):
        raise ValueError(f"{MODELS / name}: no model here; `make repro` trains the default ones")
    return MODELS / name


def load_gradable_problems(params: Params) -> dict[str, GradableProblem]:
    """Return the problems that can be graded, by question: the demo's own, then benchmarks'.

    A benchmark that is not prepared yet is left out. Raises ValueError for a damaged file.
    """
    problems = {QUESTION: GradableProblem(OWN, _OWN_PROBLEM, params.demo.max_tokens)}
    for benchmark, limit in params.evaluate.max_tokens.items():
        path = EVAL_PROBLEMS / f"{benchmark}.parquet"
        for problem in read_parquet(path, Problem) if path.exists() else []:
            question = problem.question.strip()
            problems.setdefault(question, GradableProblem(benchmark, problem, limit))
    return problems


def worked_examples(
    reference: GradableProblem | None, prompting: Prompting, shots: int
) -> list[Turn]:
    """Return worked examples for a prompt, of the problem's own source as in evaluation.

    A question whose answer is not known gets examples of several sources. Raises ValueError if
    there are too few, and FileNotFoundError if none are prepared.
    """
    if not shots:
        return []
    problem = reference.problem if reference else _OWN_PROBLEM
    pool = read_parquet(DEMONSTRATIONS, Problem)
    chosen = choose_demonstrations(problem, pool, shots, prompting)
    return [as_turn(example, prompting) for example in chosen]


def example_questions(problems: Mapping[str, GradableProblem], limit: int) -> dict[str, list[str]]:
    """Return up to ``limit`` evenly spaced questions of each benchmark."""
    questions: dict[str, list[str]] = {}
    for question, gradable in problems.items():
        questions.setdefault(gradable.benchmark, []).append(question)
    return {
        benchmark: evenly_spaced(members, min(limit, len(members)))
        for benchmark, members in questions.items()
    }
