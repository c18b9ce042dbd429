"""One answer to one question that was asked on a connection."""

from __future__ import annotations

from collections.abc import Callable

from aries_nb.model import Inbox, Observers

__all__ = ["PendingReply"]


class PendingReply:
    """The text of an answer, None until it has come. The network's thread writes, any thread reads."""

    def __init__(self) -> None:
        self.inbox = Inbox()
        self.text: str | None = None
        self._observers = Observers()

    def publish(self) -> None:
        """Take the answer, if it has come."""
        if self.inbox.values:
            self.text = str(self.inbox.values[-1])
            self._observers.notify()
        self.inbox.clear()

    def interrupted(self) -> None:
        """Nothing changes at a break: an answer that has come is one, and what has none is asked again."""

    def watch(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` when the answer comes, on the writer's thread. Returns its removal."""
        return self._observers.add(callback)
