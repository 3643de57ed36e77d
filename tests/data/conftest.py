"""Lets the tests here import `miniature`, the builders of miniature data sets."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
