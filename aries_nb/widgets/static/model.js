// A model of ours in the page: it gets every message of its kernel, and knows when there is none any more. All private
// names of ipywidgets and anywidget that the scripts rely on are used here, and none is needed: where one is missing,
// the model works as anywidget makes it.

const SILENT_MS = 5000;
const TICK_MS = 1000;
const ENDED = new Set(["dead", "terminating", "restarting", "autorestarting"]);

// The model behind anywidget's proxy, which Backbone passes to the listeners of a change.
function rawModel(model) {
  let raw = null;
  const keep = (changed) => (raw = changed);
  model.on("change:_anb", keep);
  model.set("_anb", Math.random());
  model.off("change:_anb", keep);
  return raw;
}

// Sending fails for a model whose kernel is gone.
function send(model, content) {
  try {
    model.send(content);
  } catch {}
}

// What the models of one kernel have in common on this page: their messages to the kernel leave together, because each
// costs the browser, the server and the kernel as much as a frame does, and turns the kernel's busy light on.
const kernelLines = (globalThis["aries_nb.lines.1"] ??= new WeakMap());
// Time between two messages with answers while all is well, and while frames wait for one.
const ANSWER_EVERY_MS = 1000;
const ANSWER_SOON_MS = 150;
const GATHER_MS = 20;
const ASK_AGAIN_MS = 3000;
// The kernel sends no more frames of a view than these without an answer: those of one second.
const MOST_UNANSWERED = 12;

function lineOf(connection) {
  const owner = connection.raw?.widget_manager ?? connection;
  if (!kernelLines.has(owner)) {
    const id = Math.random().toString(36).slice(2);
    const line = { id, models: new Map(), waiting: [], said: [], answers: new Set(), timer: 0 };
    kernelLines.set(owner, { ...line, due: Infinity, sentAt: -Infinity });
  }
  return kernelLines.get(owner);
}

function flushLine(line) {
  const now = performance.now();
  line.due = Infinity;
  const said = line.said.splice(0);
  for (const connection of line.answers) {
    said.push([connection, { ack: connection.newest, waited: now - connection.paintedAt }]);
    connection.answered = connection.newest;
  }
  line.answers.clear();
  line.sentAt = now;
  const carrier = [...line.models.values()].find((each) => each.id && !hasEnded(each));
  const page = carrier?.isRouted ? line.id : null;
  line.carrier = carrier;
  if (carrier) send(carrier.model, { page, said: said.map(([each, content]) => [each.id, content]) });
  else for (const [{ model }, content] of said) send(model, content);
}

function flushLineAt(line, at) {
  if (at >= line.due) return;
  clearTimeout(line.timer);
  line.due = at;
  line.timer = setTimeout(() => flushLine(line), at - performance.now());
}

// Send the kernel `content` with all else that is to be sent within `wait` milliseconds.
function sayToKernel(connection, content, wait = GATHER_MS) {
  connection.line.said.push([connection, content]);
  flushLineAt(connection.line, performance.now() + wait);
}

// What a model carried to the kernel while a cell ran that closes it, the kernel throws away. Answers and requests come
// again by themselves; which displays can be seen does not.
function sayAgain(line) {
  for (const each of line.models.values()) {
    for (const [view, visible] of each.displays) sayToKernel(each, { visible, view });
  }
}

// A display of a model, as its kernel knows it. What a page that is left or reloaded does not say at once, it never says.
function announce(connection) {
  const id = Math.random().toString(36).slice(2);
  let isVisible = null;
  let wasVisible = null;
  const report = (isNow) => {
    if (isNow === isVisible) return;
    isVisible = isNow;
    if (isNow) connection.answered = undefined; // the kernel waits for the first answer
    connection.displays.set(id, isNow);
    sayToKernel(connection, { visible: isNow, view: id });
  };
  const leave = () => {
    wasVisible = isVisible;
    report(false);
    flushLine(connection.line);
  };
  const comeBack = ({ persisted }) => persisted && report(wasVisible);
  window.addEventListener("pagehide", leave);
  window.addEventListener("pageshow", comeBack);
  return {
    report,
    isVisible: () => isVisible,
    end() {
      window.removeEventListener("pagehide", leave);
      window.removeEventListener("pageshow", comeBack);
      isVisible = false;
      connection.displays.delete(id);
      sayToKernel(connection, { visible: false, view: id, removed: true });
    },
  };
}

