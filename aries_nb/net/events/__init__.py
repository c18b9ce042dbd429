"""The events of a feed in their order: their numbers and times, what is due between them, and playing them back."""

__all__: list[str] = []
