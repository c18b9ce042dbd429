"""Base class of all live views: a lock, a frame counter, the last error, a live and a static display, `close`."""

from __future__ import annotations

import html
import logging
import math
import threading
from abc import ABC, abstractmethod
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeAlias

import pandas as pd

from aries_nb.errors import BoundToProcess, UsageError
from aries_nb.model.clock import elapsed, wall_ns
from aries_nb.model.settings import settings
from aries_nb.widgets.pacing import PERIOD_S
from aries_nb.widgets.painter import Painter, get_painter
from aries_nb.widgets.sources import ClockedSource, MovedSource, TimedSource
from aries_nb.widgets.static_html import FONT, bundle
from aries_nb.widgets.widget_model import seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from aries_nb.model import ShownMoment, Standing
    from aries_nb.widgets.sources import PaintTimings, VersionedSource
    from aries_nb.widgets.widget_model import LateModel

__all__ = ["MimeBundle", "View"]

NOTE = f"{FONT};padding:2px 10px;opacity:0.8"
LIVE = "live: of now, does not go back"  # what a view says that cannot show the past, while others do
DISPLAYS_KEPT = 1000
PICTURE_S = 10.0  # how old the static picture may be that a page has of a view that changes
LOG = logging.getLogger("aries_nb")

MimeBundle: TypeAlias = dict[str, object]


