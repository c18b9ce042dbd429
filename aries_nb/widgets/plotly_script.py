"""Plotly's script as a page gets it: a small one with the traces of our charts, or the whole one for other figures.

The whole one is that of the installed plotly, 5 MB, which takes a browser 0.75 s. The small one, 0.2 s, is the bundle
of plotly.js for finance, 1.3 MB, which the package brings; the display of FigureWidgets, which that lacks, is taken
from the whole one.
"""

from __future__ import annotations

import functools
import gzip
import re
from importlib import resources
from typing import TYPE_CHECKING

import plotly
from plotly.offline import get_plotlyjs_version

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["SMALL_KEY", "SMALL_TRACES", "WHOLE_KEY", "key_for", "plotly_script", "small_version"]

# The kinds of traces that the bundle for finance draws; its layouts lack nothing but the subplots of other traces.
SMALL_TRACES = (
    *("bar", "candlestick", "funnel", "funnelarea", "histogram"),
    *("indicator", "ohlc", "pie", "scatter", "waterfall"),
)
SMALL_PATH = resources.files("aries_nb.widgets") / "static" / "plotly" / "plotly-finance.min.js"
WHOLE_PATH = resources.files(plotly) / "package_data" / "widgetbundle.js"
VERSION = re.compile(r"plotly\.js \(finance - minified\) v([\d.]+)")
# Of plotly's bundle of plotly.js and its widget: where the module with plotly.js begins, and where it ends.
BEGIN = re.compile(r"\(\([\w$]+,[\w$]+\)=>\{(?=\(function\()")
END = re.compile(r"window\.Plotly=([\w$]+),\1\}\)(?=\}\);)")


def small_version() -> str:
    """Return the version of plotly.js that the small script is of."""
    with SMALL_PATH.open("rb") as file:
        found = VERSION.search(file.read(200).decode())
    return found[1] if found else ""


def _is_small_usable() -> bool:
    """Whether the small script knows every property of the installed plotly: its version is the same but for fixes."""
    return str(get_plotlyjs_version()).split(".")[:2] == small_version().split(".")[:2]


# The scripts' names in a page; where the small one cannot be used, both are the whole one.
WHOLE_KEY = f"aries_nb.plotly.{plotly.__version__}"
SMALL_KEY = f"{WHOLE_KEY}.small" if _is_small_usable() else WHOLE_KEY


def key_for(kinds: Iterable[str]) -> str:
    """Return the name of the script that draws traces of these kinds, such as "scatter"."""
    return SMALL_KEY if set(kinds) <= set(SMALL_TRACES) else WHOLE_KEY


@functools.cache
def plotly_script(key: str = WHOLE_KEY) -> bytes:
    """Return the script for widgets with the name `key`, gzipped.

    The whole one by the fastest level, which leaves a third of its size.
    """
    whole = WHOLE_PATH.read_text("utf-8")
    if key == WHOLE_KEY:
        return gzip.compress(whole.encode(), 1, mtime=0)
    begin = BEGIN.search(whole)
    end = END.search(whole, begin.end()) if begin else None
    if not begin or not end:
        return plotly_script(WHOLE_KEY)
    module = SMALL_PATH.read_text("utf-8")
    script = f"{whole[: begin.start()]}((exports,module)=>{{{module}{whole[end.end() :]}"
    return gzip.compress(script.encode(), mtime=0, compresslevel=6)
