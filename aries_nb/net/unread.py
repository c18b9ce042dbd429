"""What has come and is not read yet: in the system's buffer of a socket, and in its queue of frames."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

__all__ = ["unread_frames"]


def unread_frames(socket: ClientConnection, octets_a_frame: float) -> int:
    """How many frames wait on our side; those in the system's buffer are reckoned at so many bytes each.

    A broker counts what waits on its own side, and that begins only when ours is full: this is the earlier sign. On the
    thread of the socket's loop.
    """
    return len(socket.recv_messages.frames) + int(_buffered(socket) / max(octets_a_frame, 1.0))


def _buffered(socket: ClientConnection) -> int:
    """The bytes in the system's buffer; 0 where the system does not tell, as Windows."""
    try:
        from fcntl import ioctl
        from termios import FIONREAD
    except ImportError:
        return 0
    number = socket.transport.get_extra_info("socket").fileno()
    count = array("i", [0])
    if number >= 0:  # it is closed otherwise
        ioctl(number, FIONREAD, count)
    return count[0]
