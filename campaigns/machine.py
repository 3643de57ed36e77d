"""What a campaign ran on."""

import os
import platform


def describe_machine() -> str:
    return f"{platform.machine()}, {os.cpu_count()} processors, Python {platform.python_version()}"
