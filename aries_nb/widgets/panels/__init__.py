"""Panels: live tables and figures drawn by scripts of our own (anywidget); each frame is one message."""

__all__: list[str] = []
