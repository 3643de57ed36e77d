"""The 2012 network a second time, in plain float64 NumPy, with gradients derived by hand.

It shares no code with the package, so agreement between the two is evidence. It is simple rather than fast, for
networks a few channels wide.
"""
