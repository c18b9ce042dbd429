"""The JSON of an answer over HTTP, whichever broker's."""

from __future__ import annotations

from typing import Any

import msgspec

__all__ = ["json_object"]


def json_object(body: bytes) -> dict[str, Any]:
    """The object that an answer is. Raises ValueError for anything else."""
    try:
        answer = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError("the answer is not JSON") from error
    if not isinstance(answer, dict):
        raise ValueError("the answer is no JSON object")  # noqa: TRY004 - a bad answer, not a bad call
    return answer
