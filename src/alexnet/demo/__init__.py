"""`alexnet demo`: synthetic images, a small AlexNet trained on them, a linear baseline, and a report."""
