// What board, ladder and card share: they paint on animation frames, answer what they painted, say whether they can be
// seen. Every text from outside goes through textContent, never through markup.

function make(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

// Writes only what changed: an untouched node costs neither layout nor the reader's text selection.
function put(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function flag(node, name, isOn) {
  if (node.classList.contains(name) !== isOn) node.classList.toggle(name, isOn);
}

const FORMATS = new Map();
function grouped(value, decimals) {
  if (!Number.isFinite(value)) return "–";
  let format = FORMATS.get(decimals);
  if (!format) {
    const digits = { minimumFractionDigits: decimals, maximumFractionDigits: decimals };
    FORMATS.set(decimals, (format = new Intl.NumberFormat("en-US", digits)));
  }
  return format.format(value);
}

function spanOfTime(seconds) {
  if (seconds < 60) return `${Math.max(0, Math.floor(seconds))} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 172800) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86400)} d`;
}

// A flash is an attribute that is set and swept away, not a CSS animation: an animation repaints its cell sixty times a
// second, and a whole board of them costs a slow browser half of its frames.
const FLASH_MS = 400;
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

// The clock of the kernel as far as the last frame told it; the browser's own clock may be wrong by minutes.
function kernelClock() {
  let offset = null;
  return {
    told(kernelMs, isFresh) {
      if (isFresh || offset === null) offset = isFresh ? kernelMs - performance.now() : Date.now() - performance.now();
    },
    now: () => (offset === null ? Date.now() : performance.now() + offset),
  };
}

// An answer costs the browser, the server and the kernel as much as a frame does: one for two frames is enough.
const ANSWER_MS = 150;

function show({ model, el }, makeView) {
  const root = make("div", "aries-nb");
  root.dataset.frames = "0";
  el.appendChild(root);
  const problem = make("div", "anb-problem");
  problem.setAttribute("role", "status");
  const clock = kernelClock();
  const view = makeView(root, clock);
  root.appendChild(problem);

  const id = Math.random().toString(36).slice(2);
  let queued = 0;
  let last = null;
  let count = 0;
  let answering = 0;
  let answeredAt = -ANSWER_MS;
  let isSeen = null;
  let isIntersecting = false;

  function answer() {
    answering = 0;
    answeredAt = performance.now();
    model.send({ ack: last });
  }

  function paint() {
    queued = 0;
    put(problem, model.get("problem") || "");
    flag(root, "anb-has-problem", Boolean(model.get("problem")));
    const bytes = model.get("frame");
    if (!bytes || !bytes.byteLength) return;
    // A buffer from the wire need not start at a multiple of eight bytes, so it is copied.
    const start = bytes.byteOffset || 0;
    const data = new Float64Array((bytes.buffer || bytes).slice(start, start + bytes.byteLength));
    clock.told(data[1], last !== null);
    view.paint(data, model.get("description"));
    if (last !== data[0]) root.dataset.frames = String(++count);
    last = data[0];
    root.dataset.frame = String(last);
    if (!answering) answering = setTimeout(answer, answeredAt + ANSWER_MS - performance.now());
  }
  const want = () => {
    if (!queued) queued = requestAnimationFrame(paint);
  };
  const say = (isVisible) => {
    if (isVisible === isSeen) return;
    isSeen = isVisible;
    model.send({ visible: isVisible, view: id });
  };
  const look = () => say(isIntersecting && document.visibilityState !== "hidden");

  const changes = ["change:frame", "change:description", "change:problem"];
  for (const change of changes) model.on(change, want);
  const observer = new IntersectionObserver((entries) => {
    isIntersecting = entries[entries.length - 1].isIntersecting;
    look();
  });
  observer.observe(root);
  document.addEventListener("visibilitychange", look);
  const timer = setInterval(() => view.tick && isSeen && last !== null && view.tick(), 1000);
  paint();

  return () => {
    clearInterval(timer);
    clearTimeout(answering);
    cancelAnimationFrame(queued);
    observer.disconnect();
    document.removeEventListener("visibilitychange", look);
    for (const change of changes) model.off(change, want);
    say(false);
  };
}

