"""What hostile servers do, in the protocols of both brokers and below them. Each must leave memory bounded."""

from __future__ import annotations

import asyncio
import gzip
import itertools
import json
import os
import zlib
from functools import cache
from typing import TYPE_CHECKING

from tests.hostile.server import CLOSE, PING, Attack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tests.hostile.server import Peer

__all__ = ["ATTACKS", "CALM"]

MIB = 2**20
MS = 1_772_463_845_010
FRAME_MB = 3 * 16.0  # a frame in memory: its parts, the whole, and a decoded message
READ_MB = 140.0  # of one read of 1 MB: half a million empty frames
BURST = int(os.environ.get("HOSTILE_BURST", "2500"))  # messages; the report sends more
QUICK_HTTP = {"aries_nb.net.http_client.TOTAL_SECONDS": 0.6, "aries_nb.net.http_client.READ_TIMEOUT_SECONDS": 0.3}


def update(kind: str, data: object, symbol: str = "AAPL") -> str:
    payload = {"action": "update", "type": kind, "symbol": symbol, "data": data, "timestamp": MS}
    return json.dumps({"type": "event", "payload": payload})


async def send_all(peer: Peer, messages: Iterable[str], *, at_once: int = 1_000) -> None:
    messages = iter(messages)
    while some := list(itertools.islice(messages, at_once)):
        await peer.say(*some)


# Frames.


async def calm(peer: Peer) -> None:
    await send_all(peer, (update("quote", {"bidPrice": 1.0}) for _ in range(100)))


async def deep_json(peer: Peer) -> None:
    for opening, closing in (("[", "]"), ('{"a":', "}"), ('{"type":"event","payload":', "}")):
        await peer.say(opening * 100_000 + "1" + closing * 100_000)
    await peer.say(update("quote", {"bidPrice": "DEEP"}).replace('"DEEP"', "[" * 100_000 + "]" * 100_000))


async def deep_alor(peer: Peer) -> None:
    guid = peer.guid("QuotesSubscribe")
    for depth in (100_000, 900, 800):
        await peer.say(f'{{"data":{"[" * depth}{"]" * depth},"guid":"{guid}"}}')
        await peer.say(f'{{"data":{{"bid":{"[" * depth}{"]" * depth}}},"guid":"{guid}"}}')


async def rubbish_of_16_mb(peer: Peer) -> None:
    await peer.say("x" * (16 * MIB))


async def more_than_16_mb(peer: Peer) -> None:
    await peer.say("x" * (16 * MIB + 1))


async def many_values(peer: Peer) -> None:
    await peer.say('{"type":"event","payload":{"a":[' + "[]," * (5 * MIB) + "0]}}")


