"""Widget models that the browser learns of when they are first displayed, with their state at that time.

ipywidgets opens a model in its constructor (announces it to the browser), empty, and everything afterwards is an
update; a page that is slow to start loses updates. A model of ours is opened by the first use of its `model_id` (a
display, a layout box), after its view has drawn itself.

Every private name of ipywidgets, anywidget and plotly that the package relies on is used in this module and, in the
browser, in static/model.js, script.js and figure.js; tests/widgets/test_widget_model.py lists them. Only how plotly's
script is put together stands in `plotly_script`, and what anywidget reads of a model in `page_script`.
"""

from __future__ import annotations

import functools
import threading
from abc import abstractmethod
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import MethodType
from typing import TYPE_CHECKING, Any, ClassVar, Protocol
from weakref import WeakMethod

import anywidget
import ipywidgets
import plotly.graph_objects as go
import traitlets
from ipywidgets.widgets import widget as ipywidgets_widget

from aries_nb.widgets.page_script import PageScript, PageScriptModel, static_text
from aries_nb.widgets.plotly_script import SMALL_KEY, SMALL_TRACES, WHOLE_KEY, key_for, plotly_script
from aries_nb.widgets.transport import FigureChanges, Message, WholeMessages, get_outbox

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = [
    "SHARED",
    "LateModel",
    "LiveFigure",
    "MessageBatch",
    "ScriptedModel",
    "loader",
    "seconds",
]

# Plotly's "Share chart" sends the data of a figure to its cloud; without an address it sends them nowhere, even if a
# user adds the button.
CONFIG = {"displaylogo": False, "responsive": True, "showSendToCloud": False, "plotlyServerURL": ""}
MOST_WAITED_MS = 60_000
# The traits of all models that change after the opening.
SHARED = ("timezone", "frozen")
# Begin of the names of the traits with which a page reports a click, a zoom, a changed legend.
EVENT = "_js2py_"


class _Closed:
    """How a closed model is displayed: as the bound method `display` does, for as long as its view is referred to."""

    def __init__(self, display: MethodType) -> None:
        self._display = WeakMethod(display)

    def __call__(self, *given: object, **named: object) -> object:
        """Return the MIME bundle."""
        display = self._display()
        return {"text/plain": "a closed view"} if display is None else display(*given, **named)


