"""The command line of the package: `aries-nb demo`, `sim`, `record`, `replay`, `serve`, `room`, `doctor`."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from importlib import metadata, util
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aries_nb.errors import FeedError, UsageError

if TYPE_CHECKING:
    import pandas as pd

    from aries_nb.live import Feed
    from aries_nb.sim.serving import Server

__all__ = ["main"]

FIRST_NOTEBOOK = "01_first_light.ipynb"
SIMULATED = ("aries", "alor")
RECORDED = ("quotes", "trades", "book")  # what `record` records of a symbol
STATUS_SECONDS = 1.0
TERMINATED = 128 + signal.SIGTERM  # the exit status that shells use


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status: 0 done, 1 failed, 2 wrong usage, 130 interrupted, 143 terminated.

    `arguments` None takes those of the process.
    """
    parser = _parser()
    chosen = parser.parse_args(arguments)
    try:
        return int(chosen.run(chosen))
    except UsageError as error:
        print(f"aries-nb: {error}", file=sys.stderr)
        return 2
    except (FeedError, OSError) as error:
        print(f"aries-nb: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


class _TroublesParser(argparse.ArgumentParser):
    """Parser whose help lists the troubles of the rough market. Only then is the simulator imported."""

    def format_help(self) -> str:
        from aries_nb.sim import TROUBLES

        lines = (f"  {name:<18} {text}" for name, text in TROUBLES.items())
        return super().format_help() + "\ntroubles of the rough market (--rough):\n" + "\n".join(lines) + "\n"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="aries-nb", description="Live broker streams in a notebook.")
    parser.add_argument("--version", action="version", version=metadata.version("aries_nb"))
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    does = "open the first notebook in JupyterLab, with a simulated market"
    demo = commands.add_parser("demo", help=does, description=does[0].upper() + does[1:] + ".")
    demo.add_argument("--no-browser", action="store_true", help="only print the address")
    demo.add_argument(
        "--port", type=int, default=8888, help="port to serve on (default: %(default)s, or the next free)"
    )
    demo.set_defaults(run=_demo)

    sim = commands.add_parser(
        "sim",
        help="serve a simulated market on this machine",
        description='Serve a simulated market. Prints one JSON line with "url" as soon as it serves; ends with Ctrl-C. '
        "`aries-nb sim aries --help` lists the options.",
    )
    brokers = sim.add_subparsers(
        required=True, metavar=f"{{{','.join(SIMULATED)}}}", dest="broker", parser_class=_TroublesParser
    )
    aries = brokers.add_parser("aries", help="speak the protocol of Aries", parents=[_shared_options()])
    aries.add_argument(
        "--session-seconds", type=float, default=2700.0, help="lifetime of a session in s (default: %(default)g)"
    )
    _add_alor_options(brokers.add_parser("alor", help="speak the protocol of ALOR", parents=[_shared_options()]))
    sim.set_defaults(run=_sim)

    does = "record a broker's streams into a folder, until Ctrl-C"
    record = commands.add_parser("record", help=does, description=does[0].upper() + does[1:] + ". The token comes from "
        "the environment, as for anb.connect. A recording that is there goes on.")  # fmt: skip
    record.add_argument("broker", help="as in anb.connect: aries, alor, sim, …")
    record.add_argument("--to", required=True, metavar="FOLDER", help="the recording, such as today.anb")
    record.add_argument("--symbols", default="", metavar="A,B", help="symbols whose quotes, trades and books to record")
    record.add_argument(
        "--kinds", default=",".join(RECORDED), metavar="K,L", help="what of them to record (default: %(default)s)"
    )
    record.add_argument("--account", action="append", default=[], metavar="NAME", help="an account to record as well")
    record.add_argument("--keep", metavar="SPAN", help='delete what is older, such as "30 days"')
    record.add_argument("--max-gb", type=float, metavar="GB", help="delete the oldest parts beyond that size")
    record.add_argument("--seconds", type=float, metavar="S", help="end after so many seconds")
    record.add_argument("--url", help="address of the server, such as that of `aries-nb sim` (default: the broker's)")
    record.set_defaults(run=_record)

    does = "play a recording back, and say what it holds as it goes"
    replay = commands.add_parser("replay", help=does, description=does[0].upper() + does[1:] + ".")
    replay.add_argument("path", metavar="FOLDER", help="a recording")
    replay.add_argument("--speed", default="1", help='multiple of the recorded pace, or "max" (default: %(default)s)')
    replay.add_argument("--start", help='where to begin, such as "14:30" (default: the beginning)')
    replay.set_defaults(run=_replay)

    does = "list the recordings in a folder"
    recordings = commands.add_parser("recordings", help=does, description=does[0].upper() + does[1:] + ", or say what "
        "one holds. The exit status is 1 if one is damaged.")  # fmt: skip
    recordings.add_argument("path", metavar="FOLDER", help="a folder of recordings, a recording, or the URL of one")
    recordings.add_argument("--check", action="store_true", help="read all of them, and say where events are missing")
    recordings.set_defaults(run=_recordings)

    does = "publish a broker's streams to a room, until Ctrl-C"
    serve = commands.add_parser("serve", help=does, description=does[0].upper() + does[1:] + ". The broker's token "
        "comes from the environment, as for anb.connect, the room's from $ARIES_NB_ROOM_TOKEN.")  # fmt: skip
    serve.add_argument("broker", help="as in anb.connect: aries, alor, sim, …")
    serve.add_argument("--to", required=True, metavar="ADDRESS", help="the room, such as tls://HOST:4222/room42")
    serve.add_argument("--symbols", required=True, metavar="A,B", help="symbols whose quotes, trades, books to publish")
    serve.add_argument(
        "--kinds", default=",".join(RECORDED), metavar="K,L", help="what of them to publish (default: %(default)s)"
    )
    serve.add_argument("--account", action="append", default=[], metavar="NAME", help="an account to publish as well")
    serve.add_argument("--window", default="15min", help="how long the server keeps rows (default: %(default)s)")
    serve.add_argument("--seconds", type=float, metavar="S", help="end after so many seconds")
    serve.add_argument("--url", help="address of the server, such as that of `aries-nb sim` (default: the broker's)")
    serve.set_defaults(run=_serve)

    does = "run a NATS server for one room on this machine, for a trial"
    says = (
        'Prints one JSON line with the room\'s "url" and the tokens of a "publisher" and a "reader" as soon as it runs'
    )
    room = commands.add_parser("room", help=does, description=f"{does[0].upper()}{does[1:]}. {says}; ends with Ctrl-C.")
    room.add_argument("name", nargs="?", default="room42", help="the room's name (default: %(default)s)")
    room.add_argument("--port", type=int, default=4222, help="port to listen on, 0 for a free one (default: 4222)")
    room.add_argument("--folder", type=Path, help="where to keep the rows (default: a folder that goes with it)")
    room.set_defaults(run=_room)

    does = "check versions and known problems, with a fix for each"
    doctor = commands.add_parser("doctor", help=does, description=does[0].upper() + does[1:] + ".")
    doctor.add_argument(
        "--url", action="append", default=[], help="compare the clock with the server here (default: the brokers')"
    )
    doctor.set_defaults(run=_doctor)
    return parser


