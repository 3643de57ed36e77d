"""The store: its format on disk, written and read."""
