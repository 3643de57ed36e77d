"""To and from other programs' formats. Each is compared with our own network before it is called written or read."""
