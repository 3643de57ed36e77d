"""`alexnet bench`: throughput of the commands, and what fraction of this machine's limit it is."""
