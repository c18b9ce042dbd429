"""Live views of data in notebooks. Only this folder imports plotly, ipywidgets and anywidget."""

from aries_nb.widgets.charts.candles import BarCandles, Candles
from aries_nb.widgets.charts.chart import Chart
from aries_nb.widgets.charts.depth import DepthChart
from aries_nb.widgets.charts.equity import EquityChart
from aries_nb.widgets.charts.light import LightCandles, LightChart, LightEquity, LightLines
from aries_nb.widgets.painter import Painter, PainterStatistics, get_painter
from aries_nb.widgets.panels.blotter import Blotter, Strip
from aries_nb.widgets.panels.board import Board
from aries_nb.widgets.panels.card import Card
from aries_nb.widgets.panels.dashboard import Dashboard
from aries_nb.widgets.panels.desk import DeskBox, SheetSource
from aries_nb.widgets.panels.ladder import Ladder
from aries_nb.widgets.panels.playback_bar import PlaybackBar
from aries_nb.widgets.panels.tape import Tape
from aries_nb.widgets.panels.trouble_buttons import TroubleButtons
from aries_nb.widgets.progress import Progress
from aries_nb.widgets.sources import (
    BarsSource,
    BoardSource,
    BookSource,
    CardSource,
    DeskSource,
    EquitySource,
    PlaybackSource,
    PrintsSource,
    RowsSource,
    TableSource,
)
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
    "DeskBox",
    "DeskSource",
    "EquityChart",
    "EquitySource",
    "Ladder",
    "LightCandles",
    "LightChart",
    "LightEquity",
    "LightLines",
    "Painter",
    "PainterStatistics",
    "PlaybackBar",
    "PlaybackSource",
    "PrintsSource",
    "Progress",
    "RowsSource",
    "SheetSource",
    "Strip",
    "TableSource",
    "Tape",
    "TroubleButtons",
    "View",
    "get_painter",
]
