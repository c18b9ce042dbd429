"""Kernels of this Python for tests, over sockets in the file system.

Over TCP a client picks five free ports, and the kernel binds them a second later: meanwhile another test may have got
one of them. The client then speaks with a stranger, and hangs.
"""

from __future__ import annotations

import secrets
import tempfile
from pathlib import Path
from typing import TypeVar

from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import KernelManager

M = TypeVar("M", bound=KernelManager)

ROOT = Path(__file__).parents[1]
# What a kernel runs before the first cell: its variables are none of the notebook's.
PATIENCE = f"""
def _be_patient():
    import sys

    sys.path.insert(0, {str(ROOT)!r})
    try:
        from tests.net.patience import be_patient
    finally:
        sys.path.remove({str(ROOT)!r})
    be_patient()


_be_patient()
del _be_patient
"""


def make_patient(folder: Path) -> str:
    """Have kernels with this folder as `IPYTHONDIR` wait as patiently as the tests do; returns it as text."""
    startup = folder / "profile_default" / "startup"
    startup.mkdir(parents=True)
    (startup / "patience.py").write_text(PATIENCE)
    return str(folder)


def manager_of(kind: type[M]) -> M:
    """Return a manager of one kernel; no kernel of the user's is found by it."""
    return kind(
        kernel_name="python3",
        kernel_spec_manager=KernelSpecManager(kernel_dirs=[], ensure_native_kernel=True),
        transport="ipc",
        ip=str(Path(tempfile.gettempdir(), f"anb-{secrets.token_hex(8)}")),  # short: the system allows 107 characters
    )
