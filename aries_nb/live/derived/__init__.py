"""Derived frames: live frames that are computed from others, and the thread that keeps them current."""

__all__: list[str] = []
