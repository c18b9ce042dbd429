"""What a user sees, drawn from frames it is handed; the only room that knows plotly and ipywidgets."""

from aries_nb.widgets.blotter import Blotter
from aries_nb.widgets.board import Board
from aries_nb.widgets.candles import BarCandles, Candles
from aries_nb.widgets.card import Card
from aries_nb.widgets.chart import Chart
from aries_nb.widgets.dashboard import Dashboard
from aries_nb.widgets.depth import DepthChart
from aries_nb.widgets.equity import EquityChart
from aries_nb.widgets.ladder import Ladder
from aries_nb.widgets.painter import Painter, PainterStatistics, get_painter
from aries_nb.widgets.progress import Progress
from aries_nb.widgets.source import (
    BarsSource,
    BoardSource,
    BookSource,
    CardSource,
    EquitySource,
    RowsSource,
    TableSource,
)
from aries_nb.widgets.strip import Strip
from aries_nb.widgets.view import View

__all__ = [
    "BarCandles",
    "BarsSource",
    "Blotter",
    "Board",
    "BoardSource",
    "BookSource",
    "Candles",
    "Card",
    "CardSource",
    "Chart",
    "Dashboard",
    "DepthChart",
    "EquityChart",
    "EquitySource",
    "Ladder",
    "Painter",
    "PainterStatistics",
    "Progress",
    "RowsSource",
    "Strip",
    "TableSource",
    "View",
    "get_painter",
]