// Answer that the frame `number` was painted now: once a second together with all views of the page, at once where the
// kernel waits for it.
function answerFrame(connection, number) {
  const { line } = connection;
  const isAwaited = !(number - connection.answered < MOST_UNANSWERED);
  if (number !== connection.newest) connection.paintedAt = performance.now();
  connection.newest = number;
  connection.answeredAt = performance.now();
  line.answers.add(connection);
  flushLineAt(line, Math.max(performance.now() + GATHER_MS, line.sentAt + (isAwaited ? ANSWER_SOON_MS : ANSWER_EVERY_MS)));
}

// The newest static pictures of this page's views, and the script that writes them to the notebook's file (saving.js).
const kept = (globalThis["aries_nb.kept.1"] ??= { pictures: new Map() });

// Also of closed views, as a dashboard may show them; the oldest of many go, or each cell that runs again would add one.
const MOST_PICTURES = 200;

function keepPicture(id, picture) {
  kept.pictures.delete(id);
  kept.pictures.set(id, picture);
  if (kept.pictures.size > MOST_PICTURES) kept.pictures.delete(kept.pictures.keys().next().value);
}

function keepForFile({ model, raw, id }) {
  const keep = (last) => kept.script?.then((saving) => saving.keep(raw, kept, last));
  model.on("msg:custom", ({ picture, last, keeper }) => {
    if (keeper) kept.script ??= import(URL.createObjectURL(new Blob([keeper], { type: "text/javascript" })));
    if (picture) keepPicture(id, picture);
    if (keeper || last) keep(last && picture);
  });
  if (keep() || kept.asked) return;
  kept.asked = setTimeout(() => (kept.asked = 0), 3000);
  send(model, { want: "keeper" });
}

// Messages for all models of the page came as one, to any of them; those for models that are not ready yet wait.
const MOST_WAITING = 400;

function passOn(line, all, buffers) {
  let at = 0;
  for (const [id, data, count] of all) {
    const message = { content: { data }, buffers: buffers.slice(at, (at += count)) };
    const target = line.models.get(id);
    if (target) target.take(message);
    else if (line.waiting.push([id, message]) > MOST_WAITING) line.waiting.shift();
  }
}