async def many_values_alor(peer: Peer) -> None:
    await peer.say(
        '{"data":{"a":[' + "1e1," * (3 * MIB + MIB // 2) + "0]},\n" + f'"guid":"{peer.guid("QuotesSubscribe")}"}}'
    )


async def long_text(peer: Peer) -> None:
    text = "é" * (7 * MIB)
    sale = {"price": "1.5", "size": "1", "tradeSeq": "1", "tradeExchange": text, "tradeTimestamp": str(MS)}
    await peer.send(json.dumps({"type": text}, ensure_ascii=False).encode())
    payload = {"action": "update", "type": "timeAndSales", "symbol": "AAPL", "data": sale, "timestamp": MS}
    await peer.send(json.dumps({"type": "event", "payload": payload}, ensure_ascii=False).encode())


async def long_numbers(peer: Peer) -> None:
    digits = "7" * 10**6
    for number in (digits, f"0.{digits}", f"{digits}e{digits}", f'"{digits}"'):
        await peer.say(update("quote", {"bidPrice": "NUMBER"}).replace('"NUMBER"', number))


async def long_numbers_alor(peer: Peer) -> None:
    guid, digits = peer.guid("OrdersGetAndSubscribeV2"), "7" * (5 * 10**6)
    for number in (digits, f"0.{digits}", f"1e{digits}", f'"{digits}"'):
        await peer.say(f'{{"data":{{"id":"1","qty":{number},"price":{number}}},"guid":"{guid}"}}')


async def short_lines(peer: Peer) -> None:
    await peer.send(b"x\n" * (8 * MIB))


async def blank_lines(peer: Peer) -> None:
    await peer.send(b"\n" * (16 * MIB))


async def bad_levels(peer: Peer) -> None:
    rows = '"x",' * (3 * MIB) + '"x"'
    await peer.say(update("level2", {"orderBook": "ROWS"}).replace('"ROWS"', f"[{rows}]"))


async def tiny_frames(peer: Peer) -> None:
    peer.writer.write(b"\x81\x00" * (MIB // 4))
    await peer.writer.drain()


async def endless_fragments(peer: Peer) -> None:
    await peer.send(b"x", first=0)
    pieces = b"\x00\x00" * 1_000
    for _ in range(1_000):
        peer.writer.write(pieces)
        await peer.writer.drain()


async def packed_frames(peer: Peer) -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = packer.compress(bytes(64 * MIB)) + packer.flush(zlib.Z_SYNC_FLUSH)
    await peer.send(bomb, first=0xC0)


async def values_few_enough(peer: Peer) -> None:
    await peer.say(update("marketStatus", "ROWS").replace('"ROWS"', '{"a":[' + "[]," * 245_000 + "0]}"))
    await peer.say(update("level2", {"orderBook": "ROWS"}).replace('"ROWS"', "[" + '"x",' * 490_000 + '"x"]'))


async def lines_few_enough(peer: Peer) -> None:
    await peer.send(b"x\n" * 49_000)


# Endless new names and texts.


async def new_symbols(peer: Peer) -> None:
    await send_all(peer, (update("quote", {"bidPrice": 1.0}, f"S{number}") for number in range(BURST)))


async def new_guids(peer: Peer) -> None:
    await send_all(peer, (f'{{"data":{{"bid":1}},"guid":"g-{number}"}}' for number in range(BURST)), at_once=1)


async def new_texts(peer: Peer) -> None:
    def sales() -> Iterable[str]:
        for number in range(BURST):
            venue = f"{number}-{'v' * 990}"
            sale = {"price": "1", "size": "1", "tradeSeq": str(number), "tradeExchange": venue}
            yield update("timeAndSales", {**sale, "tradeTimestamp": str(MS + number)})

    await send_all(peer, sales())


async def new_levels(peer: Peer) -> None:
    def books() -> Iterable[str]:
        for start in range(0, 10 * BURST, 10):
            yield update("level2", {"orderBook": [f"1:{start + step}:1" for step in range(10)]})

    await send_all(peer, books())


async def new_orders(peer: Peer) -> None:
    def orders() -> Iterable[str]:
        for number in range(BURST):
            order = {"accountId": "ACC-1", "clOrdId": str(number), "symbol": f"S{number}", "qty": "1"}
            payload = {"topic": "account", "name": "account.order", "data": {**order, "ordStatus": "NEW"}}
            yield json.dumps({"type": "event", "payload": payload})

    await send_all(peer, orders())


async def new_orders_alor(peer: Peer) -> None:
    guid = peer.guid("OrdersGetAndSubscribeV2")
    await send_all(
        peer,
        (f'{{"data":{{"id":"{number}","sym":"S{number}","qty":1}},"guid":"{guid}"}}' for number in range(BURST)),
        at_once=1,
    )


async def new_status(peer: Peer) -> None:
    for start in range(0, BURST, 1_000):
        await peer.say(update("marketStatus", {f"entry {start + number}": "x" * 1_000 for number in range(1_000)}))


# Messages about the session.


async def refusals(peer: Peer) -> None:
    def said() -> Iterable[str]:
        for number in range(BURST):
            body = {"status": 400, "error": f"no {number} " + "x" * 500}
            yield json.dumps({"type": "response", "id": f"subscribe-{number % 9}", "payload": body})

    await send_all(peer, said())


async def refusals_alor(peer: Peer) -> None:
    await send_all(
        peer,
        (f'{{"requestGuid":"g-{number}","httpCode":400,"message":"no {number}"}}' for number in range(BURST)),
        at_once=1,
    )


async def pongs(peer: Peer) -> None:
    await send_all(peer, (f'{{"type":"pong","id":"ping-{number}"}}' for number in range(5 * BURST)))


async def renewals(peer: Peer) -> None:
    peer.is_reading.clear()
    peer.writer.transport.get_extra_info("socket").setsockopt(1, 8, 4096)
    said = '{"type":"event","payload":{"action":"refreshAuth"}}'
    await send_all(peer, itertools.repeat(said, BURST), at_once=1)


async def pings(peer: Peer) -> None:
    peer.is_reading.clear()
    ping = bytes((0x80 | PING, 125)) + bytes(125)
    for _ in range(500):
        peer.writer.write(ping * 500)
        await peer.writer.drain()


async def long_reason(peer: Peer) -> None:
    await peer.send((1008).to_bytes(2, "big") + b"\x1b[31m<b>no\r\nCRITICAL root: ok\n</b>" + b"x" * 80, CLOSE)
    await asyncio.sleep(0.2)


# Before the session is open.


async def slow_handshake(peer: Peer) -> None:
    for octet in b"HTTP/1.1 101 Switching Protocols\r\nX: " + b"x" * 10_000:
        peer.writer.write(bytes((octet,)))
        await asyncio.sleep(0.05)


async def long_handshake(peer: Peer) -> None:
    peer.writer.write(b"HTTP/1.1 101 Switching Protocols\r\n")
    for number in range(20_000):
        peer.writer.write(b"X-%d: " % number + b"x" * 8_000 + b"\r\n")
        await peer.writer.drain()


async def packed_handshake(peer: Peer) -> None:
    await peer.shake_hands("Sec-WebSocket-Extensions: permessage-deflate")
    await asyncio.sleep(0.2)


async def endless_refusal(peer: Peer) -> None:
    peer.writer.write(b"HTTP/1.1 503 No\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(2_000):
        peer.writer.write(b"10000\r\n" + bytes(65536) + b"\r\n")
        await peer.writer.drain()


async def redirect(peer: Peer) -> None:
    peer.writer.write(b"HTTP/1.1 302 Found\r\nLocation: wss://elsewhere.example/\r\nContent-Length: 0\r\n\r\n")
    await peer.writer.drain()


# Over HTTP.


@cache
def zeros(pack: Callable[[bytes, int], bytes]) -> bytes:
    """128 MB of zeros, compressed."""
    return pack(bytes(128 * MIB), 1)


async def bomb(peer: Peer) -> None:
    await peer.answer(zeros(gzip.compress), "Content-Encoding: gzip")


async def bomb_in_a_bomb(peer: Peer) -> None:
    await peer.answer(gzip.compress(zeros(gzip.compress), 9), "Content-Encoding: gzip, gzip")


async def bomb_of_another_kind(peer: Peer) -> None:
    await peer.answer(zeros(zlib.compress), "Content-Encoding: deflate")


async def endless_pages(peer: Peer) -> None:
    cursor = int(peer.head.partition(b"cursor=")[2].partition(b" ")[0].partition(b"&")[0])
    order = {"accountId": "ACC-1", "symbol": "AAPL", "ordStatus": "NEW"}
    orders = [{**order, "clOrdId": str(cursor + number)} for number in range(BURST)]
    await peer.answer(json.dumps({"orders": orders, "nextCursor": cursor + BURST}).encode())


async def endless_body(peer: Peer) -> None:
    peer.writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
    for _ in range(5_000):
        peer.writer.write(chunk)
        await peer.writer.drain()


async def values_over_http(peer: Peer) -> None:
    await peer.answer(b'{"accounts":[' + b"[]," * (20 * MIB) + b"0]}")


async def long_headers(peer: Peer) -> None:
    peer.writer.write(b"HTTP/1.1 200 OK\r\n")
    for number in range(50_000):
        peer.writer.write(b"X-%d: " % number + b"x" * 1_000 + b"\r\n")
        await peer.writer.drain()


async def slow_headers(peer: Peer) -> None:
    for octet in b"HTTP/1.1 200 OK\r\nX: " + b"x" * 10_000:
        peer.writer.write(bytes((octet,)))
        await asyncio.sleep(0.05)


async def slow_body(peer: Peer) -> None:
    peer.writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n")
    for _ in range(10_000):
        peer.writer.write(b" ")
        await asyncio.sleep(0.05)


async def endless_patience(peer: Peer) -> None:
    for _ in range(10_000):
        peer.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        await asyncio.sleep(0.02)


async def redirect_over_http(peer: Peer) -> None:
    peer.writer.write(b"HTTP/1.1 302 Found\r\nLocation: https://elsewhere.example/\r\nContent-Length: 0\r\n\r\n")
    await peer.writer.drain()


CALM = Attack("none", "a server as it should be", "live", socket=calm, on="subscribe")
MARKET, ACCOUNTS, QUOTES, ORDERS = '"quote"', '"account"', "QuotesSubscribe", "OrdersGetAndSubscribeV2"
ATTACKS = [
    Attack("deep JSON", "100,000 levels", r"live .*4 unreadable.*not JSON", on="subscribe", socket=deep_json),
    Attack("deep JSON (ALOR)", "100,000 levels", r"live .*unreadable", broker="alor", on=QUOTES, socket=deep_alor),
    Attack("rubbish of 16 MB", "one frame", "live .*1 unreadable", socket=rubbish_of_16_mb, more_mb=64 + FRAME_MB),
    Attack("a frame beyond 16 MB", "one frame", "closed by us .1009", socket=more_than_16_mb, more_mb=64 + FRAME_MB),
    Attack(
        "a frame of 5 million values",
        "`[[],[],…`",
        "unreadable.*values.*gap",
        socket=many_values,
        more_mb=64 + FRAME_MB,
    ),
    Attack(
        "a frame of 3.5 million decimals (ALOR)",
        "`1e1,1e1,…`",
        "unreadable.*values.*gap",
        broker="alor",
        on=QUOTES,
        socket=many_values_alor,
        more_mb=64 + FRAME_MB,
    ),
    Attack(
        "a text of 14 MB",
        "as a type, and as a venue",
        "live .*1 unreadable",
        socket=long_text,
        more_mb=64 + 4 * FRAME_MB,
    ),
    Attack("numbers of a million digits", "four spellings", "live .*unreadable", socket=long_numbers),
    Attack(
        "numbers of 5 million digits (ALOR)",
        "four spellings",
        "live .*unreadable",
        broker="alor",
        on=ORDERS,
        socket=long_numbers_alor,
        more_mb=64 + 2 * FRAME_MB,
    ),
    Attack(
        "8 million lines in a frame", "`x\\nx\\n…`", "unreadable.*lines.*gap", socket=short_lines, more_mb=64 + FRAME_MB
    ),
    Attack(
        "16 million blank lines in a frame",
        "`\\n\\n…`",
        "unreadable.*lines.*gap",
        socket=blank_lines,
        more_mb=64 + FRAME_MB,
    ),
    Attack(
        "3 million bad levels in a book", "`x,x,…`", "unreadable.*values.*gap", socket=bad_levels, more_mb=64 + FRAME_MB
    ),
    Attack(
        "half a million values in a frame",
        "few enough to be read",
        "live .*100 unreadable",
        socket=values_few_enough,
        more_mb=64 + READ_MB,
    ),
    Attack(
        "49,000 lines of rubbish in a frame",
        "few enough to be read",
        "live .*49000 unreadable",
        socket=lines_few_enough,
    ),
    Attack("262,144 empty frames", "2 bytes each", "live", socket=tiny_frames, more_mb=64 + READ_MB),
    Attack(
        "a message of a million fragments", "empty ones", "closed by us", socket=endless_fragments, more_mb=64 + READ_MB
    ),
    Attack(
        "a compressed frame",
        "64 MB of zeros; compression was never agreed on",
        "closed by us .1002",
        socket=packed_frames,
    ),
    Attack("ever new symbols", "without a subscription", "live .*unreadable.*not subscribed", socket=new_symbols),
    Attack(
        "ever new guids (ALOR)",
        "without a subscription",
        "live .*unreadable.*not subscribed",
        broker="alor",
        on=QUOTES,
        socket=new_guids,
    ),
    Attack("ever new texts", "venues of 1,000 characters", "live", socket=new_texts),
    Attack("ever new prices in a book", "ten in a message", "live", socket=new_levels),
    Attack("ever new orders", "one in a message", "live", on=ACCOUNTS, socket=new_orders),
    Attack("ever new orders (ALOR)", "one in a message", "live", broker="alor", on=ORDERS, socket=new_orders_alor),
    Attack("ever new entries of the market's state", "of 1,000 characters", "live", socket=new_status),
    Attack("endless refusals", "of 500 characters", "live .*no ", socket=refusals),
    Attack(
        "endless refusals (ALOR)", "of ever new requests", "live .*no ", broker="alor", on=QUOTES, socket=refusals_alor
    ),
    Attack("endless pongs", "of pings that were never sent", "live", socket=pongs),
    Attack("endless wishes for a new token", "and it never reads", ".", socket=renewals),
    Attack("endless pings", "64 MB, and it never reads", "does not read", socket=pings),
    Attack(
        "a long reason to close",
        "escapes, markup, line breaks",
        r"1008: .{1,2}x1b\[31m<b>no.{1,2}r",
        socket=long_reason,
    ),
    Attack(
        "a slow handshake",
        "a byte at a time",
        "ConnectError.*tim",
        greet=slow_handshake,
        knobs={"aries_nb.net.websocket.OPEN_SECONDS": 0.6},
    ),
    Attack("a handshake without end", "160 MB of headers", "ConnectError", greet=long_handshake),
    Attack(
        "a handshake with compression", "not asked for", "ConnectError.*no WebSocket server", greet=packed_handshake
    ),
    Attack("a refusal without end", "130 MB", "ConnectError", greet=endless_refusal),
    Attack("a redirect of the socket", "to another host", "ConnectError.*302", greet=redirect),
    Attack("a gzip bomb", "128 MB in 0.6 MB", "FeedError.*longer than", answer=bomb, more_mb=64 + 80),
    Attack("a bomb in a bomb", "128 MB in 3 kB", "ConnectError", answer=bomb_in_a_bomb),
    Attack("a deflate bomb", "128 MB in 0.6 MB, not asked for", "ConnectError", answer=bomb_of_another_kind),
    Attack("a body without end", "chunks", "FeedError.*longer than", answer=endless_body, more_mb=64 + 80),
    Attack(
        "pages without end",
        "a new cursor in each",
        "live",
        answer=endless_pages,
        path=b"/orders?",
        is_walked=True,
        knobs={"aries_nb.live.account.snapshots.MOST_PAGES": 100},
        more_mb=64 + 110,
    ),
    Attack("an answer of 20 million values", "60 MB", "Error", answer=values_over_http, more_mb=64 + 3 * 64),
    Attack("headers without end", "50 MB", "ConnectError", answer=long_headers),
    Attack("slow headers", "a byte at a time", "ConnectError.*in time", answer=slow_headers, knobs=QUICK_HTTP),
    Attack("a slow body", "a byte at a time", "ConnectError.*in time", answer=slow_body, knobs=QUICK_HTTP),
    Attack(
        "wait a moment, for ever", "100 Continue", "ConnectError.*in time", answer=endless_patience, knobs=QUICK_HTTP
    ),
    Attack("a redirect over HTTP", "to another host", "FeedError.*302", answer=redirect_over_http),
]
