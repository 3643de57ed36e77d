"""`python -m alexnet` is the same as `alexnet`."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
