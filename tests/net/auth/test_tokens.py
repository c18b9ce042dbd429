from __future__ import annotations

import asyncio
import copy
import pickle
import subprocess
import sys
import threading
import traceback
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from aries_nb.errors import TokenError
from aries_nb.model import Secret
from aries_nb.net.auth.tokens import RenewableToken, fetch, token_from

OUR_FRAMES = {"token_from", "hidden", "fixed_token", "environment_token", "read", "__call__", "ask", "checked_secret"}


@pytest.fixture(autouse=True)
def no_token_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ARIES_NB_TOKEN", raising=False)


def test_a_text_is_the_token_without_its_margins() -> None:
    source = token_from(" abc\n")

    assert source().reveal() == "abc"


def test_the_environment_is_read_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARIES_NB_TOKEN", "first")
    source = token_from(None)
    monkeypatch.setenv("ARIES_NB_TOKEN", "second ")

    token = source()

    assert token.reveal() == "second"


def test_a_function_is_called_each_time() -> None:
    tokens = iter(["first", "second"])
    source = token_from(lambda: next(tokens))

    assert [source().reveal(), source().reveal()] == ["first", "second"]


def test_no_token_at_all_says_where_one_can_come_from() -> None:
    with pytest.raises(TokenError, match=r"no token.*ARIES_NB_TOKEN.*token="):
        token_from(None)


@pytest.mark.parametrize("blank", ["", "  ", "\n"])
def test_a_blank_token_is_refused(blank: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARIES_NB_TOKEN", blank)

    with pytest.raises(TokenError, match="blank"):
        token_from(blank)
    with pytest.raises(TokenError, match="no token"):
        token_from(None)
    with pytest.raises(TokenError, match="blank"):
        token_from(lambda: blank)()


@pytest.mark.parametrize("odd", ["abc\ndef", "abc\x00", "tökén", "abc\udcff"])
def test_a_token_that_cannot_be_sent_is_refused_and_not_shown(odd: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if "\x00" not in odd:
        monkeypatch.setenv("ARIES_NB_TOKEN", odd)
        with pytest.raises(TokenError, match="characters"):
            token_from(None)

    with pytest.raises(TokenError, match="characters") as caught:
        token_from(odd)

    assert odd not in str(caught.value)
    assert odd not in repr(caught.value.args)


@pytest.mark.parametrize("wrong", [None, 5, b"abc"])
def test_a_function_must_return_text(wrong: Any) -> None:
    with pytest.raises(TokenError, match="returned no text"):
        token_from(lambda: wrong)()


@pytest.mark.parametrize("error", [ValueError, SystemExit])
def test_a_function_that_raises_is_named_by_its_error_and_its_line(error: type[BaseException]) -> None:
    def broken() -> str:
        raise error("no route with hunter2")

    with pytest.raises(TokenError, match=rf"raised {error.__name__} \(line \d+ of broken\)") as caught:
        token_from(broken)()

    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("error", [ValueError("hunter2"), TokenError("the vault is locked", advice="Unlock it.")])
def test_what_a_function_raises_comes_without_the_frames_that_may_hold_the_token(error: Exception) -> None:
    def broken() -> str:
        plain = "hunter" + "2"
        raise error from KeyError(plain)

    with pytest.raises(TokenError) as caught:
        token_from(broken)()

    assert "broken" not in [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)


@pytest.mark.parametrize("wrong", [5, b"hunter2", ["hunter2"]])
def test_what_can_be_no_token_is_refused_and_not_shown(wrong: Any) -> None:
    with pytest.raises(TokenError, match=f"token= is of type {type(wrong).__name__}.*text, or a function") as caught:
        token_from(wrong)()

    assert "hunter2" not in str(caught.value)


def test_a_function_that_carries_its_token_is_not_shown() -> None:
    def give(token: str) -> str:
        return token

    source = token_from(partial(give, "hunter2"))

    assert (source().reveal(), "hunter2" in repr(source)) == ("hunter2", False)


def test_a_function_may_return_a_secret() -> None:
    assert token_from(lambda: Secret(" abc\n"))().reveal() == "abc"


def test_a_renewable_source_gets_the_refusal_and_is_not_shown() -> None:
    @dataclass
    class Source:
        token: str
        refusals: list[Secret]

        def __call__(self) -> str:
            return self.token

        def refused(self, token: Secret) -> None:
            self.refusals.append(token)

    given = Source("hunter2", [])
    source = token_from(given)

    assert isinstance(source, RenewableToken)
    source.refused(source())
    assert given.refusals == [Secret("hunter2")]
    assert "hunter2" not in repr(source)


def test_a_token_is_fetched_on_a_thread_of_its_own() -> None:
    async def gather() -> tuple[Secret, str]:
        names: list[str] = []

        def source() -> Secret:
            names.append(threading.current_thread().name)
            return Secret("abc")

        return await fetch(source), names[0]

    assert asyncio.run(gather()) == (Secret("abc"), "aries-nb-token")


def test_what_a_source_raises_reaches_who_fetches() -> None:
    def broken() -> str:
        raise ValueError("no route")

    with pytest.raises(TokenError, match="raised ValueError"):
        asyncio.run(fetch(token_from(broken)))


def test_a_source_that_hangs_does_not_keep_the_interpreter_from_exiting() -> None:
    program = """
import asyncio, threading
from aries_nb.net.auth.tokens import fetch

async def main():
    try:
        await asyncio.wait_for(fetch(threading.Event().wait), 0.05)
    except TimeoutError:
        print("given up")

asyncio.run(main())
"""

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)

    assert (done.stdout, done.stderr, done.returncode) == ("given up\n", "", 0)


@pytest.mark.parametrize("odd", ["hunter2\nhunter2", "hunter2é"])
def test_a_refused_text_is_not_in_a_traceback_with_locals(odd: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARIES_NB_TOKEN", odd)
    for given in (None, odd, lambda: odd):
        with pytest.raises(TokenError, match="characters") as caught:
            token_from(given)()  # type: ignore[arg-type]

        trace = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
        below = [frame.locals for frame in trace.stack if frame.name in OUR_FRAMES]
        assert below
        assert "hunter2" not in repr(below)


def test_a_secret_never_shows_itself() -> None:
    secret = Secret("hunter2")

    shown = [repr(secret), str(secret), f"{secret}", f"{secret!r:>20}", "%s" % secret, format(secret), repr([secret])]  # noqa: UP031

    assert [text for text in shown if "hunter2" in text] == []


@pytest.mark.parametrize("leave", [pickle.dumps, copy.copy])
def test_a_secret_does_not_leave_the_process(leave: Any) -> None:
    with pytest.raises(TypeError, match="not to be pickled"):
        leave(Secret("hunter2"))


def test_what_is_copied_with_a_secret_has_the_same_one() -> None:
    """A replay keeps copies of its sessions, in this process: there is no second place with the text."""
    secret = Secret("hunter2")

    assert copy.deepcopy({"token": secret})["token"] is secret


def test_a_secret_is_not_in_a_traceback_with_locals() -> None:
    def fail(token: Secret) -> None:
        raise RuntimeError(f"with {token}")

    with pytest.raises(RuntimeError) as caught:
        fail(Secret("hunter" + "2"))

    trace = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    frames = [frame for frame in trace.stack if frame.name == "fail"]
    assert "hunter2" not in "".join(trace.format_exception_only()) + str([frame.locals for frame in frames])


def test_equal_secrets_are_one_key() -> None:
    assert {Secret("a"): 1} == {Secret("a"): 1}
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
