"""Damaged files of every format for what reads them: `python -m campaigns.fuzz`."""
