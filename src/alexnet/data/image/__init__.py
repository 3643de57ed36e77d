"""Images: `decode` (the bytes of a file to pixels), `resize` (to the network's square), `encode` (to a store's bytes).

`pixels` opens the C++ library behind them: `jpeg.h` decodes baseline JPEG, `bicubic.h` resamples.
"""
