"""Stops a stack whose supervisor is gone, however it went (``kill -9`` included).

The supervisor holds the other end of this process's standard input and writes a line ``<process id> <grace seconds>``
for each child it starts, ``<process id> ended`` when one has ended. When that end closes, the children that are still there are stopped,
last started first.
The watchdog inherits the stack's lock, so nobody starts a second stack while the first is still being stopped.
"""

import signal
import sys

from tasks.local_stack.groups import stop_group

ENDED = "ended"


def main() -> int:
    """Wait for the supervisor's end, then stop what it left."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    children: dict[str, float] = {}
    for line in sys.stdin:
        leader, word = line.split()
        children.pop(leader, None)  # a new child may have an ended one's id
        if word != ENDED:
            children[leader] = float(word)
    for leader, grace_seconds in reversed(children.items()):
        stop_group(int(leader), grace_seconds)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