class LateModel(anywidget.AnyWidget):
    """An anywidget model that is opened (announced to the browser) when its `model_id` is first read.

    Any thread may call its methods. The lock of its view guards the state: what the browser asks for on the kernel's
    thread is never half of an update.

    `takes_messages_in_cells` (False), set before it is opened: it gets the page's messages also while a cell runs,
    where front end and kernel have subshells. From ipykernel 7.4 on messages wait for the thread that sent the model's
    last one, and count a thread of ours as that of the cells.

    Traits: `timezone` (default "UTC"), the IANA name of the time zone of the times that the view's scripts show;
    `frozen` (default {}), "at" which time in epoch milliseconds the picture stops, and when that was "said";
    `script_model` (default None), the model that brings the page the script of this one.

    A subclass sets `page_script`, its script and style, and its stub as `_esm`.
    """

    page_script: ClassVar[PageScript | None] = None
    takes_messages_in_cells = False

    timezone = traitlets.Unicode("UTC", help="IANA name of the time zone of the view's times; default UTC.").tag(
        sync=True
    )
    frozen = traitlets.Dict(help="When the picture stops: at, said, in epoch milliseconds; default empty.").tag(
        sync=True
    )

    script_model = traitlets.Instance(
        PageScriptModel, allow_none=True, help="The model that brings the script of this one; default None."
    ).tag(sync=True, **ipywidgets.widget_serialization)

    def __init__(self, *positional: Any, **named: Any) -> None:  # noqa: ANN401
        # marimo shows one process in many pages, and opens no model in those that come later: each brings its script.
        if self.page_script is not None and ipywidgets.Widget._widget_construction_callback is not None:  # noqa: SLF001
            self._esm, self._css = self.page_script.whole, self.page_script.style
        self._view_lock = threading.RLock()
        self._is_openable = False
        self._before_open: Callable[[], object] | None = None
        self._display: Callable[..., object] | None = None
        self._batch: MessageBatch | None = None
        super().__init__(*positional, **named)
        # marimo opens a widget while it is made, before it can show anything: it is opened again when it is displayed.
        early: Any = self.comm  # ipywidgets has no types
        self._is_opened_by_callback = early is not None
        if early is not None:
            early.close()
            self._forget_comm()
        self._is_openable = True

    def belongs_to(
        self, lock: threading.RLock, before_open: Callable[[], object], display: Callable[..., object]
    ) -> None:
        """Take the view's `lock` as the model's own; `before_open` is called before the browser learns of the model.

        `display` returns the view's MIME bundle: it becomes the model's own, so a model displayed without its view
        shows the same picture as the view.
        """
        self._view_lock, self._before_open, self._display = lock, before_open, display
        setattr(self, "_repr_mimebundle_", display)  # noqa: B010  # the classes' own are methods

    @property
    def model_id(self) -> str:
        """The model's id; the first read opens the model: its view is drawn, and the browser learns of the model."""
        with self._view_lock:
            if self.is_lost:
                self._forget_comm()
            if self.comm is None and self._is_openable and self._before_open is not None:
                self._before_open()
            self.open()
            return str(super().model_id)

    @property
    def is_open(self) -> bool:
        """Whether the browser knows of the model; False before the first display and after `close`."""
        return self.comm is not None and not self.is_lost

    @property
    def is_lost(self) -> bool:
        """Whether the front end has closed the model's comm, as marimo does when a cell runs again.

        The next display opens the model again, under another id.
        """
        return self._is_openable and getattr(self.comm, "_closed", False) is True

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called; the model cannot be opened again."""
        return not self._is_openable

    def open(self) -> None:
        """Announce the model to the browser with its present state, unless it is open or was closed.

        The constructor of ipywidgets calls this too, which is too early and has no effect.
        """
        with self._view_lock:
            if self._is_openable and self.comm is None:
                if self._is_opened_by_callback:
                    self._call_widget_constructed(self)
                elif self.page_script is not None:
                    self.script_model = self.page_script.model()
                super().open()
                comm: Any = self.comm
                if self.takes_messages_in_cells:
                    comm._reply_subshell_for = None  # noqa: SLF001
                self._batch = MessageBatch(comm, self._changes(), str(super().model_id))
                self._opened()

    def _forget_comm(self) -> None:
        """Forget a closed comm and the id that it gave the model."""
        ipywidgets_widget._instances.pop(str(super().model_id), None)  # noqa: SLF001
        self.comm = self._model_id = self._batch = None

    def _changes(self) -> Changes:
        """Return what shortens the model's messages to what has changed; in this base class nothing does."""
        return WholeMessages()

    def answered(self, page: str | None) -> None:
        """Note that the model works in a page, from its first answer on; `page` is the id of one that takes changes.

        None is a page that takes whole messages alone: from then on all do, as each message goes to every page.
        """
        if self._batch is not None:
            self._batch.answered(page)

    def forget_sent(self) -> None:
        """Send frames whole up to the page's next answer, because it may not have the last one."""
        if self._batch is not None:
            self._batch.page = None
            self._batch.forget()

    def _opened(self) -> None:
        """Hook of subclasses, called once, with the lock held, just after the model was announced to the browser.

        This base class does nothing.
        """

    def close(self) -> None:
        """Close the model in kernel and browser; it cannot be opened again."""
        with self._view_lock:
            self._is_openable = False
            super().close()
            # The view and its data end with their last user, and not when Python next looks for cycles.
            self._before_open = None
            if isinstance(self._display, MethodType):  # of a view
                setattr(self, "_repr_mimebundle_", _Closed(self._display))  # noqa: B010  # as in `belongs_to`
                self._display = None

    def _handle_msg(self, msg: dict[str, Any]) -> None:
        """Handle `msg`, a message of the browser for this model, or one for several models of its page."""
        content = msg.get("content", {}).get("data", {}).get("content")
        if isinstance(content, dict) and isinstance(content.get("said"), list):
            page = content.get("page")
            for each in content["said"]:
                _deliver(each, page if isinstance(page, str) else None)
        else:
            with self._view_lock:
                self._handle_own(msg)

    def _handle_own(self, msg: dict[str, Any]) -> None:
        """Handle `msg`, a message of the browser for this model alone; called with the view's lock held."""
        super()._handle_msg(msg)

    def send_picture(self, picture: str, *, is_last: bool) -> None:
        """Send the page the view's newest static picture (HTML) for the notebook's file; `is_last`: the view closes."""
        self.send({"picture": picture, "last": is_last})

    def send_beat(self, frames: int) -> None:
        """Send the page a sign of life of a view, which says that `frames` frames were sent."""
        self.send({"beat": True, "frames": frames})

    def send_keeper(self) -> None:
        """Send the page the script that writes static pictures and states to the notebook's file when it is saved."""
        self.send({"keeper": static_text("saving.js")})

    def send_again(self, name: str) -> None:
        """Send the trait `name` at the end of the surrounding `hold_sync` block, even if its value is unchanged."""
        self._states_to_send.add(name)

    def get_state(self, key: Any = None, drop_defaults: bool = False) -> dict[str, Any]:  # noqa: ANN401, FBT001, FBT002
        """Return the values of the model's synced traits by name, all as of one update of the view.

        `key` names one trait or several, None means all; `drop_defaults` leaves out those with their default value.
        """
        with self._view_lock:
            return dict(super().get_state(key, drop_defaults))


