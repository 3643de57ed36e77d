"""`python -m campaigns.fuzz`."""

import sys

from campaigns.fuzz.campaign import main

if __name__ == "__main__":  # the processes of the campaign import this file too
    sys.exit(main())
