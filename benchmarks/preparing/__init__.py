"""From photographs to a store."""
