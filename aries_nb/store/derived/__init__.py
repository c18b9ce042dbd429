"""What is made of the rows of stores: one column a symbol, Arrow tables."""

__all__: list[str] = []
