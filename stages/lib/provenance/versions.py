"""Versions of Python and of the packages that produced the results."""

import platform
from collections.abc import Sequence
from importlib.metadata import packages_distributions, version


def versions(packages: Sequence[str]) -> list[tuple[str, str]]:
    """Return (distribution, version) of Python and of packages given by their import names."""
    distributions = packages_distributions()
    names = sorted({name for package in packages for name in distributions[package]})
    return [("python", platform.python_version()), *((name, version(name)) for name in names)]
