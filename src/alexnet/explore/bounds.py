"""What one request may cost, and what all may cost together."""

LARGEST_UPLOAD = 20_000_000
"""Bytes of an image that is sent."""
BYTES_IN_FLIGHT = 120_000_000
"""Bytes of all images that are being received."""
DISCARDED = 60_000_000
"""Bytes that are read and forgotten of an image that is too large, so that its sender sees the answer."""
SECONDS_FOR_UPLOAD = 20.0
"""For an image to arrive."""
SECONDS_BETWEEN_PARTS = 5.0
"""For the next part of an image to arrive."""
SECONDS_FOR_HEADERS = 10.0
"""For a request to begin, once a connection is open, and for its headers to arrive."""
CONNECTIONS = 256
"""Open at a time."""
WAITING = 96
"""Requests that may wait for the network."""
TOGETHER = 8
"""Images that wait for their labels and are answered in one pass."""
LABELS_KEPT = 512
"""Answers of a network: the labels of an image and of its views."""
LARGE_PIXELS = 25_000_000
"""Images with more pixels are decoded in a lane of their own, one at a time."""
UPLOADS_KEPT = 256
"""Images that were sent; the one that was not asked for the longest goes first."""
ACTIVATIONS_KEPT = 64_000_000
"""Bytes of activations of the last images."""
LONGEST_QUERY = 2_000
"""Characters after the question mark of an address."""
