"""What reading an untrusted file may cost: `MOST_BYTES` of memory and `MOST_SECONDS` of a processor."""

import json
from typing import NamedTuple

from processes import python

MOST_BYTES, MOST_SECONDS = 2 << 30, 10.0

_SCRIPT = """
import json, resource, sys, time
sys.setrecursionlimit(1000)
def most():
    if sys.platform == "darwin":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # On Linux ru_maxrss counts the process that started this one.
    return int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0]) * 1024
{imports}
before, began, outcome = most(), time.process_time(), "read"
try:
    {call}
except ValueError as error:
    outcome = str(error)
print(json.dumps([outcome, time.process_time() - began, most() - before]))
"""


class Cost(NamedTuple):
    """What a call took."""

    outcome: str
    """`read`, or the text of the ValueError."""
    seconds: float
    """Of all processors together: what others do on the machine does not count."""
    bytes: int
    """Memory beyond what the process had before the call, at most."""

    @property
    def is_bounded(self) -> bool:
        return self.bytes < MOST_BYTES and self.seconds < MOST_SECONDS


def cost(imports: str, call: str) -> Cost:
    """Run `call` after `imports` in a process of its own."""
    script = _SCRIPT.format(imports=imports, call=call)
    return Cost(*json.loads(python("-c", script)))
