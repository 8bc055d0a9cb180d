"""Pages that need no network: templates, style, and pictures within them."""

from __future__ import annotations

import base64
from collections.abc import Callable
from importlib import resources

from affetto.errors import MissingExtraError


def template(name: str) -> Callable[..., str]:
    """Fills a page from a template in ``assets``, escaped; raises MissingExtraError where jinja2 is not installed."""
    try:
        import jinja2
    except ModuleNotFoundError as error:
        raise MissingExtraError("jinja2 is not installed", 'pip install "affetto[report]"') from error
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    # A picture as an address that holds it.
    environment.filters["address"] = lambda svg: "data:image/svg+xml;base64," + base64.b64encode(svg).decode()
    return environment.from_string(asset(name)).render


def asset(name: str) -> str:
    """What lies in ``assets``."""
    return (resources.files("affetto.drawing") / "assets" / name).read_text(encoding="utf-8")
