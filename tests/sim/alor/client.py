"""A client of the simulated ALOR that knows nothing: it sends what it is told and keeps the text of what it gets."""

from __future__ import annotations

from typing import Any

from tests.sim.bare_client import JsonSocket


class AlorClient(JsonSocket):
    def __init__(self, url: str) -> None:
        super().__init__(f"{url}/ws")

    def ask(self, opcode: str, guid: str = "g-1", token: str = "a token", **more: Any) -> None:
        self.say({"opcode": opcode, "guid": guid, "token": token, **more})

    def hear_reply(self, guid: str = "g-1") -> tuple[int, str]:
        """Code and text of the reply to a request; data frames are passed over."""
        reply = self.hear_until(lambda frame: frame.get("requestGuid") == guid)[-1]
        return reply["httpCode"], reply["message"]

    def hear_data(self, count: int, guid: str = "g-1") -> list[dict[str, Any]]:
        """The next `count` objects of one subscription; everything else is passed over."""
        found: list[dict[str, Any]] = []
        while len(found) < count:
            frame = self.hear()
            if frame.get("guid") == guid:
                found.append(frame["data"])
        return found

    def sync(self) -> list[dict[str, Any]]:
        """Everything that the server had to say to what was sent so far."""
        self.ask("ping", "sync")
        return self.hear_until(lambda frame: frame.get("requestGuid") == "sync")[:-1]
