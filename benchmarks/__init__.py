"""Measured comparisons with other software, a folder per subject; README.md lists the scripts."""
