"""Run every benchmark and write the table in the README.

python -m benchmarks
"""

import json

from benchmarks.report import README, run_module, write_block

NAMES = (
    "sampling",
    "training",
    "padded",
    "quantization",
    "programs",
    "overlap",
    "store",
    "pipeline",
    "default_run",
)


def run(name: str) -> dict[str, object]:
    """Run a benchmark, print its line and return it."""
    result = run_module(f"benchmarks.{name}")
    print(json.dumps(result), flush=True)
    return result


def table(results: list[dict[str, object]]) -> str:
    """Return the results as a Markdown table."""
    rows = [
        f"| {result['name']} | {result['ours']} | {result['peer']} ({result['against']}) "
        f"| {result['ratio']} | {result['unit']} |"
        for result in results
    ]
    head = ["| what | ours | peer | times better | unit |", "|---|---|---|---|---|"]
    return "\n".join([*head, *rows, "", f"Measured on {results[0]['machine']}."])


def main() -> None:
    """Run all benchmarks and write the table."""
    write_block(README, "benchmarks", table([run(name) for name in NAMES]))


if __name__ == "__main__":
    main()