def _shared_options() -> _TroublesParser:
    """Return a parser with the command-line options that the simulated servers of all brokers have."""
    shared = _TroublesParser(add_help=False)
    shared.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    shared.add_argument("--port", type=int, default=0, help="port to listen on (default: a free one)")
    shared.add_argument(
        "--seed", type=int, default=1, help="the same seed makes the same market (default: %(default)s)"
    )
    shared.add_argument(
        "--rate", type=float, default=200.0, help="messages per second, 1 to 50000 (default: %(default)g)"
    )
    shared.add_argument(
        "--tape", action="append", nargs="+", default=[], metavar="FILE.parquet",
        help="play recorded markets; each symbol starts when the first client subscribes to it",
    )  # fmt: skip
    shared.add_argument("--speed", default="1", help='multiple of the recorded pace, or "max" (default: %(default)s)')
    shared.add_argument(
        "--token",
        default=os.environ.get("ARIES_NB_SIM_TOKEN"),
        help="accept this token and issued ones only (default: $ARIES_NB_SIM_TOKEN, or any token)",
    )
    shared.add_argument(
        "--rough", nargs="?", const="all", default="", metavar="TROUBLES",
        help="be as unkind as real markets: all troubles named below, or some, separated by commas",
    )  # fmt: skip
    shared.add_argument(
        "--rough-seconds", type=float, default=20.0, metavar="S",
        help="mean time in s between two occurrences of a trouble for one symbol (default: %(default)g)",
    )  # fmt: skip
    shared.add_argument(
        "--troubles", action="append", default=[], metavar="TEXT",
        help='let a trouble happen at a set time, such as "outage at 10s for 5s" or "halt of AAPL at 1min"',
    )  # fmt: skip
    shared.add_argument("--end-with-input", action="store_true", help=argparse.SUPPRESS)
    return shared


