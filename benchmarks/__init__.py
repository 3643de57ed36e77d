"""Measured comparisons with other software; README.md lists them."""
