"""The sweeps of conf/sweep, composed once."""

from functools import cache

from tools.sweep.spec import load_sweep

committed = cache(load_sweep)