def seconds(waited: object) -> float:
    """Return in s how long the browser waited with its answer; `waited` is that time in ms, as the browser sent it.

    It waits about a second at most, a page in the background longer: 0.0 for anything but a number of up to a minute.
    """
    return waited / 1e3 if isinstance(waited, (int, float)) and 0 <= waited <= MOST_WAITED_MS else 0.0


def _deliver(said: object, page: str | None) -> None:
    """Pass a model what the page said to it: its id, and the content of a custom message. Anything else is ignored."""
    if not isinstance(said, list) or len(said) != 2:
        return
    model = ipywidgets_widget._instances.get(said[0]) if isinstance(said[0], str) else None  # noqa: SLF001
    if isinstance(model, LateModel):
        with model._view_lock:  # noqa: SLF001
            # Only a view that has painted can take changes: before, its script may not be there.
            if isinstance(said[1], dict) and "ack" in said[1]:
                model.answered(page)
            model._handle_custom_msg(said[1], [])  # noqa: SLF001


class Changes(Protocol):
    """Shortens the messages of one model to what has changed (an interface)."""

    def forget(self) -> None:
        """Send everything whole in the next message."""

    def shorten(self, message: Message, *, is_whole: bool) -> Message:
        """Return the message as it is to be sent; it is noted as sent. `is_whole`: not shortened."""


class Comm(Protocol):
    """Interface of a widget's comm (its connection to the browser), as far as it is used here: the method `send`."""

    send: Any


class MessageBatch:
    """Replaces a comm's `send`: passes each message on, but joins the updates that one thread sends within `as_one`.

    A comm is a widget's connection to the browser. The values with which the browser reports events are not sent back
    to it. A FigureWidget's `batch_update` sets four traits one after the
    other, each a message: two edit numbers, the update, and None to withdraw the update. ipywidgets' own batching
    keeps only the last value of each trait, so the update would be lost. Here they are sent as one message with the
    update in it, which makes a figure four times cheaper. Messages of the painter's thread leave with those of other
    views, and without what has not changed (`transport`).
    """

    def __init__(self, comm: Comm, changes: Changes, model_id: str) -> None:
        self._comm: Any = comm
        self._send = comm.send
        self._changes = changes
        self.model_id = model_id
        # The page that is known to take changes alone, and messages of several views as one.
        self.page: str | None = None
        self._is_plain = False
        self._thread = 0
        self._state: dict[str, Any] = {}
        self._paths: list[list[Any]] = []
        self._buffers: list[Any] = []
        comm.send = self.send

    def send(self, data: dict[str, Any] | None = None, *rest: object, buffers: Any = None, **options: object) -> None:  # noqa: ANN401
        """Send a message to the browser at once, or collect an update that this thread sends within `as_one`.

        The signature is that of the comm's own method: `data` is the message, `buffers` its binary parts; `rest` and
        `options` are passed on.
        """
        if data is not None and str(data.get("method", "")).endswith("update"):
            state = {name: value for name, value in data["state"].items() if not name.startswith(EVENT)}
            if data["state"] and not state:
                return
            data = {**data, "state": state}
        if rest or options or data is None:
            self._send(data, *rest, buffers=buffers, **options)
            return
        if self._thread != threading.get_ident() or data.get("method") != "update":
            self._leave(Message(data, list(buffers or ())))
            return
        for name, value in data["state"].items():
            # Withdrawn in the same batch: the update must be sent, and the browser needs no None after it.
            if value is not None or self._state.get(name) is None:
                self._state[name] = value
        self._paths += data.get("buffer_paths") or []
        self._buffers += buffers or []

    @contextmanager
    def as_one(self) -> Iterator[None]:
        """Context manager that collects the updates that this thread sends, and sends them as one message at its end.

        Nothing is sent if there was no update.
        """
        self._thread = threading.get_ident()
        try:
            yield
        finally:
            self._thread = 0
            state, paths, buffers = self._state, self._paths, self._buffers
            self._state, self._paths, self._buffers = {}, [], []
            if state:
                self._leave(Message({"method": "update", "state": state, "buffer_paths": paths}, buffers))

    def forget(self) -> None:
        """Send everything whole in the next message."""
        self._changes.forget()

    def answered(self, page: str | None) -> None:
        """Note the page that answered; after an answer of None, a page that takes no changes, all is sent whole.

        So is the first message after a page's first answer: the script that keeps lines may have come after the last.
        """
        self._is_plain |= page is None
        if self.page is None:
            self._changes.forget()
        self.page = None if self._is_plain else page

    @property
    def is_closed(self) -> bool:
        """Whether the comm was closed, by the kernel or by the page."""
        return getattr(self._comm, "_closed", False) is True

    def send_now(self, message: Message) -> None:
        """Send `message` to the browser on the model's own comm."""
        self._send(message.data, buffers=message.buffers)

    def _leave(self, message: Message) -> None:
        outbox = get_outbox()
        message = self._changes.shorten(message, is_whole=self.page is None or outbox.is_whole)
        if not outbox.takes(self, message):
            self.send_now(message)


