"""Charts: live Plotly figures over time, price or strike."""

__all__: list[str] = []
