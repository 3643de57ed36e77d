"""`alexnet demo`: the synthetic images, the linear baseline and the report."""