@functools.cache
def _was_sent(key: str) -> threading.Event:  # noqa: ARG001  # one event for each key
    """Return the event that is set once this kernel has sent the script named `key` without being asked for it."""
    return threading.Event()


class ScriptedModel(LateModel):
    """A model of which a small loader gets the page its large script, which is in no state.

    The script travels to a page once, as one message: unasked with the first model of a kernel that has it, because a
    page cannot ask while a cell runs, and to each page that asks for it. A subclass sets `script_key`, the script's
    versioned name in the page; its `page_script` is made by `loader`.

    Traits: `static_picture` (HTML, default ""), shown until the script is there. A page that opens gets the newest.
    `script_follows` (default False): said by the message that opens the first model, as the script comes behind it.
    """

    script_key: ClassVar[str]

    static_picture = traitlets.Unicode("", help="HTML shown until the script is there; default empty.").tag(sync=True)
    script_follows = traitlets.Bool(default_value=False, help="Whether the script comes unasked; default False.").tag(
        sync=True
    )
    _newest_picture = ""

    def send_picture(self, picture: str, *, is_last: bool) -> None:
        """Send the page the view's newest static picture (HTML), as any model does, and keep it for pages that open."""
        self._newest_picture = picture
        super().send_picture(picture, is_last=is_last)

    def get_state(self, key: Any = None, drop_defaults: bool = False) -> dict[str, Any]:  # noqa: ANN401, FBT001, FBT002
        """Return the values of the model's synced traits by name, with the newest static picture.

        `key` names one trait or several, None means all; `drop_defaults` leaves out those with their default value.
        """
        state = super().get_state(key, drop_defaults)
        if self._newest_picture and "static_picture" in state:
            state["static_picture"] = self._newest_picture
        if "script_follows" in state:
            state["script_follows"] = self._is_openable and self.comm is None and not self._was_script_sent.is_set()
        return state

    @property
    def _was_script_sent(self) -> threading.Event:
        return _was_sent(self._needed_script())

    def _opened(self) -> None:
        if not self._was_script_sent.is_set():
            self._was_script_sent.set()
            self.send_script(self._needed_script())

    def _needed_script(self) -> str:
        """Return the versioned name of the script that this model needs."""
        return self.script_key

    def send_script(self, key: str) -> None:
        """Send the script with the versioned name `key` to the pages that show this model."""
        self.send({"script": key}, buffers=self._script(key))

    @abstractmethod
    def _script(self, key: str) -> list[bytes]:
        """Return the script with the versioned name `key`, gzipped, and what comes with it, as it is."""


def loader(key: str, *names: str, **values: str) -> PageScript:
    """Return the loader of a kind of ScriptedModel, which is ended by the files `names` of the folder static/.

    `key` is the large script's versioned name in the page; `values` are further texts by the names that stand for them.
    """
    text = static_text("model.js", "script.js", *names)
    for name, value in {"KEY": key, **values}.items():
        text = text.replace(f"__{name}__", value)
    return PageScript(text, static_text("model.css"))


WHOLE = ("_widget_data", "_widget_layout", "_last_layout_edit_id", "_last_trace_edit_id")


class FigureListener(Protocol):
    """Interface of a function that receives what the browser says of a figure.

    Called with the view's lock held, on the kernel's thread.
    """

    def __call__(self, content: dict[str, Any], unanswered: int | None = None) -> None:
        """Receive a custom message of the browser; `unanswered`: number of edits yet to be drawn, None if not said."""


