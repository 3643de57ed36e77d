"""Files on disk: written whole or not at all, locked, read by position, with checksums. Knows nothing of AlexNet."""
