"""The network: layers, response normalisation, pooling and initial weights. Knows nothing of data or training."""
