"""Which stages the overview of a network has columns for; `static/view_network.js` has the same list."""

COLUMNS = ("conv", "local", "norm", "spatial norm", "pool", "fc")
"""Kinds of stages."""
