from __future__ import annotations

import sys
import traceback
import types
from typing import Any

import pytest

from aries_nb.errors import TokenError
from aries_nb.model import Secret
from aries_nb.net.auth.keyring import keyring_token, load_secret, save_secret


def install(monkeypatch: pytest.MonkeyPatch, **functions: Any) -> None:
    """Replace the package `keyring`, which is optional and has no backend where tests run."""
    package: Any = types.ModuleType("keyring")
    for name, function in functions.items():
        setattr(package, name, function)
    monkeypatch.setitem(sys.modules, "keyring", package)


def locked(*args: str) -> str:
    raise RuntimeError(f"locked: {args}")


def test_what_was_saved_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: dict[tuple[str, str], str] = {}

    def keep(service: str, name: str, value: str) -> None:
        kept[service, name] = value

    install(monkeypatch, get_password=lambda service, name: kept.get((service, name)), set_password=keep)

    save_secret("app", Secret("abc"))

    assert load_secret("app") == Secret("abc")
    assert load_secret("other") is None
    assert kept == {("aries_nb", "app"): "abc"}


def test_the_keyring_is_read_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = iter(["first", " second\n"])
    install(monkeypatch, get_password=lambda service, name: next(tokens))
    source = keyring_token()

    assert [source().reveal(), source().reveal()] == ["first", "second"]


def test_a_keyring_without_the_token_says_how_to_store_it(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, get_password=lambda service, name: None)

    with pytest.raises(TokenError, match=r"no token 'mine'.*keyring set aries_nb mine"):
        keyring_token("mine")()


def test_a_missing_package_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keyring", None)

    with pytest.raises(TokenError, match="pip install keyring"):
        keyring_token()()


def test_a_keyring_that_fails_is_named_and_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, get_password=locked, set_password=locked)
    with pytest.raises(TokenError, match=r"could not be used \(RuntimeError\).*Unlock it"):
        load_secret("app")

    with pytest.raises(TokenError, match="RuntimeError") as caught:
        save_secret("app", Secret("hunter2"))

    trace = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    assert trace.__context__ is None
    assert "hunter2" not in repr([frame.locals for frame in trace.stack if frame.name != "locked"][1:])
