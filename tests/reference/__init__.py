"""The 2012 network once more, in plain float64 NumPy with gradients derived by hand.

It shares nothing with the package, so that agreement between the two means something. Simple before fast: for
networks a few channels wide.
"""
