"""The network on CUDA: Triton kernels for what memory bandwidth limits, and training and inference plans around them."""
