"""Every row of the benchmark can be measured: once, small, without a look at the figures."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench import table

RUN = Path(__file__).with_name("run.py")


@pytest.mark.timeout(600)  # two dozen processes, one after the other, which have a part of a processor
def test_every_row_that_needs_no_browser_is_measured() -> None:
    run = subprocess.run([sys.executable, RUN, "--smoke"], capture_output=True, text=True)

    assert run.returncode == 0, run.stderr
    assert len(table.ROWS) - 1 == len(run.stderr.splitlines())


@pytest.mark.parametrize("effort", ["--smoke", "--quick"])
def test_a_row_that_fails_is_named_and_fails_the_run(
    effort: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(table.ROWS, "snapshot", "no_such_module")
    monkeypatch.setattr(table, "ROOT", Path(__file__).parent)  # a run of a row's own finds no module here

    status = table.main([effort, "--only", "snapshot"])

    assert status == 1
    assert "could not be measured: snapshot" in capsys.readouterr().err
