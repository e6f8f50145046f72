"""Fill the templates of this package."""

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined


def render_template(name: str, values: dict[str, Any], *, escape: bool) -> str:
    """Return a template filled with values, escaped for HTML if ``escape``."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=escape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name).render(values)
