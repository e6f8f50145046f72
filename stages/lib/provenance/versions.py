"""What produced the results: the processor, and the versions of Python and of packages."""

import platform
from collections.abc import Sequence
from importlib.metadata import packages_distributions, version
from pathlib import Path


def versions(packages: Sequence[str]) -> list[tuple[str, str]]:
    """Return (distribution, version) of Python and of packages given by their import names."""
    distributions = packages_distributions()
    names = sorted({name for package in packages for name in distributions[package]})
    return [("python", platform.python_version()), *((name, version(name)) for name in names)]


def cpu_name() -> str:
    """Return the processor's name, and whether it has AVX-512, which decides what it rounds to."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    parts = [line.partition(":") for line in lines]
    pairs = [(key.strip(), value.strip()) for key, _, value in parts]
    name = next((value for key, value in pairs if key == "model name"), platform.machine())
    flags = next((value.split() for key, value in pairs if key == "flags"), [])
    return f"{name} (AVX-512)" if "avx512f" in flags else name
