"""How the costs of a composition, and where its sources come from, are shown in a terminal."""

from collections.abc import Iterator, Sequence

from huggingface_hub import get_token

from stages.lib.costs.forecast import StageCost, rows_of, total
from stages.lib.params.root import Params
from stages.lib.provenance.catalog import Shape
from stages.lib.provenance.origins import Availability, facts_of

HEAD = (
    "stage",
    "item",
    "M tokens",
    "GPUs",
    "GPU GiB",
    "disk GB",
    "passing GB",
    "GPU hours",
    "hours",
)
SOURCES = ("source", "here", "gated", "license", "where")


def show(
    wanted: Params, found: Sequence[Availability], shape: Shape | None, lines: Sequence[StageCost]
) -> str:
    """Return the table of costs, that of the sources, and what is to be known of them."""
    parts = [_aligned([HEAD, *map(_costs, [*lines, total(lines)])], left=2)] if lines else []
    parts.append(_aligned([SOURCES, *map(_source, found)], left=len(SOURCES)))
    parts.append("\n".join(f"- {note}" for note in _notes(wanted, found, shape)))
    return "\n\n".join(parts)


def _costs(line: StageCost) -> tuple[str, ...]:
    return (
        line.stage,
        line.item,
        f"{line.tokens / 1e6:.2f}",
        str(line.gpus),
        f"{line.gpu_gib:.1f}",
        f"{line.disk / 1e9:.2f}",
        f"{line.passing / 1e9:.2f}",
        f"{line.hours:.3f}",
        f"{line.clock:.3f}",
    )


def _source(one: Availability) -> tuple[str, ...]:
    gated = "unknown" if one.gated is None else "yes" if one.gated else "no"
    return (one.name, "yes" if one.there else "no", gated, one.license, one.where)


def _aligned(rows: Sequence[Sequence[str]], *, left: int) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if place < left else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def _notes(wanted: Params, found: Sequence[Availability], shape: Shape | None) -> Iterator[str]:
    if shape is None:
        yield (
            f"model.base: {found[0].where}: its size is unknown, as it is neither listed in "
            "stages/lib/catalog.py nor here: no costs"
        )
    else:
        yield f"{shape.parameters():,} parameters; stages/lib/costs.py has the formulas"
        yield (
            "hours of one A100 80 GB at 40% of 312 TFLOP/s, or 60% of 2.0 TB/s; answers as long "
            "as their limit"
        )
        yield "GPU GiB: of each of the GPUs; GPU hours: of all together; hours: by the clock"
        if wanted.train.launch is not None:
            count, strategy = wanted.train.processes(), wanted.train.launch.strategy
            yield f"train: GiB of each of {count} GPUs ({strategy})"
    rungs = len(wanted.prepare.rungs)
    sources = [*wanted.prepare.train, *wanted.prepare.benchmarks.values()]
    named = list(zip([one.name for one in found[1:]], sources, strict=True))
    assumed = [name for name, one in named if not facts_of(one).counted]
    if assumed:
        yield f"tokens per row are assumed, not counted: {', '.join(assumed)}"
    uncounted = [name for name, one in named if not rows_of(one, rungs)]
    if uncounted:
        yield f"rows are unknown and count as none: {', '.join(uncounted)}"
    yield from _to_do(found)


def _to_do(found: Sequence[Availability]) -> Iterator[str]:
    for one in found:
        if one.files is None or one.there:
            continue
        if one.gated and get_token() is None:
            yield (
                f"{one.name}: accept its terms at https://huggingface.co/{one.files.repository}, "
                "then `hf auth login`"
            )
        yield f"{one.name}: with network access it is fetched, or: {one.files.command()}"