// Route messages past anywidget. It gives a model two seconds to get ready and drops all messages of one that took
// longer, for good; such a model asks for the state again. `complete(message, connection)` makes a message whole that has
// changes alone, and returns false if it cannot. Returns the connection: `receivedAt` by performance.now().
function connect(model, complete = () => true) {
  const raw = rawModel(model);
  const connection = { raw, model, id: raw?.model_id, receivedAt: performance.now(), askedAt: -Infinity, hasEnded: false };
  connection.displays = new Map(); // whether each can be seen, by its id
  const line = (connection.line = lineOf(connection));
  if (raw && !raw.comm) connection.ofFile = ""; // from the notebook's file, where nothing says when it was received
  keepForFile(connection);
  let type = raw && Object.getPrototypeOf(raw);
  while (type && !Object.hasOwn(type, "_handle_comm_msg")) type = Object.getPrototypeOf(type);
  const receive = type && Object.getPrototypeOf(type)?._handle_comm_msg;
  connection.isRouted = Boolean(raw?.comm?.on_msg && receive && connection.id);
  const before = line.models.get(connection.id); // where the model is made anew
  line.models.set(connection.id ?? connection, connection);
  if (!connection.isRouted) return connection;
  raw.once?.("destroy", () => {
    if (line.models.get(connection.id) === connection) line.models.delete(connection.id);
    if (line.carrier === connection) sayAgain(line);
  });
  connection.take = (message) => {
    connection.receivedAt = performance.now();
    // An error here must not keep the message's other parts from other models.
    try {
      if (complete(message, connection)) {
        const { state } = message.content.data;
        if (state?.frozen && state.timezone) noteState(connection);
        return receive.call(raw, message);
      }
    } catch (error) {
      console.error("[aries_nb] a message could not be used", error);
    }
    askForState(connection);
  };
  raw.comm.on_msg(connection.take);
  if (before) raw.off("msg:custom", before.pass);
  connection.pass = (content, buffers) => content?.all && passOn(line, content.all, buffers);
  raw.on("msg:custom", connection.pass);
  const early = line.waiting;
  line.waiting = early.filter(([id]) => id !== connection.id);
  for (const [id, message] of early) if (id === connection.id) connection.take(message);
  const nothing = { content: { data: { method: "custom", content: {} } }, buffers: [] };
  Promise.resolve(raw._handle_comm_msg(nothing)).catch(() => askForState(connection));
  return connection;
}

// The kernel answers every request, also those that waited for the end of a cell: while it is busy, one is enough.
function askForState(connection) {
  const now = performance.now();
  const isPending = connection.isAsked && connection.raw?.widget_manager?.kernel?.status === "busy";
  const wait = isPending ? ASK_AGAIN_MS : connection.askedAt + ASK_AGAIN_MS - now;
  if (wait > 0) {
    connection.asking ??= setTimeout(() => ((connection.asking = undefined), askForState(connection)), wait);
    return;
  }
  connection.askedAt = now;
  connection.isAsked = true;
  sayToKernel(connection, { want: "state" });
}

// The whole state came, which makes good everything that was lost before it.
function noteState(connection) {
  clearTimeout(connection.asking);
  connection.asking = undefined;
  connection.isAsked = false;
}

function hasEnded(connection) {
  const { raw } = connection;
  if (!raw?.widget_manager) return false; // a front end of its own kind: nothing is known
  const status = raw.widget_manager?.kernel?.status;
  if (!raw.comm || raw.comm_live === false || ENDED.has(status)) connection.hasEnded = true;
  return connection.hasEnded;
}

// What a script gives anywidget: a model that fails to start, or that gets messages and answers none of them for ten
// seconds, is made anew with all its displays; anywidget would give it up for good. `initialize({ model })` returns the
// connection, `render(context)` what ends the display.
const NO_ANSWER_MS = 10_000;
const START_AGAIN_MS = 1000;

function lasting({ initialize, render }) {
  const displays = new Set();
  let model = null;
  let connection = null;
  let failures = 0;
  let timer = 0;
  let expectedFrom = 0;
  let tickedAt = 0;

  function fail(error) {
    if (timer) return;
    console.error("[aries_nb] a view failed, and is made anew", error);
    timer = setTimeout(restart, START_AGAIN_MS * 2 ** Math.min(failures++, 8));
  }

  function restart() {
    timer = 0;
    for (const display of displays) display.end();
    model.off();
    start();
    if (connection) askForState(connection);
  }

  function start() {
    connection = null;
    expectedFrom = performance.now();
    try {
      connection = initialize({ model });
    } catch (error) {
      return fail(error);
    }
    for (const display of displays) display.begin();
  }

  function tick() {
    const now = performance.now();
    const isAnswered = connection?.answeredAt > expectedFrom;
    if (isAnswered) failures = 0;
    const isExpected = connection && displays.size && now - connection.receivedAt < SILENT_MS && now - tickedAt < 3 * TICK_MS;
    if (isAnswered || !isExpected || document.visibilityState === "hidden") expectedFrom = now;
    tickedAt = now;
    if (now - expectedFrom > NO_ANSWER_MS) fail(new Error("no answer"));
  }

  return {
    initialize(context) {
      model = context.model;
      start();
      const ticking = setInterval(tick, TICK_MS);
      context.signal?.addEventListener("abort", () => {
        clearInterval(ticking);
        clearTimeout(timer);
      });
    },
    render(context) {
      let remove = null;
      const display = {
        begin() {
          try {
            remove = render(context);
          } catch (error) {
            fail(error);
          }
        },
        end() {
          try {
            remove?.();
          } catch {} // what failed may be half there
          remove = null;
          context.el.replaceChildren();
        },
      };
      displays.add(display);
      if (connection) display.begin();
      return () => {
        displays.delete(display);
        display.end();
      };
    },
  };
}

