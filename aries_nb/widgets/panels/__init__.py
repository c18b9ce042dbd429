"""Panels: live tables and figures drawn by scripts of our own (anywidget), one message a frame."""

__all__: list[str] = []