def _add_alor_options(alor: argparse.ArgumentParser) -> None:
    alor.add_argument(
        "--token-seconds", type=float, default=1800.0, help="lifetime of an access token in s (default: %(default)g)"
    )
    alor.add_argument("--no-conflation", action="store_true", help="send every state, at any requested interval")
    alor.add_argument("--ack-first", action="store_true", help="reply before the snapshot instead of after it")
    alor.add_argument("--kill-on-expiry", action="store_true", help="drop a connection when its newest token expires")
    alor.add_argument("--refuse-handshake", action="store_true", help="refuse excess connections during the handshake")
    alor.add_argument(
        "--silent-unknown", action="store_true", help="accept unknown instruments without an error, and send no data"
    )


def _sim(chosen: argparse.Namespace) -> int:
    from aries_nb.sim import AlorOptions, Control, SimOptions, read_troubles, serve

    logging.basicConfig(format="%(message)s")  # warnings go to standard error
    shared: dict[str, Any] = {
        "host": chosen.host,
        "port": chosen.port,
        "seed": chosen.seed,
        "rate": chosen.rate,
        "tapes": tuple(path for paths in chosen.tape for path in paths),
        "speed": _speed(chosen.speed),
        "token": chosen.token,
        "rough": read_troubles(chosen.rough),
        "rough_seconds": chosen.rough_seconds,
        "troubles": tuple(each for text in chosen.troubles for each in text.split(",")),
    }
    options: SimOptions | AlorOptions
    more: dict[str, str] = {}
    if chosen.broker == "alor":
        options = AlorOptions(
            **shared,
            token_seconds=chosen.token_seconds,
            conflate=not chosen.no_conflation,
            ack_first=chosen.ack_first,
            kill_on_expiry=chosen.kill_on_expiry,
            refuse_handshake=chosen.refuse_handshake,
            unknown_instrument="silent" if chosen.silent_unknown else "refuse",
        )
        more["refresh_token"] = options.refresh_token
    else:
        options = SimOptions(**shared, session_seconds=chosen.session_seconds)

    def ready(url: str) -> None:
        http = url.replace("ws:", "http:", 1)
        bases = {"url": url, "http": http, "oauth": http} if more else {"url": url}
        print(json.dumps({**bases, **more, "broker": chosen.broker, "pid": os.getpid()}), flush=True)

    def controlled(server: Server[Any]) -> None:
        loop, control = asyncio.get_running_loop(), Control(server, partial(print, flush=True))
        take = lambda line: loop.call_soon_threadsafe(control.receive, line)  # noqa: E731
        threading.Thread(target=_follow_input, args=[take], name="aries-nb-parent", daemon=True).start()

    async def until_terminated() -> int:
        serving = asyncio.ensure_future(
            serve(options, ready=ready, control=controlled if chosen.end_with_input else None)
        )
        with suppress(NotImplementedError):  # event loops without signal handlers
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, serving.cancel)
        try:
            await serving
        except asyncio.CancelledError:
            own = asyncio.current_task()
            if own is not None and own.cancelling():
                raise  # an interrupt, which `asyncio.run` turns into KeyboardInterrupt
            return TERMINATED
        return 0

    return asyncio.run(until_terminated())


def _speed(text: str) -> float | None:
    if text == "max":
        return None
    try:
        return float(text)
    except ValueError as error:
        raise UsageError(f"--speed {text!r} is not a speed", advice='Give a number such as 10, or "max".') from error