// How far the clocks of a time zone are ahead of UTC at a time, in ms. They change at quarters of an hour only.
const QUARTER = 900_000;
const zoneClocks = new Map();
const zoneOffsets = new Map();
function offsetOf(zone, ms) {
  if (zone === "UTC") return 0;
  const key = `${zone} ${Math.floor(ms / QUARTER)}`;
  let offset = zoneOffsets.get(key);
  if (offset !== undefined) return offset;
  if (!zoneClocks.has(zone)) {
    const parts = { year: "numeric", month: "numeric", day: "numeric", hour: "numeric", minute: "numeric", second: "numeric" };
    zoneClocks.set(zone, new Intl.DateTimeFormat("en-US", { ...parts, hourCycle: "h23", timeZone: zone }));
  }
  const at = Math.floor(ms / QUARTER) * QUARTER;
  const part = {};
  for (const { type, value } of zoneClocks.get(zone).formatToParts(at)) part[type] = Number(value);
  offset = Date.UTC(part.year, part.month - 1, part.day, part.hour, part.minute, part.second) - at;
  if (zoneOffsets.size > 5000) zoneOffsets.clear();
  zoneOffsets.set(key, offset);
  return offset;
}

// The zone `name`, or UTC where the browser does not know it, which is then also the name to show.
function zoneOf(name) {
  try {
    offsetOf(name, 0);
    return name;
  } catch {
    return "UTC";
  }
}

// The time of day, or day and time, of epoch milliseconds in the time zone that the kernel names, with the zone's name.
function stampOf(model, ms, hasDay = false) {
  const zone = zoneOf(model.get("timezone") || "UTC");
  const text = new Date(ms + offsetOf(zone, ms)).toISOString().slice(0, 19).replace("T", " ");
  return `${hasDay ? text : text.slice(11)} ${zone}`;
}

// Show in `root` that the kernel is gone, or has been silent for five seconds although `isShown` said all the while that
// messages may be expected. A page that was stopped itself begins to wait anew.
function watchKernel(connection, root, isShown) {
  const sign = document.createElement("div");
  sign.className = "anb-kernel";
  sign.setAttribute("role", "status");
  root.appendChild(sign);
  let expectedFrom = performance.now();
  let tickedAt = expectedFrom;

  function tick() {
    const now = performance.now();
    if (!isShown() || now - tickedAt > 3 * TICK_MS) expectedFrom = now;
    tickedAt = now;
    const isGone = hasEnded(connection);
    const isSilent = connection.raw?.comm && now - Math.max(connection.receivedAt, expectedFrom) > SILENT_MS;
    const what = isGone ? "no kernel" : isSilent ? "nothing from the kernel" : "";
    const text = what && what + (connection.ofFile ?? ` since ${stampOf(connection.model, Date.now() - now + connection.receivedAt)}`);
    if (sign.textContent !== text) sign.textContent = text;
    root.classList.toggle("anb-no-kernel", Boolean(what));
  }

  const timer = setInterval(tick, TICK_MS);
  return () => {
    clearInterval(timer);
    sign.remove();
  };
}
