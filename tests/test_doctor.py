from __future__ import annotations

import asyncio
import threading
import time
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING

import pytest

from aries_nb.doctor import Finding, clock_finding, examine

if TYPE_CHECKING:
    from collections.abc import Callable

GOOD = {
    "pandas": "3.1.1", "websockets": "17.4", "plotly": "7.1.0", "anywidget": "0.9.20", "ipywidgets": "8.1.5",
    "msgspec": "0.19.0", "jupyterlab": "4.6.0", "jupyterlab-widgets": "3.0.15",
    "widgetsnbextension": "4.0.14", "ipykernel": "7.4.0", "nest-asyncio": "1.6.0", "nest-asyncio2": "1.7.4",
    "pyarrow": "24.0",
}  # fmt: skip


@pytest.fixture
def examined(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Finding]]:
    """The findings in an environment that is good except for these versions; None means not installed."""
    monkeypatch.delenv("COLAB_RELEASE_TAG", raising=False)
    for name in ("https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.delenv("JPY_PARENT_PID", raising=False)

    def examine_with(versions: dict[str, str | None] | None = None) -> list[Finding]:
        installed = {**GOOD, **(versions or {})}
        monkeypatch.setattr("aries_nb.doctor._version", lambda package: installed.get(package) or "")
        return examine()

    return examine_with


def test_a_good_environment_passes_every_check(examined: Callable[..., list[Finding]]) -> None:
    assert [finding for finding in examined() if not finding.is_ok] == []


@pytest.mark.parametrize(
    ("versions", "fix"),
    [
        ({"pandas": "2.3.3"}, "pip install 'pandas>=3.0'"),
        ({"websockets": "15.0.1"}, "pip install 'websockets>=16'"),
        ({"plotly": "8.0.0"}, "pip install 'plotly>=6.1,<8'"),
        ({"plotly": "6.0.1"}, "pip install 'plotly>=6.1,<8'"),
        ({"anywidget": "0.9.9"}, "pip install 'anywidget>=0.9.20'"),
        ({"msgspec": None}, "pip install 'msgspec>=0.19'"),
        ({"ipywidgets": "9.0.0a1"}, "pip install 'ipywidgets>=8.1.5,<9'"),
        ({"jupyterlab": None}, "aries_nb[lab]"),
        ({"jupyterlab-widgets": None}, "JupyterLab shows no widget"),
        ({"widgetsnbextension": None}, "Notebook shows no widget"),
        ({"nest-asyncio2": None}, "nest-asyncio2>=1.7.4"),
        ({"nest-asyncio2": "1.7.3"}, "nest-asyncio2>=1.7.4"),
        ({"plotly-resampler": "0.11"}, "Uninstall it"),
        ({"pyarrow": None}, "pip install 'pyarrow>=18.0'"),
    ],
)
def test_each_known_problem_comes_with_its_fix(
    versions: dict[str, str | None], fix: str, examined: Callable[..., list[Finding]]
) -> None:
    ill = [finding for finding in examined(versions) if not finding.is_ok]

    assert len(ill) == 1
    assert fix in ill[0].fix


def test_a_notebook_in_another_environment_needs_no_front_end_here(
    examined: Callable[..., list[Finding]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JPY_PARENT_PID", "1")

    assert all(finding.is_ok for finding in examined({"jupyterlab": None}))


def test_a_patched_asyncio_is_reported(examined: Callable[..., list[Finding]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asyncio, "run", lambda main: None)

    assert [finding.what for finding in examined() if not finding.is_ok] == ["asyncio is not patched"]


def test_the_token_is_reported_as_set_and_not_shown(
    examined: Callable[..., list[Finding]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ARIES_NB_TOKEN", "hunter2")

    text = str(examined())

    assert "(set)" in text
    assert "hunter2" not in text


def test_the_route_is_printed_without_the_password(
    examined: Callable[..., list[Finding]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://me:hunter2@proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", "aries.com")

    routes = [finding.what for finding in examined() if finding.what.startswith("the route to")]

    proxied = "the proxy http://proxy.example:3128 of HTTPS_PROXY"
    assert routes == ["the route to api.alor.ru, apidev.alor.ru: " + proxied, "the route to api.aries.com: direct"]


def test_a_direct_route_is_printed_as_such(examined: Callable[..., list[Finding]]) -> None:
    assert "the route to the brokers: direct" in [finding.what for finding in examined()]


def test_an_invalid_proxy_is_reported_with_its_fix(
    examined: Callable[..., list[Finding]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALL_PROXY", "ftp://me:hunter2@proxy.example")

    ill = [finding for finding in examined() if not finding.is_ok]

    assert [finding.what for finding in ill] == ["the route to the brokers"]
    assert "what ALL_PROXY holds is no address of a proxy" in ill[0].fix
    assert "hunter2" not in str(ill)


def test_a_missing_bundle_of_certificates_is_reported(
    examined: Callable[..., list[Finding]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere/company.pem")

    ill = [finding for finding in examined() if not finding.is_ok]

    assert [finding.fix.partition(" (")[0] for finding in ill] == ["REQUESTS_CA_BUNDLE names no file of certificates"]


class _Dated(BaseHTTPRequestHandler):
    ahead_s = 0

    def do_HEAD(self) -> None:
        self.send_response_only(404)
        self.send_header("Date", formatdate(time.time() + self.ahead_s, usegmt=True))
        self.end_headers()


@pytest.mark.parametrize(
    ("ahead_s", "is_ok", "text"),
    [
        (0, True, "right to some seconds"),
        (3 * 3_600, False, "this computer's clock is 3 h behind the exchange's"),
        (-40 * 60, False, "this computer's clock is 40 min ahead of the exchange's"),
    ],
)
def test_the_clock_is_compared_with_a_servers(ahead_s: int, is_ok: bool, text: str) -> None:
    handler = type("Dated", (_Dated,), {"ahead_s": ahead_s})
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()

        found = clock_finding([f"ws://127.0.0.1:{server.server_port}"])

    assert (found.is_ok, bool(found.fix)) == (is_ok, not is_ok)
    assert text in found.what


def test_a_clock_that_cannot_be_compared_is_no_finding_to_mend() -> None:
    found = clock_finding(["ws://127.0.0.1:9"])

    assert found == Finding("the clock of this computer (not compared: no server could be asked)", is_ok=True)
