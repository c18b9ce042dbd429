"""Tokens, and the logins that give them: fixed, from the environment or a keyring, or by OAuth. They are in no text."""

__all__: list[str] = []
