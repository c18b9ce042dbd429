"""Tokens in the operating system's keyring, through the optional package `keyring`, which is imported on use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Protocol, TypeVar, cast

from aries_nb.errors import TokenError
from aries_nb.model import Secret
from aries_nb.net.auth.tokens import PackageSource, TokenSource, checked_secret

__all__ = ["SERVICE", "keyring_token", "load_secret", "save_secret"]

SERVICE = "aries_nb"
ADVICE = "Unlock it, or install a backend for it; or pass the token another way (token=…, ARIES_NB_TOKEN)."

T = TypeVar("T")


class _Keyring(Protocol):
    def get_password(self, service_name: str, username: str) -> str | None: ...

    def set_password(self, service_name: str, username: str, password: str) -> None: ...


def keyring_token(name: str = "token") -> TokenSource:
    """Return a token source that reads the access token stored under `name` in the keyring, anew at each use.

    Store it with `keyring set aries_nb NAME` on a command line. A use raises TokenError if there is no such token or no
    keyring.
    """
    return _KeyringToken(name)


@dataclass(frozen=True, slots=True)
class _KeyringToken(PackageSource):
    """Token source made by `keyring_token`.

    Sources of the same name are equal, so that a rerun cell finds its feed again.
    """

    name: str

    def __call__(self) -> Secret:
        secret = load_secret(self.name)
        advice = f"Store one with: keyring set {SERVICE} {self.name}"
        if secret is None:
            raise TokenError(f"the keyring holds no token {self.name!r}", advice=advice)
        return checked_secret(secret, advice)


def load_secret(name: str) -> Secret | None:
    """Return the secret stored under `name` in the keyring, None if there is none.

    Raises TokenError without a keyring.
    """
    keyring = _keyring()

    def load() -> Secret | None:
        value = keyring.get_password(SERVICE, name)
        return Secret(value) if value else None

    return _call(load)


def save_secret(name: str, secret: Secret) -> None:
    """Store `secret` under `name` in the keyring. Raises TokenError if no keyring can be used."""
    keyring = _keyring()
    _call(lambda: keyring.set_password(SERVICE, name, secret.reveal()))


def _keyring() -> _Keyring:
    try:
        return cast("_Keyring", import_module("keyring"))
    except ImportError:
        advice = "Install it: pip install keyring"
        raise TokenError("the package keyring is not installed", advice=advice) from None


def _call(work: Callable[[], T]) -> T:
    try:
        return work()
    except Exception as error:  # the border to the keyring's backends; their frames hold the secret
        failure = type(error).__name__
    raise TokenError(f"the keyring could not be used ({failure})", advice=ADVICE)
