"""Training steps, inference and communication of the network."""
