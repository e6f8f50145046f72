"""Format the estimated costs of a composition, and where its sources come from, as text."""

from collections.abc import Iterator, Sequence

from huggingface_hub import get_token

from stages.lib.costs.flops import RATES, training_hours
from stages.lib.costs.forecast import StageCost, sum_costs
from stages.lib.costs.sources import count_rows
from stages.lib.params.root import Params
from stages.lib.provenance.catalog import Shape
from stages.lib.provenance.origins import Availability, find_facts

COST_COLUMNS = ("stage", "item", "M tokens", "GPUs", "GPU GiB", "disk GB", "scratch GB", "PFLOP")
SOURCE_COLUMNS = ("source", "available", "gated", "license", "where")


def format_report(
    params: Params,
    sources: Sequence[Availability],
    shape: Shape | None,
    costs: Sequence[StageCost],
) -> str:
    """Return the table of costs, if there are any, the table of sources, and notes on both."""
    rows = [*costs, sum_costs(costs)] if costs else []
    tables = [_align([COST_COLUMNS, *map(_cost_row, rows)], n_left=2)] if rows else []
    tables.append(_align([SOURCE_COLUMNS, *map(_source_row, sources)], n_left=len(SOURCE_COLUMNS)))
    notes = "\n".join(f"- {note}" for note in [*_notes(params, sources, shape), *_hours(costs)])
    return "\n\n".join([*tables, notes])


def _cost_row(cost: StageCost) -> tuple[str, ...]:
    return (
        cost.stage,
        cost.item,
        f"{cost.tokens / 1e6:.2f}",
        str(cost.gpus),
        f"{cost.gpu_gib:.1f}",
        f"{cost.disk_bytes / 1e9:.2f}",
        f"{cost.scratch_bytes / 1e9:.2f}",
        f"{cost.flops / 1e15:.3g}",
    )


def _source_row(source: Availability) -> tuple[str, ...]:
    gated = "unknown" if source.gated is None else "yes" if source.gated else "no"
    available = "yes" if source.available else "no"
    return (source.name, available, gated, source.license, source.where)


def _align(rows: Sequence[Sequence[str]], *, n_left: int) -> str:
    """Pad cells to columns: the first ``n_left`` flush left, the others flush right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if index < n_left else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def _notes(params: Params, sources: Sequence[Availability], shape: Shape | None) -> Iterator[str]:
    if shape is None:
        yield (
            f"model.base: {sources[0].where}: no costs, as its size is unknown: it is neither in "
            "stages/lib/provenance/catalog.py nor on this machine"
        )
    else:
        yield f"{shape.parameters():,} parameters; stages/lib/costs/formulas.py has the formulas"
        yield "every answer is assumed to reach its token limit; GPU GiB are on each of the GPUs"
        launch = params.train.launch
        if launch is not None:
            yield f"train: GiB on each of {launch.processes} GPUs ({launch.strategy})"
    rungs = len(params.prepare.rungs)
    declared = [*params.prepare.train, *params.prepare.benchmarks.values()]
    # Models and adapters come first.
    labels = [source.name for source in sources[-len(declared) :]]
    named = list(zip(labels, declared, strict=True))
    assumed = [name for name, source in named if not find_facts(source).counted]
    if assumed:
        yield f"tokens per row are assumed, not counted: {', '.join(assumed)}"
    uncounted = [name for name, source in named if not count_rows(source, rungs)]
    if uncounted:
        yield f"the number of rows is unknown and counts as 0: {', '.join(uncounted)}"
    yield from _download_notes(sources)


def _hours(costs: Sequence[StageCost]) -> Iterator[str]:
    """Yield the hours of all trainings, one after the other, for each device of a known rate."""
    trainings = [cost for cost in costs if cost.stage in ("train", "replay")]
    for device, rate in RATES.items() if trainings else ():
        hours = sum(training_hours(cost.flops, device, max(cost.gpus, 1)) for cost in trainings)
        most = max(cost.gpus for cost in trainings)
        yield f"training: {hours:.3g} hours on {most} {device}, at the rate of {rate.source}"


def _download_notes(sources: Sequence[Availability]) -> Iterator[str]:
    commands: dict[str, list[str]] = {}  # one may bring several sources
    for source in sources:
        if source.available:
            continue
        if source.files is None:
            commands.setdefault(source.command, []).append(source.name)
            continue
        if source.gated and get_token() is None:
            yield (
                f"{source.name}: accept its terms at "
                f"https://huggingface.co/{source.files.repository}, then `hf auth login`"
            )
        yield (
            f"{source.name}: not here; a run with network access downloads it, or: {source.command}"
        )
    for command, names in commands.items():
        yield f"{', '.join(names)}: not here, and no run downloads it: {command}"
