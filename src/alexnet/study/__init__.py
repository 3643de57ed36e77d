"""What one does with a trained network: test it, ask it, look inside it.

Every command is a function that returns plain JSON values, beside a `render` that makes the same result
readable on a terminal. `load` (in `trained`) gives the trained network itself.
"""
