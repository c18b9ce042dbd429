"""A bare client of the simulated ALOR: sends requests as given, and stores the text of all frames."""

from __future__ import annotations

from typing import Any

from tests.sim.bare_client import JsonSocket


class AlorClient(JsonSocket):
    def __init__(self, url: str) -> None:
        super().__init__(f"{url}/ws")

    def request(self, opcode: str, guid: str = "g-1", token: str = "a token", **more: Any) -> None:
        self.send({"opcode": opcode, "guid": guid, "token": token, **more})

    def receive_reply(self, guid: str = "g-1") -> tuple[int, str]:
        """Code and text of the reply to a request; data frames are skipped."""
        reply = self.receive_until(lambda frame: frame.get("requestGuid") == guid)[-1]
        return reply["httpCode"], reply["message"]

    def receive_data(self, count: int, guid: str = "g-1") -> list[dict[str, Any]]:
        """The next `count` objects of one subscription; everything else is skipped."""
        found: list[dict[str, Any]] = []
        while len(found) < count:
            frame = self.receive()
            if frame.get("guid") == guid:
                found.append(frame["data"])
        return found

    def sync(self) -> list[dict[str, Any]]:
        """All frames that the server sends in reply to the messages so far."""
        self.request("ping", "sync")
        return self.receive_until(lambda frame: frame.get("requestGuid") == "sync")[:-1]
