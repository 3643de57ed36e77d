"""Compiles, caches and opens the C++ of `data/image` and `model/cpu`; `vector.h` is the vector header they share."""
