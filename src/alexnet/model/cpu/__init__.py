"""The network's layers by C++ kernels, on a CPU."""
