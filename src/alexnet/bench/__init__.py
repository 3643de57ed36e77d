"""How fast this machine does what the commands do, and how fast it could: `alexnet bench`."""
