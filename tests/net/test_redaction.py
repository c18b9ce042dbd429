from __future__ import annotations

import json
from urllib.parse import quote

import pytest

from aries_nb.model import Secret
from aries_nb.net.redaction import KEPT_TOKENS, PIECE, FrameMask, Redactor

TOKEN = "hunter2/and+some\\more=="


def test_a_text_without_a_token_stays_as_it_is() -> None:
    text = "unknown symbol 'AAPL'; the token is required"

    assert Redactor(Secret(TOKEN))(text) == text
    assert Redactor()(text) == text


@pytest.mark.parametrize(
    "echo",
    [
        TOKEN,
        json.dumps(TOKEN)[1:-1],
        json.dumps(TOKEN)[1:-1].replace("/", "\\/"),
        quote(TOKEN),
        quote(TOKEN, safe=""),
        TOKEN[3:],
        TOKEN[:-1],
        TOKEN[4 : 4 + PIECE],
    ],
)
def test_a_token_is_redacted_in_every_form_and_cut_anywhere(echo: str) -> None:
    assert Redactor(Secret(TOKEN))(f"bad token {echo}, sorry") == "bad token ***, sorry"


def test_two_adjacent_tokens_are_both_redacted() -> None:
    mask = Redactor(Secret("first-hunter2"), Secret("second-hunter2"))

    assert mask("first-hunter2, second-hunter2first-hunter2.") == "***, ***."


def test_a_token_shorter_than_a_piece_is_redacted_whole() -> None:
    assert Redactor(Secret("token 1"))("bad token 1") == "bad ***"


def test_a_text_too_short_to_be_a_secret_is_not_redacted() -> None:
    assert Redactor(Secret("a"))("a bad day") == "a bad day"


def test_the_newest_tokens_are_redacted_and_old_ones_are_not() -> None:
    secrets = [Secret(f"{number}" * PIECE) for number in range(KEPT_TOKENS + 1)]
    mask = Redactor()

    for secret in [*secrets, secrets[-1], secrets[-1]]:
        mask.add(secret)

    assert [mask(secret.reveal()) for secret in secrets] == ["0" * PIECE, *["***"] * KEPT_TOKENS]


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("\x1b[2J\x1b]0;owned\x07", "\\x1b[2J\\x1b]0;owned\\x07"),
        ("no\r\nCRITICAL root: all is well", "no\\r\\nCRITICAL root: all is well"),
        ("\u202eLPAA", "\\u202eLPAA"),
        ("a\u2028b\x9bc\x00", "a\\u2028b\\x9bc\\x00"),
        ("Сбербанк – 1 €", "Сбербанк – 1 €"),
    ],
)
def test_what_commands_a_terminal_or_forges_a_line_is_shown_as_its_escape(said: str, shown: str) -> None:
    assert Redactor(Secret(TOKEN))(said) == shown
    assert Redactor(Secret(TOKEN))(said + TOKEN) == shown + "***"


@pytest.mark.parametrize(
    "token", [TOKEN, "0123456789abcdef0123456789abcdef", "short-one", "Uppercase_and-lower/+=" * 9]
)
@pytest.mark.parametrize(
    "frame", ['{{"error":"bad {0}"}}', '{{"bid":270.5}}\n{{"said":"{0}","JUW":1}}', "\u00fc{0}\u2028"]
)
def test_a_frame_that_repeats_a_token_is_kept_without_it(token: str, frame: str) -> None:
    mask = FrameMask()
    mask.add(Secret(token))
    kept = mask(frame.format(token).encode())
    assert kept == frame.format("***").encode()
    assert mask(frame.format("JWUj").encode()) == frame.format("JWUj").encode()


def test_a_frame_is_kept_byte_for_byte_where_it_repeats_no_token() -> None:
    mask = FrameMask()
    frame = b'{"JUWjw":"\xff\xfe"}'
    assert mask(frame) == frame
    mask.add(Secret(TOKEN))
    assert mask(frame) == frame


@pytest.mark.parametrize(
    "token", ["0123456789abcdef" * 2 + "deadbeef", "a passphrase in small letters, rather long", "5" * 3 + "e1a9b7c3"]
)
def test_any_piece_of_16_characters_of_a_token_without_capitals_is_masked(token: str) -> None:
    mask = FrameMask()
    mask.add(Secret(token))

    kept = [mask(f'{{"error":"bad {token[at : at + 16]} given"}}'.encode()) for at in range(max(len(token) - 15, 1))]

    assert all(b"***" in each for each in kept)


def test_frames_of_a_read_are_masked_as_each_by_itself() -> None:
    mask = FrameMask()
    mask.add(Secret(TOKEN))
    plain = [b'{"bid":1}', b"", b'{"ask":2}']
    frames = [*plain, f'{{"error":"bad {TOKEN}"}}'.encode(), b"\xff"]

    assert mask.all(plain) is plain
    assert list(map(mask, frames)) == mask.all(frames)
    assert TOKEN.encode() not in b"".join(mask.all(frames))


def test_a_piece_of_a_token_in_a_frame_is_masked() -> None:
    mask = FrameMask()
    mask.add(Secret(TOKEN))
    assert TOKEN[3:20].encode() not in mask(f"bad {TOKEN[3:20]}".encode())
    assert b"***" in mask(f"bad {TOKEN[3:20]}".encode() + b"\xff")
