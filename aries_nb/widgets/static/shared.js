// Base of all panels: painting on animation frames, answers to painted frames, reports of visibility. Texts from
// outside are set by textContent, never as markup.

// Put what scrolls into a frame; `showMore` shows at its edges that there is more.
function framed(scroll) {
  const frame = make("div", "anb-frame");
  const hints = ["below", "right", "left"].map((edge) => make("div", `anb-more anb-more-${edge}`));
  for (const hint of hints) hint.setAttribute("aria-hidden", "true");
  frame.append(scroll, ...hints);
  const showMore = () => {
    flag(frame, "anb-has-below", scroll.scrollHeight - scroll.clientHeight - scroll.scrollTop > 4);
    flag(frame, "anb-has-right", scroll.scrollWidth - scroll.clientWidth - scroll.scrollLeft > 4);
    flag(frame, "anb-has-left", scroll.scrollLeft > 0);
  };
  return { frame, showMore };
}

function make(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

// Writes only what changed: an untouched node costs no layout and keeps the user's text selection.
function put(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function flag(node, name, isOn) {
  if (node.classList.contains(name) !== isOn) node.classList.toggle(name, isOn);
}

// A bar shows at once what it asks for; `data-pending` says that the kernel has yet to follow. It is no `aria-busy`, for
// which screen readers would hold back what the bar says.
function showPending(root, isPending) {
  const text = String(isPending);
  if (root.dataset.pending !== text) root.dataset.pending = text;
}

const FORMATS = new Map();
const WHOLE_FROM = 2 ** 53; // a number of this size has no decimals, and is written in full as a BigInt alone
function grouped(value, decimals) {
  if (!Number.isFinite(value)) return "–";
  if (value < 0) {
    const text = grouped(-value, decimals);
    return /[1-9]/.test(text) ? `−${text}` : text; // what rounds to zero has no sign
  }
  if (value >= 1e21) return String(value);
  if (value >= WHOLE_FROM) return BigInt(value).toLocaleString("en-US");
  if (value * 10 ** decimals >= WHOLE_FROM) {
    decimals = Math.min(decimals, (String(value).split(".")[1] || "").length); // further ones would be noise
  }
  let format = FORMATS.get(decimals);
  if (!format) {
    const digits = { minimumFractionDigits: decimals, maximumFractionDigits: decimals };
    FORMATS.set(decimals, (format = new Intl.NumberFormat("en-US", digits)));
  }
  return format.format(Math.abs(value)); // -0 would have a sign
}

// How many decimals show a number in full, at most 12.
const decimalsOf = (value) => (/\.(\d*[1-9])0*$/.exec(value.toFixed(12)) || ["", ""])[1].length;

// A sign also for what rose, none for what rounds to zero.
function signed(value, decimals, unit = "") {
  if (!Number.isFinite(value)) return "–";
  const text = grouped(Math.abs(value), decimals);
  return `${!/[1-9]/.test(text) ? "" : value < 0 ? "−" : "+"}${text}${unit}`;
}

function spanOfTime(seconds) {
  if (seconds < 60) return `${Math.max(0, Math.floor(seconds))} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 172800) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86400)} d`;
}

// A flash is an attribute that is set and removed by a timer, not a CSS animation: an animation repaints its cell sixty
// times a second, and a whole board of them costs a slow browser half of its frames.
const FLASH_MS = 400;
const CALM_MS = 500; // what changes more often does not flash: it would be coloured all the time
const SWEEP_MS = 100;
const flashing = new Map();
let sweeper = 0;

function sweep() {
  const now = performance.now();
  for (const [node, until] of flashing) {
    if (until > now) continue;
    delete node.dataset.flash;
    flashing.delete(node);
  }
  sweeper = flashing.size ? setTimeout(sweep, SWEEP_MS) : 0;
}

function flash(node, direction) {
  if (node.dataset.flash !== direction) node.dataset.flash = direction;
  flashing.set(node, performance.now() + FLASH_MS);
  if (!sweeper) sweeper = setTimeout(sweep, SWEEP_MS);
}

// Width of a box whose placeholder is never cut; the browser keeps room for a button at the right.
const placeFor = (label) => `calc(${(0.8 * label.length).toFixed(1)}ch + 30px)`;

// A box that filters rows by their texts: alternatives are separated by `separators`, commas by default; of one
// alternative a row has all words. Pass /[,;\s]+/ where each word is a whole name, such as a symbol.
function makeFilter(label, onChange, separators = /[,;]/) {
  const input = make("input", "anb-filter");
  input.type = "search";
  input.placeholder = label;
  input.style.minWidth = placeFor(label);
  input.setAttribute("aria-label", label);
  // A notebook binds single keys (a, b, dd) to actions on cells; they must not reach it from this box.
  for (const name of ["keydown", "keyup", "keypress"]) input.addEventListener(name, (event) => event.stopPropagation());
  let alternatives = [];
  input.addEventListener("input", () => {
    const parts = input.value.toLowerCase().split(separators);
    alternatives = parts.map((part) => part.split(/\s+/).filter(Boolean)).filter((words) => words.length);
    onChange();
  });
  return {
    input,
    isSet: () => alternatives.length > 0,
    matches(text) {
      const lower = text.toLowerCase();
      return !alternatives.length || alternatives.some((words) => words.every((word) => lower.includes(word)));
    },
    nothingFound: () => `Nothing matches “${input.value.trim()}”.`,
  };
}

const PADDING = 10; // pixels of a cell, left and right together: as in the style sheets

// Sets the width of each column to its largest number of digits so far.
function fitWidths(table, widths, digits) {
  let total = 0;
  digits.forEach((width, place) => {
    total += width;
    const text = `calc(${width}ch + ${PADDING}px)`;
    const column = widths.children[place];
    if (column.style.width !== text) column.style.width = text;
  });
  const whole = `calc(${total}ch + ${PADDING * digits.length}px)`;
  if (table.style.width !== whole) table.style.width = whole;
}

// The kernel's clock, as of the last frame; the browser's own clock may be wrong by minutes. Of a replay, which has a
// pace, it is the market's.
function kernelClock(model) {
  const pace = () => model.get("pace") ?? null;
  // The time of the last frame, and when it came.
  let framed = { ms: Date.now(), at: performance.now() };
  let held = null; // the time of a frozen view
  return {
    zone: () => model.get("timezone") || "UTC",
    stamp: (ms, hasDay) => stampOf(model, ms, hasDay),
    set(ms, isFresh) {
      if (isFresh || pace() !== null) framed = { ms, at: performance.now() };
    },
    hold: (ms) => (held = ms),
    now: () => held ?? framed.ms + (performance.now() - framed.at) * (pace() ?? 1),
  };
}

// Make a frame of which the changed values came the whole frame, on the frame before.
function completeFrame({ content: { data }, buffers }, connection) {
  const place = data.buffer_paths?.findIndex((path) => path.length === 1 && path[0] === "frame") ?? -1;
  if (place < 0 || data.method !== "update") return true;
  let frame;
  if (!data.delta) frame = numbersOf(buffers[place]);
  else {
    frame = connection.frame ?? frameOf(connection.model);
    if (frame?.[0] !== data.delta.after || frame.length !== data.delta.length) return false;
    frame = frame.slice();
    const bytes = bytesOf(buffers[place]);
    const count = bytes.byteLength / 12;
    const values = new Float64Array(bytes, 0, count); // an odd number of changes is no multiple of eight bytes in all
    new Uint32Array(bytes, 8 * count).forEach((at, number) => (frame[at] = values[number]));
    buffers[place] = new DataView(frame.buffer);
  }
  connection.frame = frame;
  return true;
}

// A received buffer need not start at a multiple of eight bytes, so it is copied.
function bytesOf(buffer) {
  const start = buffer.byteOffset || 0;
  return (buffer.buffer || buffer).slice(start, start + buffer.byteLength);
}
const numbersOf = (buffer) => new Float64Array(bytesOf(buffer));

function frameOf(model) {
  const bytes = model.get("frame");
  return bytes?.byteLength ? numbersOf(bytes) : null;
}

// Of when the state of a model is that came from the notebook's file, by the kernel's clock in its frame.
function ofWhen(model) {
  const frame = model.get("frame");
  if (!(frame?.byteLength >= 16)) return "";
  return `, as of ${stampOf(model, new DataView(frame.buffer, frame.byteOffset).getFloat64(8, true), true)}`;
}

// A panel's script: `makeView(root, clock, kept)` returns { paint(data, description), tick(), freeze(isHeld) }; of a frozen
// view `paint` and `tick` are not called, and `freeze` is needed only where it draws by itself what is not its own.
// `canFreeze` false: it never is; `isHead`: its button freezes the whole dashboard. `keep(model, connection)` is
// called once for all displays of the model; what it returns is `kept`.
function panel(makeView, keep) {
  let connection = null;
  let kept = null;
  return lasting({
    initialize({ model }) {
      connection = connect(model, completeFrame);
      if (connection.ofFile === "") connection.ofFile = ofWhen(model);
      kept = keep?.(model, connection);
      // Only frames are whole; with a lost one a new description may be lost.
      let number = frameOf(model)?.[0];
      model.on("change:frame", () => {
        const next = frameOf(model)?.[0];
        if (next > number + 1) askForState(connection);
        number = next;
      });
      // The last frame of a view that is quiet since then can be lost too.
      model.on("msg:custom", (content) => {
        if (content?.beat && content.frames > (connection.frame?.[0] ?? number ?? 0)) askForState(connection);
      });
      return connection;
    },
    render: (context) => show(context, (root, clock) => makeView(root, clock, kept), connection),
  });
}

function show({ model, el }, makeView, connection) {
  const root = make("div", "aries-nb");
  root.dataset.frames = "0";
  el.appendChild(root);
  const problem = make("div", "anb-problem");
  problem.setAttribute("role", "status");
  const clock = kernelClock(model);
  const view = makeView(root, clock);
  root.appendChild(problem);

  const display = announce(connection);
  let queued = 0;
  let last = null;
  let count = 0;
  let isIntersecting = false;
  let shownMs = 0;

  function hold(isHeld) {
    if (isHeld && queued) {
      cancelAnimationFrame(queued);
      paint();
    }
    clock.hold(isHeld ? clock.now() : null);
    view.freeze?.(isHeld);
    if (!isHeld) requestPaint();
  }
  const { now, stamp } = clock;
  const freeze = makeFreeze(model, { root, now, stamp, hold, shownAt: () => shownMs, isHead: view.isHead });

  function paint() {
    queued = 0;
    put(problem, model.get("problem") || "");
    flag(root, "anb-has-problem", Boolean(model.get("problem")));
    const data = frameOf(model);
    if (!data) return;
    if (freeze.isHeld()) freeze.passed(data[0] - last);
    else draw(data);
    answerFrame(connection, data[0]);
  }
  function draw(data) {
    const isFirst = last === null;
    clock.set(data[1], !isFirst);
    view.paint(data, model.get("description"));
    if (last !== data[0]) root.dataset.frames = String(++count);
    [last, shownMs] = data;
    root.dataset.frame = String(last);
    freeze.drawn();
    if (!isFirst || view.canFreeze === false) return;
    freeze.place(root.querySelector(".anb-bar"));
    freeze.follow();
  }
  const receive = (content) => content?.beat && last !== null && answerFrame(connection, frameOf(model)[0]);
  const requestPaint = () => {
    if (!queued) queued = requestAnimationFrame(paint);
  };
  const checkVisibility = () => display.report(isIntersecting && document.visibilityState !== "hidden");

  const changes = ["change:frame", "change:description", "change:problem"];
  for (const change of changes) model.on(change, requestPaint);
  model.on("msg:custom", receive);
  const observer = new IntersectionObserver((entries) => {
    isIntersecting = entries[entries.length - 1].isIntersecting;
    checkVisibility();
  });
  observer.observe(root);
  document.addEventListener("visibilitychange", checkVisibility);
  const stopWatching = watchKernel(connection, root, display.isVisible);
  const timer = setInterval(() => view.tick && display.isVisible() && last !== null && !freeze.isHeld() && view.tick(), 1000);
  paint();

  return () => {
    clearInterval(timer);
    stopWatching();
    freeze.end();
    model.off("msg:custom", receive);
    cancelAnimationFrame(queued);
    observer.disconnect();
    document.removeEventListener("visibilitychange", checkVisibility);
    for (const change of changes) model.off(change, requestPaint);
    display.end();
  };
}

