"""The blocks of a study: what one seed's runs answered, in a small file that git keeps."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import StringConstraints, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from stages.lib.core.files import read_json, write_json
from stages.lib.core.schema import CHECKED, EvalRecord, Problem, content_id
from stages.lib.core.tables import read_parquet
from stages.lib.core.validation import describe_error

# Of a single problem in a cell nothing could be said about its variance.
Digits = Annotated[str, StringConstraints(pattern="^[01]{2,}$")]

Outcomes = dict[str, dict[str, Digits]]
"""By system and cell, a 1 or a 0 for each problem, in the order of their ids."""


@dataclass(frozen=True, config=CHECKED)
class Block:
    """The runs of one seed.

    ``code`` identifies the code and the parameters but for the seed, ``registration`` the
    registered text, and ``problems`` the problems: they are the same in all blocks of a study.
    ``commit`` and ``cpu`` say where the runs come from. ``reports`` has what each training
    reported, and its seconds. ``examples`` has how many examples of each cell it used; blocks that
    ran before these were kept have none.
    """

    seed: int
    commit: str
    code: str
    registration: str
    cpu: str
    problems: str
    outcomes: Outcomes
    reports: dict[str, dict[str, Any]]
    examples: dict[str, dict[str, int]] = field(default_factory=dict)


def outcomes_of(
    records: Sequence[EvalRecord], source_of: Mapping[str, str]
) -> tuple[Outcomes, str]:
    """Return the outcomes of each system, and an id of the problems that they answered.

    ``source_of`` has the source of each problem; records of other problems are left out.
    Raises ValueError if the systems did not answer the same problems.
    """
    grades: dict[str, dict[str, dict[str, str]]] = defaultdict(lambda: defaultdict(dict))
    for row in records:
        if row.problem_id in source_of:
            cell = f"{source_of[row.problem_id]}/{row.prompting}"
            grades[row.system][cell][row.problem_id] = str(int(row.status == "correct"))
    answered = {
        system: [f"{cell} {key}" for cell in sorted(cells) for key in sorted(cells[cell])]
        for system, cells in grades.items()
    }
    first = next(iter(answered), "")
    for system, problems in answered.items():
        if problems != answered[first]:
            raise ValueError(f"{system}: {len(problems)} answers: expected those of {first}")
    outcomes = {
        system: {
            cell: "".join(cells[cell][key] for key in sorted(cells[cell])) for cell in sorted(cells)
        }
        for system, cells in grades.items()
    }
    return outcomes, content_id(*answered.get(first, []))


def read_outcomes(grades: Path, problems: Path) -> tuple[Outcomes, str]:
    """Return ``outcomes_of`` the grades in a file, for the benchmark in another."""
    source_of = {row.id: row.source for row in read_parquet(problems, Problem)}
    return outcomes_of(read_parquet(grades, EvalRecord), source_of)


def write_block(folder: Path, block: Block) -> None:
    """Write a block into its file."""
    write_json(folder / f"{block.seed}.json", asdict(block))


def read_blocks(folder: Path, seeds: Sequence[int]) -> list[Block]:
    """Read the blocks that there are, in the order of ``seeds``.

    Raises ValueError naming the file for one that is not a block, for one with another seed than
    its name, and for one of other code, another registered text or other problems than the first.
    """
    blocks: list[Block] = []
    for seed in seeds:
        path = folder / f"{seed}.json"
        if not path.exists():
            continue
        raw = read_json(path)
        try:
            blocks.append(TypeAdapter(Block).validate_json(path.read_bytes()))
        except ValidationError as error:
            raise ValueError(f"{path}: {describe_error(error, raw)}") from error
        if blocks[-1].seed != seed:
            raise ValueError(f"{path}: seed: {blocks[-1].seed}: expected {seed}, as in its name")
        _check_alike(path, blocks[-1], blocks[0])
    return blocks


def _check_alike(path: Path, block: Block, first: Block) -> None:
    """Raise ValueError unless a block has the code, text, problems and answers of the first."""
    for name in ("code", "registration", "problems"):
        value, expected = getattr(block, name), getattr(first, name)
        if value != expected:
            raise ValueError(
                f"{path}: {name}: {value}: expected {expected}, as in {first.seed}.json"
            )
    expected = next(iter(first.outcomes.values()), {})
    for system, cells in block.outcomes.items():
        for cell in sorted({*expected, *cells}):
            count, expected_count = len(cells.get(cell, "")), len(expected.get(cell, ""))
            if count != expected_count:
                raise ValueError(
                    f"{path}: outcomes.{system}.{cell}: {count} problems: expected "
                    f"{expected_count}, as in {first.seed}.json"
                )
