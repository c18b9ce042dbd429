from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from aiohttp import web
from websockets.asyncio.client import connect
from websockets.asyncio.server import serve as serve_websockets
from websockets.exceptions import InvalidStatus

from aries_nb.sim.front import HEAD_BYTES, Front
from tests.sim.bare_client import PATH, TIMEOUT, BareClient

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from aries_nb.sim import Simulator

Dial = Any
REQUEST = b"GET /tv/health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


def address(sim: Simulator) -> tuple[str, int]:
    return "127.0.0.1", int(sim.url.rpartition(":")[2])


@pytest.fixture
def dial() -> Iterator[Dial]:
    """Open raw connections to a simulator that end with the test."""
    with ExitStack() as stack:
        yield lambda sim: stack.enter_context(socket.create_connection(address(sim), TIMEOUT))


def read_to_the_end(raw: socket.socket) -> bytes:
    received = b""
    try:
        while part := raw.recv(65536):
            received += part
    except ConnectionResetError:
        pass
    return received


def read_response(raw: socket.socket) -> tuple[bytes, bytes]:
    """The status line and the body of one response with a Content-Length."""
    received = b""
    while b"\r\n\r\n" not in received:
        received += raw.recv(1)
    head, _, body = received.partition(b"\r\n\r\n")
    length = int(next(line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")).split()[1])
    while len(body) < length:
        body += raw.recv(length - len(body))
    return head.split(b"\r\n")[0], body


@asynccontextmanager
async def fronted(
    handle: Callable[[web.BaseRequest], Any],
    *,
    head_seconds: float = 10.0,
    closing: float = 1.0,
    is_local: bool = True,
) -> AsyncIterator[str]:
    """A server with its own front: HTTP goes to `handle`, a WebSocket receives one message."""

    async def greet(connection: Any) -> None:
        await connection.send("a socket")

    front = Front(lambda: handle, head_seconds=head_seconds, is_local=is_local)
    server = await serve_websockets(greet, "127.0.0.1", 0, create_connection=front.connection_class)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        await front.close(closing)
        await server.wait_closed()


async def echo(request: web.BaseRequest) -> web.StreamResponse:
    return web.json_response({"method": request.method, "path": request.path_qs, "body": await request.text()})


def test_http_is_answered_by_the_brokers_api(serve: Callable[..., Simulator]) -> None:
    base = serve().url.replace("ws:", "http:")

    health = httpx.get(base + "/tv/health")
    unknown = httpx.get(base + "/v1/nothing", headers={"Authorization": "Bearer t"})

    assert (health.status_code, health.json()) == (200, {"status": "ok"})
    assert unknown.status_code == 404
    assert "error" in unknown.json()


def test_websockets_and_http_share_the_port(serve: Callable[..., Simulator]) -> None:
    sim = serve(rate=1)

    with BareClient(sim.url) as bare:
        bare.log_in()
        bare.sync()
        answer = httpx.get(sim.url.replace("ws:", "http:") + "/tv/health")
        assert bare.sync() == []

    assert answer.status_code == 200
    assert sim.statistics().connections_total == 1


def test_websocket_with_an_unknown_path_is_refused(serve: Callable[..., Simulator]) -> None:
    sim = serve()

    with pytest.raises(InvalidStatus) as refused:
        BareClient(sim.url, "/v1/nothing")

    assert refused.value.response.status_code == 404
    assert PATH in (refused.value.response.body or b"").decode()


def test_plain_request_for_a_websockets_path_is_http(serve: Callable[..., Simulator]) -> None:
    sim = serve()

    answer = httpx.get(sim.url.replace("ws:", "http:") + PATH, headers={"Authorization": "Bearer t"})

    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/json; charset=utf-8")


def test_head_may_come_in_pieces(serve: Callable[..., Simulator], dial: Dial) -> None:
    raw = dial(serve())

    for byte in REQUEST:
        raw.sendall(bytes([byte]))

    assert read_response(raw)[0] == b"HTTP/1.1 200 OK"


def test_upgrade_may_come_in_pieces_and_in_any_case(serve: Callable[..., Simulator], dial: Dial) -> None:
    raw = dial(serve())
    head = (
        f"GET {PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nUPGRADE:WebSocket \r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ).encode()

    for byte in head:
        raw.sendall(bytes([byte]))

    assert raw.recv(12) == b"HTTP/1.1 101"


def test_one_connection_serves_several_requests(serve: Callable[..., Simulator], dial: Dial) -> None:
    raw = dial(serve())

    raw.sendall(REQUEST + REQUEST)
    first, second = read_response(raw), read_response(raw)
    raw.sendall(REQUEST)
    third = read_response(raw)

    assert first == second == third
    assert json.loads(first[1]) == {"status": "ok"}


def test_a_body_reaches_the_handler_whole_and_only_once() -> None:
    body = "x" * 200_000

    async def run() -> httpx.Response:
        async with fronted(echo) as address, httpx.AsyncClient(base_url=f"http://{address}") as client:
            return await client.post("/a?b=c", content=body)

    assert asyncio.run(run()).json() == {"method": "POST", "path": "/a?b=c", "body": body}


def test_a_body_that_speaks_of_websockets_is_still_http() -> None:
    body = b"\r\nUpgrade: websocket\r\n"
    head = f"PUT /d HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n".encode()

    async def run() -> bytes:
        async with fronted(echo) as address, asyncio.timeout(TIMEOUT):
            reader, writer = await asyncio.open_connection(*address.split(":"))
            writer.write(head + body)
            received = await reader.read()
            writer.close()
            return received

    answer = json.loads(asyncio.run(run()).partition(b"\r\n\r\n")[2])
    assert answer == {"method": "PUT", "path": "/d", "body": body.decode()}


def test_failing_handler_is_a_500_and_the_server_lives_on(caplog: pytest.LogCaptureFixture) -> None:
    async def fail(_: web.BaseRequest) -> web.StreamResponse:
        raise RuntimeError("broken")

    async def run() -> tuple[int, Any]:
        async with fronted(fail) as address:
            async with httpx.AsyncClient() as client:
                status = (await client.get(f"http://{address}/")).status_code
            async with connect(f"ws://{address}/") as connection:
                return status, await connection.recv()

    assert asyncio.run(run()) == (500, "a socket")
    assert "broken" in caplog.text


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n"])
def test_connection_that_sends_no_whole_head_is_aborted_in_time(sent: bytes) -> None:
    async def run() -> bytes:
        async with fronted(echo, head_seconds=0.05) as address:
            reader, writer = await asyncio.open_connection(*address.split(":"))
            writer.write(sent)
            try:
                async with asyncio.timeout(TIMEOUT):
                    return await reader.read()
            except ConnectionResetError:
                return b""
            finally:
                writer.close()

    assert asyncio.run(run()) == b""


def test_connection_may_leave_before_its_head(serve: Callable[..., Simulator]) -> None:
    sim = serve(rate=1)

    with socket.create_connection(address(sim), TIMEOUT) as raw:
        raw.sendall(b"GET / HT")
        raw.shutdown(socket.SHUT_WR)
        assert read_to_the_end(raw) == b""

    assert sim.statistics().connections_total == 0


def test_endless_head_is_refused(serve: Callable[..., Simulator], dial: Dial) -> None:
    raw = dial(serve())

    # Bytes after the refusal would meet a closed socket: slightly more than the limit, in one write.
    raw.sendall(b"GET / HTTP/1.1\r\n" + b"A: " + b"b" * HEAD_BYTES)

    assert read_to_the_end(raw).split(b"\r\n")[0] in (b"HTTP/1.1 431 Request Header Fields Too Large", b"")


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> float:
    """For how many seconds a front waits for heads of requests and, when it stops, for whoever is connected."""
    monkeypatch.setitem(Front.__init__.__kwdefaults__, "head_seconds", 60.0)
    monkeypatch.setattr("aries_nb.sim.front.CLOSE_SECONDS", 60.0)
    return 60.0


def test_what_is_no_http_is_ended_at_once(patient: float, serve: Callable[..., Simulator], dial: Dial) -> None:
    raw = dial(serve())
    raw.settimeout(2 * patient)
    started = time.monotonic()

    raw.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n")

    read_to_the_end(raw)
    assert time.monotonic() - started < patient


def test_stop_ends_silent_and_idle_connections(patient: float, serve: Callable[..., Simulator], dial: Dial) -> None:
    sim = serve()
    silent, halfway, idle = dial(sim), dial(sim), dial(sim)
    halfway.sendall(REQUEST[:20])
    idle.sendall(REQUEST)
    read_response(idle)

    started = time.monotonic()
    sim.close()

    assert time.monotonic() - started < patient
    assert [read_to_the_end(raw) for raw in (silent, halfway, idle)] == [b"", b"", b""]


def test_stop_lets_a_request_under_way_end_but_not_for_ever() -> None:
    begun, stuck = asyncio.Event(), []

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        begun.set()
        if request.path == "/stuck":
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                stuck.append("cancelled")
                raise
        await asyncio.sleep(0.05)
        return web.Response(text="done")

    async def ask(path: str, closing: float) -> str:
        async with httpx.AsyncClient(timeout=TIMEOUT) as client:
            async with fronted(handle, closing=closing) as address:
                begun.clear()
                asked = asyncio.create_task(client.get(f"http://{address}{path}"))
                await begun.wait()
            try:
                return (await asked).text
            except httpx.HTTPError as error:
                return type(error).__name__

    async def run() -> tuple[str, str]:
        return await ask("/slow", TIMEOUT), await ask("/stuck", 0.5)

    assert asyncio.run(run()) == ("done", "RemoteProtocolError")
    assert stuck == ["cancelled"]


def test_stop_does_not_wait_for_a_client_that_does_not_read() -> None:
    begun = threading.Event()

    async def pour(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        begun.set()
        while True:
            await response.write(b"x" * 2**20)

    async def run() -> float:
        async with fronted(pour, closing=0.1) as address:
            host, port = address.split(":")
            raw = socket.create_connection((host, int(port)), TIMEOUT)
            raw.sendall(REQUEST)
            await asyncio.to_thread(begun.wait, TIMEOUT)
            started = time.monotonic()
        raw.close()
        return time.monotonic() - started

    assert asyncio.run(run()) < 2


def test_aiohttp_is_loaded_by_the_first_http_request() -> None:
    code = (
        "import sys, urllib.request\n"
        "from aries_nb.sim import Simulator\n"
        "with Simulator() as sim:\n"
        "    before = 'aiohttp.web' in sys.modules\n"
        "    urllib.request.urlopen(sim.url.replace('ws:', 'http:') + '/tv/health').close()\n"
        "    print(before, 'aiohttp.web' in sys.modules)"
    )

    output = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout

    assert output.split() == ["False", "True"]


OTHERS = {
    "another page": "Host: 127.0.0.1\r\nOrigin: https://evil.example\r\n",
    "a page without an origin": "Host: 127.0.0.1\r\nOrigin: null\r\n",
    "a name that leads here": "Host: rebound.evil.example:8080\r\n",
    "a name like ours": "Host: localhost.evil.example\r\n",
    "an address like ours": "host: 127.0.0.1.evil.example\r\nORIGIN: http://[::1].evil.example\r\n",
}
OURS = ("Host: localhost:80\r\n", "Host: [::1]\r\nOrigin: http://localhost:8888\r\n", "")
AS_SOCKET = "Upgrade: websocket\r\nConnection: Upgrade\r\n"


@pytest.mark.parametrize("headers", OTHERS.values(), ids=OTHERS)
@pytest.mark.parametrize("more", ["", AS_SOCKET], ids=["HTTP", "socket"])
def test_a_page_of_another_machine_is_refused(
    headers: str, more: str, serve: Callable[..., Simulator], dial: Dial
) -> None:
    raw = dial(serve())

    raw.sendall(f"GET /tv/health HTTP/1.1\r\n{headers}{more}\r\n".encode())

    assert read_to_the_end(raw).startswith(b"HTTP/1.1 403 ")


@pytest.mark.parametrize("headers", OURS)
def test_what_is_of_this_machine_is_answered(headers: str, serve: Callable[..., Simulator], dial: Dial) -> None:
    raw = dial(serve())

    raw.sendall(f"GET /tv/health HTTP/1.0\r\n{headers}\r\n".encode())

    assert read_response(raw)[0].endswith(b" 200 OK")


def test_a_server_for_other_machines_is_asked_under_any_name() -> None:
    async def ask() -> int:
        async with fronted(echo, is_local=False) as place, httpx.AsyncClient(trust_env=False) as client:
            return (await client.get(f"http://{place}/", headers={"Host": "sim.example"})).status_code

    assert asyncio.run(ask()) == 200
