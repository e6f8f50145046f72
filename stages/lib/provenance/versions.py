"""Which releases results were made with."""

import platform
from collections.abc import Sequence
from importlib.metadata import packages_distributions, version


def versions(packages: Sequence[str]) -> list[tuple[str, str]]:
    """Return the distribution and version of Python and of packages, named as imported."""
    distributions = packages_distributions()
    names = sorted({name for package in packages for name in distributions[package]})
    return [("python", platform.python_version()), *((name, version(name)) for name in names)]
