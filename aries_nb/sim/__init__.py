"""A simulated market, and honest local servers of the brokers' own protocols."""

from aries_nb.sim.alor.settings import AlorOptions
from aries_nb.sim.settings import SimOptions, Statistics
from aries_nb.sim.simulator import Simulator, serve

__all__ = ["AlorOptions", "SimOptions", "Simulator", "Statistics", "serve"]