def _record(chosen: argparse.Namespace) -> int:
    from aries_nb.live.connect import connect

    symbols, kinds = _streams(chosen)
    if not (symbols or chosen.account):
        raise UsageError("there is nothing to record", advice="Name --symbols or an --account.")
    with connect(chosen.broker, url=chosen.url, record=chosen.to) as feed, _terminated() as is_over:
        recording = feed.record(chosen.to, keep=chosen.keep, max_gb=chosen.max_gb)
        held = _opened(feed, symbols, kinds, chosen.account)
        left = chosen.seconds
        while (left is None or left > 0) and not is_over.wait(STATUS_SECONDS if left is None else min(left, 1.0)):
            left = None if left is None else left - STATUS_SECONDS
            if recording.error is not None:
                raise recording.error
            _say(f"{recording}, {_gaps(feed.stats().gaps)}")
        del held
        recording.close()
    print(recording)
    return 0


def _streams(chosen: argparse.Namespace) -> tuple[list[str], list[str]]:
    """Return the symbols and kinds that the arguments name. Raises UsageError for an unknown kind."""
    symbols = [name for name in chosen.symbols.split(",") if name.strip()]
    kinds = [kind for kind in chosen.kinds.split(",") if kind.strip()]
    if unknown := sorted(set(kinds) - set(RECORDED)):
        raise UsageError(f"--kinds has {', '.join(unknown)}", advice=f"There are: {', '.join(RECORDED)}.")
    return symbols, kinds


def _opened(feed: Feed, symbols: Sequence[str], kinds: Sequence[str], accounts: Sequence[str]) -> list[object]:
    """Return the frames and books of these symbols, and the accounts' tables, which are open while they are held."""
    held: list[object] = []
    for kind in kinds if symbols else ():
        if kind == "book":
            held += [feed.book(symbol) for symbol in symbols]
        else:
            held.append(getattr(feed, kind)(*symbols))
    for account in map(feed.account, accounts):
        held += [account.positions, account.orders, account.balances, account.fills]
    return held


def _serve(chosen: argparse.Namespace) -> int:
    from aries_nb.live.connect import connect

    symbols, kinds = _streams(chosen)
    if not symbols:
        raise UsageError("there is nothing to publish", advice="Name --symbols.")
    with connect(chosen.broker, url=chosen.url) as feed, _terminated() as is_over:
        held = _opened(feed, symbols, kinds, chosen.account)
        serving = feed.serve(chosen.to, window=chosen.window, accounts=chosen.account)
        print(json.dumps({"room": serving.address, "pid": os.getpid()}), flush=True)
        left = chosen.seconds
        while (left is None or left > 0) and not is_over.wait(STATUS_SECONDS if left is None else min(left, 1.0)):
            left = None if left is None else left - STATUS_SECONDS
            if serving.state == "failed":
                raise FeedError(serving.last_error, where=serving.address)
            _say(f"{serving}, {_gaps(feed.stats().gaps)}")
        print(serving)
        del held
    return 0


def _room(chosen: argparse.Namespace) -> int:
    from aries_nb.rooms.trial import TrialServer

    with TrialServer(chosen.name, port=chosen.port, folder=chosen.folder) as server, _terminated() as is_over:
        tokens = {"publisher": server.publisher.reveal(), "reader": server.reader.reveal()}
        print(json.dumps({"url": str(server.address), **tokens, "pid": server.pid}), flush=True)
        while not is_over.wait(STATUS_SECONDS):
            if not server.is_running:
                raise FeedError("nats-server has ended", where=str(server.address))
    return 0


def _replay(chosen: argparse.Namespace) -> int:
    from aries_nb.live.connect import replay
    from aries_nb.live.moments.clock import PlaybackClock

    pace = _speed(chosen.speed)
    speed: float | str = "max" if pace is None else pace
    with replay(chosen.path, speed=speed, start=chosen.start) as past, _terminated() as is_over:
        clock = past.clock
        assert isinstance(clock, PlaybackClock), "that of a replay"
        while clock.is_playing and not is_over.wait(STATUS_SECONDS / 10 if speed == "max" else STATUS_SECONDS):
            _say(f"{clock.now:%Y-%m-%d %H:%M:%S} UTC, {past.stats().messages:,} messages, {_gaps(past.stats().gaps)}")
        now = past.stats()
        print(f"{clock.start:%Y-%m-%d %H:%M:%S} to {clock.now:%H:%M:%S} UTC: {now.messages:,} messages, "
              f"{now.records:,} rows and updates, {_gaps(now.gaps)}, {now.unreadable} unreadable")  # fmt: skip
        if len(gaps := past.gaps.df):
            print(_printed(gaps[["stream", "symbol", "started", "ended", "cause", "reason"]]))
    return 0


