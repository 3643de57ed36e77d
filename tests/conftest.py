"""What all tests share: no window, no network."""

import os

os.environ["MPLBACKEND"] = "Agg"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_OFFLINE"] = "1"
for cache in ("FX_GRAPH_CACHE", "AUTOGRAD_CACHE"):  # they do not see the gradients of our operators change
    os.environ[f"TORCHINDUCTOR_{cache}"] = "0"
