"""What stores were at past instants, as far as memory reaches back."""

__all__: list[str] = []