def _recordings(chosen: argparse.Namespace) -> int:
    from aries_nb.recording.catalog import StoredRecording, recordings
    from aries_nb.recording.remote import place_of

    found = recordings(chosen.path, check=chosen.check)
    table = found.summary(check=chosen.check) if isinstance(found, StoredRecording) else found
    print(_printed(table) if len(table) else "There is no recording.")
    for path in table["path"][(table["holes"] > 0) & chosen.check]:
        print(f"\n{_plain(path)}: events are missing:\n{_printed(StoredRecording(place_of(path)).holes())}")
    return int(bool((table["damage"] != "").any()))


def _printed(table: pd.DataFrame) -> str:
    """Return a table as text for a terminal, which texts of a recording cannot steer."""
    texts = table.select_dtypes(["object", "str"]).columns
    return table.assign(**{name: table[name].map(_plain) for name in texts}).to_string(index=False, na_rep="-")


def _plain(value: object) -> object:
    return "".join(each if each.isprintable() else "?" for each in value) if isinstance(value, str) else value


def _gaps(count: int) -> str:
    return f"{count:,} gap{'s' if count != 1 else ''}"


@contextmanager
def _terminated() -> Iterator[threading.Event]:
    """Give an event that is set when this process is asked to end; Ctrl-C sets it as well."""
    is_over = threading.Event()
    before = {number: signal.signal(number, lambda *_: is_over.set()) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield is_over
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _say(status: str) -> None:
    """Show a status in place of the one before, where somebody looks at it."""
    if sys.stderr.isatty():
        print(f"\r{status}\033[K", end="", file=sys.stderr, flush=True)


def _follow_input(take: Callable[[bytes], object]) -> None:
    """Pass each line of standard input on, until it closes, as it does when the parent process ends in any way.

    Then end this process.
    """
    for line in sys.stdin.buffer:
        take(line)
    os._exit(0)  # not by a signal: a process that a shell started in the background ignores an interrupt


def _demo(chosen: argparse.Namespace) -> int:
    if util.find_spec("jupyterlab") is None:
        raise UsageError("JupyterLab is not installed", advice="Install it: pip install 'aries_nb[lab]'.")
    notebook = _first_notebook()
    command = [
        *(sys.executable, "-m", "jupyterlab", f"--port={chosen.port}"),
        f"--ServerApp.root_dir={notebook.parent}",
        f"--LabApp.default_url=/lab/tree/{notebook.name}",  # so that the printed address opens the notebook
    ]
    if chosen.no_browser:
        command.append("--no-browser")
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command.append("--allow-root")  # containers often have no other user
    try:
        return subprocess.call(command)  # noqa: S603 - own interpreter and arguments, no shell
    except KeyboardInterrupt:
        return 0


def _first_notebook() -> Path:
    """Return the first notebook of a clone; of an installed package that of copies in the present folder.

    The copies are the user's: one that is there already is left as it is.
    """
    cloned = Path(__file__).resolve().parent.parent / "notebooks"
    if (cloned / FIRST_NOTEBOOK).is_file():
        return cloned / FIRST_NOTEBOOK
    packed = [Path(str(file.locate())) for file in metadata.files("aries_nb") or () if file.suffix == ".ipynb"]
    if not any(file.name == FIRST_NOTEBOOK for file in packed):
        raise UsageError("the notebooks are not installed", advice="Clone the repository and run `make demo` in it.")
    own = Path.cwd() / "aries_nb_notebooks"
    own.mkdir(exist_ok=True)
    for file in packed:
        if not (own / file.name).exists():
            shutil.copyfile(file, own / file.name)
    print(f"The notebooks are in {own}", file=sys.stderr)
    return own / FIRST_NOTEBOOK


def _doctor(arguments: argparse.Namespace) -> int:
    from aries_nb.doctor import clock_finding, examine

    findings = [*examine(), clock_finding(arguments.url)]
    for finding in findings:
        print(f"{'ok  ' if finding.is_ok else 'FIX '}  {finding.what}")
        if not finding.is_ok:
            print(f"      {finding.fix}")
    return 0 if all(finding.is_ok for finding in findings) else 1
