"""The web page: Gradio carries it, the browser's script asks the same API as everyone else."""

from affetto.server.page.route import PageRoute
from affetto.server.page.site import Facts

__all__ = ["Facts", "PageRoute"]