class View(BoundToProcess, ABC):
    """A live view of a source of data; no kernel is needed to see its static picture.

    The painter's thread draws it while it is displayed. One view may be displayed many times, also after its output was
    cleared; all displays show the same picture. `lock` guards the widget: the painter holds it while it draws, and what
    the browser sends back is applied under it. Any thread may call its methods. A `draw` that fails is logged, counted
    (`errors`), stored (`error`) and shown on the view; the next that succeeds sets `error` to None. `frames` counts the
    updates sent to the browser.

    Class attributes: `period_s`, shortest time between two frames, updates sent to the browser, in s (0.09);
    `refresh_s`, seconds after which it is drawn although
    nothing changed (1; None: never).
    """

    period_s = PERIOD_S
    refresh_s: float | None = 1.0

    def __init__(self, source: VersionedSource) -> None:
        self.lock = threading.RLock()
        self.frames = 0
        self.errors = 0
        self.error: Exception | None = None
        self._source = source
        self._painter: Painter | None = None
        self._is_closed = False
        self.when_used: Callable[[], Callable[[], None] | None] | None = None  # returns what is called when a page asks
        self._seen_at = math.inf  # until the first display
        self._displays: dict[str, None] = {}  # that are visible, in any page
        self._places: dict[str, None] = {}  # all that were not removed
        self.shown: ShownMoment | None = None  # of the feed's other views, where this one cannot follow them
        self._standing: Standing | int | None = None  # at a past moment, or the others', as the page was told
        self._pictured = 0  # the frame of the newest static picture that the page has, and when it was sent
        self._pictured_at = elapsed()

    @property
    @abstractmethod
    def widget(self) -> LateModel:
        """The ipywidgets widget that shows this view; it can be placed in any ipywidgets layout."""

    @property
    def version(self) -> int:
        """The version of the view's source, which grows with every change of its data."""
        return self._source.version

    @property
    def lags(self) -> PaintTimings | None:
        """The object that receives the times from a row's receipt to the screen; None if the source measures none."""
        return self._source.lags if isinstance(self._source, TimedSource) else None

    @property
    def is_failing(self) -> bool:
        """Whether the last drawing of the view raised an exception."""
        return self.error is not None

    @property
    def is_closed(self) -> bool:
        """Whether the view, or its widget, was closed."""
        return self._is_closed or self.widget.is_closed

    def draw(self) -> int:
        """Draw the newest data now, on the calling thread; return the number of messages sent to the browser.

        An exception is not raised but shown on the view. Nothing is drawn once the view is closed.
        """
        with self.lock:
            if self._is_closed:
                return 0
            if self.widget.is_lost or self.widget.is_closed:
                if self._painter is not None:
                    self._painter.forget(self)
                return 0
            try:
                messages = self._name_timezone() + self._tell_standing() + self._draw()
                if self.error is not None:
                    self.error = None
                    messages += self._show_problem("")
                return messages + self._renew_picture()
            except Exception as error:
                return self._failed(error)

    def freeze(self, at: datetime | None = None) -> None:
        """Stop the picture in all pages at the time `at`, which has a time zone; None is now.

        The view then says since when, and how many frames it is behind, and can still be sorted, filtered, scrolled and
        zoomed; its button does the same in one page. Data, and static pictures of the notebook's file, go on. A page
        keeps no pictures of the past: for an earlier time the present one stays, with its own time. Raises UsageError
        for anything but a time with a time zone.
        """
        said = self._now_ms()
        if at is not None and (not isinstance(at, datetime) or pd.isna(at) or at.utcoffset() is None):
            advice = 'Pass a datetime with a time zone, as pd.Timestamp.now("UTC"), or nothing for now.'
            raise UsageError(f"at={at!r} is no time with a time zone", where="freeze", advice=advice)
        with self.lock:
            if not self._is_closed and self._standing is None:
                self.widget.frozen = {"at": said if at is None else at.timestamp() * 1e3, "said": said}

    def resume(self) -> None:
        """Show the newest picture in all pages again, and what comes; no effect on a view that is not frozen."""
        with self.lock:
            if not self._is_closed:
                # Never equal to the value before: a page may have been frozen by its button.
                self.widget.frozen = {"said": self._now_ms()}

    def beat(self) -> int:
        """Send a sign of life, so that a page can know a quiet view from a lost one; return the number of messages.

        It says what was sent last: a page that lost it asks for the state.
        """
        with self.lock:
            if self._is_closed:
                return 0
            try:
                self.widget.send_beat(self.frames)
            except Exception as error:
                return self._failed(error)
            return 1

    def close(self) -> None:
        """Stop drawing, and free the widget and its memory in kernel and browser; a second call does nothing."""
        with self.lock:
            if self._is_closed:
                return
            self._is_closed = True
        if self._painter is not None:
            self._painter.forget(self)
            self._painter = None
        with self.lock:
            self._renew_picture(is_last=True)
            self._release()

    def seen_at(self) -> float:
        """Return when a page last showed this view or answered for it, in s of `elapsed`, and ask the pages again.

        Now while a cell runs, as no answer can come in; infinity before the first display, -infinity where no page has
        a display of it.
        """
        if self._painter is not None and self._seen_at != -math.inf:
            if self._painter.is_busy:
                self._seen_at = elapsed()
            else:
                self._painter.ask(self)
        return self._seen_at

    def watch(self, painter: Painter | None = None) -> None:
        """Let the painter's thread draw this view from now on; called when the view is displayed.

        `painter` None takes the view's present one, or that of the process.
        """
        if self.is_closed:
            return
        self._painter = painter or self._painter or get_painter()
        self._was_seen()
        self._painter.watch(self)

    def _repr_mimebundle_(
        self, include: Collection[str] | None = None, exclude: Collection[str] | None = None
    ) -> MimeBundle:
        self.draw()
        picture = self._static_html()
        self._pictured, self._pictured_at = self.frames, elapsed()
        data = bundle(
            model_id=None if self.is_closed else self._displayed_model(),
            text_html=picture,
            include=include,
            exclude=exclude,
        )
        self.watch()
        return data

    def _renew_picture(self, *, is_last: bool = False) -> int:
        """Send the page a new static picture, for the notebook's file, if the one it has is old and of another frame.

        Return the number of messages sent. `is_last` sends it in any case: the view is being closed.
        """
        is_due = self.frames != self._pictured and elapsed() >= self._pictured_at + PICTURE_S
        if not self.widget.is_open or not (is_due or is_last):
            return 0
        self._pictured, self._pictured_at = self.frames, elapsed()
        self.widget.send_picture(self._static_html(), is_last=is_last)
        return 1

    def _name_timezone(self) -> int:
        """Send the page the name of the time zone if it was changed; return the number of messages."""
        if self.widget.timezone == settings.timezone:
            return 0
        self.widget.timezone = settings.timezone
        return int(self.widget.is_open)

    def _tell_standing(self) -> int:
        """Tell the page at which past moment the source stands, if any, or that it does not while others do.

        Return the number of messages.
        """
        source = self._source
        standing: Standing | int | None = None if self.shown is None else self.shown.at
        if isinstance(source, MovedSource):
            standing = source.standing
        if standing == self._standing:
            return 0
        self._standing = standing
        frozen: dict[str, object] = {"said": self._now_ms()}
        if standing is not None:
            at, text = (standing, LIVE) if isinstance(standing, int) else (standing.at, _told(standing))
            frozen |= {"at": at / 1e6, "text": text}
        self.widget.frozen = frozen
        return int(self.widget.is_open)

    def _now_ms(self) -> float:
        """Return the time of the page in ms since the epoch: the market's in a replay, else this computer's."""
        clock = self._source.clock if isinstance(self._source, ClockedSource) else None
        return (wall_ns() if clock is None or clock.pace is None else clock.now_ns()) / 1e6

    def _displayed_model(self) -> str:
        return str(self.widget.model_id)

    def _static_html(self) -> str:
        """Return the view's static picture, with the time that it is of."""
        try:
            local = datetime.fromtimestamp(settings.local_ns(wall_ns()) // 1_000_000_000, UTC)
            taken = html.escape(f"{local:%Y-%m-%d %H:%M:%S} {settings.timezone}")
            return f'<div class="anb-picture">{self._picture()}<div style="{NOTE}">picture of {taken}</div></div>'
        except Exception as error:
            self._failed(error)
            return f"<p>{html.escape(f'{self!r}: {error}')}</p>"

    def _failed(self, error: Exception) -> int:
        is_news = self.error is None or repr(self.error) != repr(error)
        self.errors += 1
        # Its traceback would keep the locals of every stack frame, and so the data of that moment, alive.
        self.error = error.with_traceback(None)
        if not is_news:
            return 0
        LOG.error("%s could not be drawn: %r", type(self).__name__, error)
        try:
            return self._show_problem(f"not drawn: {error}" if str(error) else f"not drawn: {type(error).__name__}")
        except Exception as unsent:
            # One line: it comes with each drawing for as long as the connection is broken.
            LOG.error("%s could not show why: %r", type(self).__name__, unsent)  # noqa: TRY400
            return 0

    def _on_report(self, content: Mapping[str, object], unanswered: int | None = None) -> None:
        """Pass on to the painter what the browser says in its custom message `content`; malformed values are ignored.

        `visible`: whether the display with the id `view` can be seen; `removed`: that it was removed; `waited`: how
        long the browser waited with its answer, in ms. `unanswered` is how many frames it has yet to paint, None means
        that the message does not say. A widget displayed directly, without its view, is drawn by the painter from its
        first report on.
        """
        if self._is_closed:
            return
        if content.get("resume") is True:
            if isinstance(self._source, MovedSource):
                self._source.resume()
            elif self.shown is not None:
                self.shown.move(None)
        said, display = content.get("visible"), str(content.get("view", ""))
        is_visible = self._is_any_visible(display, is_visible=said) if isinstance(said, bool) else None
        if content.get("removed") is True and self._was_last(display):
            self._seen_at = -math.inf
        elif is_visible or self._seen_at != -math.inf:  # an answer may come after the report that its display is gone
            self._was_seen()
        if self._painter is None:
            self.watch()
        if self._painter is not None:
            waited = seconds(content.get("waited"))
            self._painter.report(self, unanswered=unanswered, is_visible=is_visible, painted_s_ago=waited)

    def _was_last(self, display: str) -> bool:
        """Note that the display with the id `display` was removed; return whether no other is known."""
        with self.lock:
            self._places.pop(display, None)
            return not self._places

    def _is_any_visible(self, display: str, *, is_visible: bool) -> bool:
        """Note whether the display with the id `display` is visible; return whether any display of the view is.

        A new display may be on a page that was just opened, which has none of the frames before.
        """
        with self.lock:
            if display not in self._places:
                self.widget.forget_sent()
            self._displays.pop(display, None)
            self._places[display] = None
            if len(self._places) > DISPLAYS_KEPT:
                del self._places[next(iter(self._places))]
            if is_visible:
                self._displays[display] = None
                # A page that crashes does not report that its displays are gone; what it leaves here must not grow.
                if len(self._displays) > DISPLAYS_KEPT:
                    del self._displays[next(iter(self._displays))]
            return bool(self._displays)

    def _was_seen(self) -> None:
        self._seen_at = elapsed()
        use = None if self.when_used is None else self.when_used()
        if use is not None:
            use()

    @abstractmethod
    def _draw(self) -> int:
        """Update the widget to the newest data; return the number of messages sent to the browser.

        Called by `draw` with `lock` held; an exception is shown on the view.
        """

    @abstractmethod
    def _picture(self) -> str:
        """Return the view's present content as HTML that needs no script, with all texts escaped."""

    @abstractmethod
    def _show_problem(self, text: str) -> int:
        """Show this text on the view, or remove the one shown if it is empty.

        Return the number of messages sent to the browser.
        """

    @abstractmethod
    def _release(self) -> None:
        """Close the view's widgets, which frees them in kernel and browser."""


def _told(standing: Standing) -> str:
    """Return what the badge of a view says that stands at a past moment."""
    at, behind, unit, is_held = standing
    of_day, zone = settings.clock(at).split(" ", 1)
    text = f"frozen at {of_day}.{at // 1_000_000 % 1_000:03} {zone}"
    if not is_held:
        return f"{text}, no longer in memory"
    return f"{text}, {behind:,} {unit}{'s' * (behind != 1)} behind" if behind else text
