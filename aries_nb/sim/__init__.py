"""A simulated market, and an honest local server of the Aries market endpoint."""

from aries_nb.sim.server import serve
from aries_nb.sim.settings import SimOptions, Statistics
from aries_nb.sim.simulator import Simulator

__all__ = ["SimOptions", "Simulator", "Statistics", "serve"]
