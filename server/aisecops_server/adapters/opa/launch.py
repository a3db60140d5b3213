"""Starts one child confined, then becomes it. Run as a script in a fresh interpreter, never imported at run time.

It exists because code between fork and exec must not run in the control plane's own, threaded process. It may
use the standard library only. Order: network namespace first (it clears the next), then death with the parent,
no new privileges, limits, exec with exactly the environment that it was told.

Argument: one JSON object {argv, environment, parent, memory_bytes, niceness, network}. Exit status 126: not
confined as wanted; 127: not started.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import signal
import sys
from pathlib import Path

CONFINEMENT_FAILED = 126
NOT_STARTED = 127
_NEW_USER, _NEW_NETWORK = 0x10000000, 0x40000000
_SET_DEATH_SIGNAL, _SET_NO_NEW_PRIVILEGES = 1, 38


def main(order: str) -> int:
    """Confine this process as ``order`` says and replace it by the child; returns only when that fails."""
    wanted = json.loads(order)
    if wanted["network"] == "none" and not leave_network():
        return CONFINEMENT_FAILED
    if sys.platform == "linux":
        library = ctypes.CDLL(None, use_errno=True)
        library.prctl(_SET_DEATH_SIGNAL, int(signal.SIGKILL), 0, 0, 0)
        library.prctl(_SET_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
        if os.getppid() != wanted["parent"]:
            return CONFINEMENT_FAILED  # the parent died before the signal was armed
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if wanted["memory_bytes"]:
        resource.setrlimit(resource.RLIMIT_DATA, (wanted["memory_bytes"], wanted["memory_bytes"]))
    with contextlib.suppress(OSError):
        os.nice(wanted.get("niceness", 0))
        os.execve(wanted["argv"][0], wanted["argv"], wanted["environment"])  # noqa: S606 - no shell is the point
    return NOT_STARTED


def leave_network() -> bool:
    """Move to an empty network namespace; return whether that worked. Unix sockets by path go on working."""
    if sys.platform != "linux":
        return False
    library = ctypes.CDLL(None, use_errno=True)
    if library.unshare(_NEW_NETWORK) == 0:
        return True
    user, group = os.getuid(), os.getgid()
    if library.unshare(_NEW_USER | _NEW_NETWORK) != 0:
        return False
    with contextlib.suppress(OSError):
        Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
    Path("/proc/self/uid_map").write_text(f"{user} {user} 1", encoding="ascii")
    Path("/proc/self/gid_map").write_text(f"{group} {group} 1", encoding="ascii")
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
