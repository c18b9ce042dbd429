"""Panels: live tables and figures drawn by scripts of our own (anywidget).

Each update is one message to the browser.
"""

__all__: list[str] = []
