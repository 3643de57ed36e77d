"""What one does with a trained network: test it, classify images with it, look inside it.

Each command is a function that returns plain JSON values, beside a `render` that shows the same result on a terminal:
`evaluate`, `predict`, `similar`, `features`, `compare`, `figures`, `verify` and `describe`. No command imports another;
what they share is in the other modules. `load` (in `trained`) gives the trained network itself.
"""
