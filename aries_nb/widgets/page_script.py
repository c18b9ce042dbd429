"""What a page gets once for a kind of models, however many of them it has: their script and their style.

The state of each model holds a stub of 400 bytes, which takes the script from the page, where it has a versioned name:
two versions of the package in one page do not share it. A model without a view brings script and style. It is opened
before the first model of the kind and stays open, so each answer to a page that is opened has it once, whichever views
were closed. The others refer to it, so a saved notebook has it too.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import re
import threading
from importlib import resources
from typing import Any

import anywidget
import ipywidgets
import traitlets

__all__ = ["PageScript", "PageScriptModel", "static_text"]

# Comments and indents are for readers of the source.
COMMENTS = re.compile(r"^ *(//.*)?\n|^ +", re.MULTILINE)
# A module must export something, also one that brings a script alone.
NOTHING = "export default {};\n"


def static_text(*names: str) -> str:
    """Return the files `names` of the folder static/, joined as one text, without comments and indents."""
    folder = resources.files("aries_nb.widgets") / "static"
    return COMMENTS.sub("", "".join((folder / name).read_text("utf-8") for name in names))


class PageScriptModel(ipywidgets.Widget):  # type: ignore[misc]  # ipywidgets has no types
    """The model that brings a page the script and the style of a kind of models; it has no view.

    The browser takes it for one of anywidget's, whose widgets have a layout, a model more, which this one needs not.

    Traits: `_esm`, the script; `_css`, the style; `_anywidget_id`, the id under which anywidget keeps the style.
    """

    _model_name = traitlets.Unicode("AnyModel").tag(sync=True)
    _model_module = traitlets.Unicode("anywidget").tag(sync=True)
    _model_module_version = traitlets.Unicode(anywidget.AnyWidget._model_module_version.default_value).tag(sync=True)  # noqa: SLF001
    _esm = traitlets.Unicode("", help="The script; default empty.").tag(sync=True)
    _css = traitlets.Unicode("", help="The style; default empty.").tag(sync=True)
    _anywidget_id = traitlets.Unicode("", help="The id of the style; default empty.").tag(sync=True)


class PageScript:
    """The script and the style of a kind of models, and the model that brings them. Any thread may use it.

    `script` is a module whose default export is a function that returns what anywidget calls, `style` a style sheet.
    `name` is their versioned name in the page; `stub` is the `_esm` of a model whose page gets the script from the
    model `model`, `whole` that of one that has the script itself and needs the style too.
    """

    def __init__(self, script: str, style: str) -> None:
        digest = hashlib.sha256(f"{script}\n{style}".encode()).hexdigest()[:16]
        self.name = f"aries_nb.script.{digest}"
        self.style = style
        packed = base64.b64encode(gzip.compress(script.encode(), mtime=0)).decode()
        head = static_text("stub.js").replace("__NAME__", self.name)
        brought = head + static_text("bring.js").replace("__PACKED__", packed)
        self.stub = head + static_text("take.js")
        self.whole = brought + static_text("take.js")
        self._brought = brought + NOTHING
        self._lock = threading.Lock()
        self._model: Any = None  # ipywidgets has no types

    def model(self) -> PageScriptModel:
        """Return the open model that brings the script: made by the first call, or if user or front end closed it."""
        with self._lock:
            comm = getattr(self._model, "comm", None)
            if comm is None or getattr(comm, "_closed", False) is True:
                # The id of an element, here of the style, is a name in the page too: not that of the script.
                name = f"{self.name}.style"
                self._model = PageScriptModel(_esm=self._brought, _css=self.style, _anywidget_id=name)
            model: PageScriptModel = self._model
            return model
