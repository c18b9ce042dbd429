"""A server's text without the token, in case it echoes it."""

__all__ = ["masked"]

SHORTEST_MASKED = 6  # a shorter token is no secret, and would mask every other word


def masked(text: str, token: str) -> str:
    """Return `text` with `token` replaced by ***, also where the end of the text cuts it in the middle."""
    if len(token) < SHORTEST_MASKED:
        return text
    text = text.replace(token, "***")
    for length in range(len(token) - 1, SHORTEST_MASKED - 1, -1):
        for end in (token[:length], token[:length] + "…"):
            if text.endswith(end):
                return text[: -len(end)] + "***"
    return text
