"""The documentation site: `make docs` builds it into build/docs, without a network."""

import os
import shutil
from importlib.metadata import version as installed_version
from pathlib import Path

HERE = Path(__file__).parent
PAGES_OF_NOTEBOOKS = HERE / "notebooks"  # copies, which git ignores: Sphinx reads nothing outside its folder

project = "aries_nb"
author = "the authors of aries_nb"
copyright = author  # noqa: A001 - Sphinx's name
release = version = installed_version("aries_nb")

extensions = ["myst_nb", "sphinx.ext.autodoc"]
suppress_warnings = ["mystnb.unknown_mime_type"]  # the state of widgets, beside the picture that is shown
nitpicky = False

# Markdown: links between pages and to headings are checked; a missing one is a warning, and warnings fail the build.
myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence"]

# Every notebook and the tour are executed on the simulated market; a cell that raises fails the build.
nb_execution_mode = "force"
KERNELS = HERE.parent / "build" / "ipython"  # instead of the user's own settings and startup files
(KERNELS / "profile_default").mkdir(parents=True, exist_ok=True)
# Without a warning of each kernel that its sockets, which are of this machine alone, are not encrypted.
(KERNELS / "profile_default" / "ipython_kernel_config.py").write_text("c.IPKernelApp.log_level = 'ERROR'\n", "utf-8")
os.environ["IPYTHONDIR"] = str(KERNELS)
nb_execution_timeout = 180
nb_execution_raise_on_error = True
nb_merge_streams = True
nb_ipywidgets_js = {}  # no script from elsewhere
# A page has no kernel: it shows the picture of a view, not the widget.
nb_mime_priority_overrides = [
    ("html", "application/vnd.jupyter.widget-view+json", None),
    ("html", "text/html", 0),
]

# Docstrings are plain text with code in single backquotes.
default_role = "code"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 100

html_theme = "pydata_sphinx_theme"
html_title = "aries_nb"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_copyright = False
html_show_sourcelink = False
html_theme_options = {
    "header_links_before_dropdown": 6,
    "navbar_end": ["theme-switcher"],
    "show_prev_next": True,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": [],
    "footer_end": [],
}

PAGES_OF_NOTEBOOKS.mkdir(exist_ok=True)
for old in PAGES_OF_NOTEBOOKS.glob("*.ipynb"):
    old.unlink()
for notebook in sorted((HERE.parent / "notebooks").glob("*.ipynb")):
    shutil.copy(notebook, PAGES_OF_NOTEBOOKS)
