"""Files on disk: atomic writes, locks, reads by position, checksums, arrays. Knows nothing of AlexNet."""
