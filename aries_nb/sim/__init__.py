"""A simulated market, and local servers that speak each broker's protocol over real sockets."""

from aries_nb.sim.alor.settings import AlorOptions
from aries_nb.sim.control import Control
from aries_nb.sim.market.troubles import TROUBLES, read_troubles
from aries_nb.sim.settings import SimOptions, Statistics
from aries_nb.sim.simulator import Simulator, serve

__all__ = ["TROUBLES", "AlorOptions", "Control", "SimOptions", "Simulator", "Statistics", "read_troubles", "serve"]
