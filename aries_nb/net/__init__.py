"""The background loop, the session and what it needs: addresses, backoff, tokens."""

__all__: list[str] = []
