"""Recordings that earlier versions made replay to the values that the feed showed then, for ever."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import aries_nb as anb
from tests.net.patience import eventually
from tests.recording.keep import KEPT, STATED, asked, is_computed, shown

RECORDINGS = sorted(KEPT.iterdir())


def test_there_is_one_of_each_broker() -> None:
    assert {anb.recordings(path).broker for path in RECORDINGS} == {"aries", "alor"}


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.name)
def test_a_recording_of_an_earlier_version_shows_what_it_showed(path: Path) -> None:
    stated: dict[str, Any] = json.loads((path / STATED).read_text())
    with anb.replay(path) as past:
        past.clock.pause()
        live = asked(past, anb.recordings(path).broker)
        past._playback.seek(stated["until"]).result(30)
        eventually(lambda: is_computed(live))
        found = shown(past, live)
    for name, frame in stated["frames"].items():
        assert found[name]["rows"] == frame["rows"], name
        assert {each: found[name]["columns"].get(each) for each in frame["columns"]} == frame["columns"], name