class LiveFigure(ScriptedModel, go.FigureWidget):  # type: ignore[misc]  # plotly has no types
    """A FigureWidget whose state holds a stub of 400 bytes instead of plotly's script of 5 MB.

    A page gets the small script of `plotly_script`, or the whole one for figures with traces that the small one lacks.

    One model may be displayed many times. The browser answers an edit with its number alone: plotly's own answer, every
    property that was filled in, makes plotly remove these from the layout, which costs up to six messages more and
    loses `xaxis.type="date"`.

    Traits: `state_number` (default 0), counts the times that the whole state was sent.
    """

    page_script = loader(SMALL_KEY, "figure.js", WHOLE=WHOLE_KEY, TRACES=",".join(SMALL_TRACES))
    _esm = page_script.stub
    script_key = SMALL_KEY

    state_number = traitlets.Int(0, help="Times that the whole state was sent; default 0.").tag(sync=True)

    def __init__(self, *positional: Any, **named: Any) -> None:  # noqa: ANN401
        self._listener: FigureListener | None = None
        self._answered = 0
        super().__init__(*positional, **named)
        self.on_msg(LiveFigure._on_custom)
        self._view_count = None  # the page does not count: it reports its displays by their ids, as each page does
        self._config = CONFIG

    def listen(self, listener: FigureListener) -> None:
        """Call `listener` at each report of the browser, on the kernel's thread, instead of any earlier listener."""
        self._listener = listener

    def close(self) -> None:
        """Close the figure in kernel and browser; it cannot be opened again."""
        with self._view_lock:
            super().close()
            self._listener = None

    @property
    def unanswered(self) -> int:
        """Number of edits that no display has drawn yet."""
        return max(0, int(self._last_trace_edit_id) - self._answered)

    def one_message(self) -> AbstractContextManager[None]:
        """Return a context manager that sends all edits that this thread makes in its block as one message.

        Before the browser knows of the figure there is nothing to send, and it has no effect.
        """
        return nullcontext() if self._batch is None else self._batch.as_one()

    def get_state(self, key: Any = None, drop_defaults: bool = False) -> dict[str, Any]:  # noqa: ANN401, FBT001, FBT002
        """Return the values of the figure's synced traits by name, with the present data and layout.

        plotly's own traits for data and layout may hold older ones. `key` names one trait or several, None means all;
        `drop_defaults` leaves out those with their default value.
        """
        with self._view_lock:
            state = super().get_state(key, drop_defaults)
            if self._is_openable:
                live = {"_widget_data": self._data, "_widget_layout": self._layout_obj._props}  # noqa: SLF001
                for name in live.keys() & state.keys():
                    state[name] = self.trait_metadata(name, "to_json")(live[name], self)
            return state

    def _changes(self) -> Changes:
        return FigureChanges()

    def send_beat(self, frames: int) -> None:  # noqa: ARG002  # a user's own edits are no frames
        """Send the page a sign of life, which says the number of the newest edit."""
        self.send({"beat": True, "edit": self._last_layout_edit_id})

    def _needed_script(self) -> str:
        return key_for(trace.type for trace in self.data)

    def _script(self, key: str) -> list[bytes]:
        return [plotly_script(key), static_text("freeze.js", "figure_display.js").encode()]

    def _on_custom(self, content: object, _: object) -> None:
        """Handle the custom message `content` of the browser: a request, an answer, or an event such as a click.

        Anything malformed is ignored.
        """
        if not isinstance(content, dict):
            return
        if content.get("want") == "script":
            self.send_script(SMALL_KEY if content.get("key") == SMALL_KEY else WHOLE_KEY)
        elif content.get("want") == "state":
            self.forget_sent()
            with self.hold_sync():
                self.state_number += 1
                for name in (*WHOLE, *SHARED):
                    self.send_again(name)
        elif isinstance(content.get("ack"), int):
            self._confirm(content["ack"])
            self._tell(content, self.unanswered)
        elif isinstance(content.get("visible"), bool):
            self._tell(content)
        elif str(content.get("event", "")).startswith(EVENT) and isinstance(content.get("value"), dict):
            self.set_state({content["event"]: content["value"]})

    def _tell(self, content: dict[str, Any], unanswered: int | None = None) -> None:
        if self._listener is not None:
            self._listener(content, unanswered)

    def _confirm(self, edit: int) -> None:
        """Note that a display has drawn the edit with the number `edit` and all before it."""
        self._answered = max(self._answered, edit)
        if self.unanswered == 0:
            self._trace_edit_in_process = self._layout_edit_in_process = False
            while self._waiting_edit_callbacks:
                self._waiting_edit_callbacks.pop()()
