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

// Route messages past anywidget. It gives a model two seconds to get ready and drops all messages of one that took
// longer, for good; such a model asks for the state again. Returns the connection: `receivedAt` by performance.now().
function connect(model) {
  const raw = rawModel(model);
  const connection = { raw, receivedAt: performance.now(), hasEnded: false };
  let type = raw && Object.getPrototypeOf(raw);
  while (type && !Object.hasOwn(type, "_handle_comm_msg")) type = Object.getPrototypeOf(type);
  const receive = type && Object.getPrototypeOf(type)?._handle_comm_msg;
  if (!raw?.comm?.on_msg || !receive) return connection;
  raw.comm.on_msg((message) => {
    connection.receivedAt = performance.now();
    return receive.call(raw, message);
  });
  const nothing = { content: { data: { method: "custom", content: {} } }, buffers: [] };
  Promise.resolve(raw._handle_comm_msg(nothing)).catch(() => send(model, { want: "state" }));
  return connection;
}

function hasEnded(connection) {
  const { raw } = connection;
  if (!raw || !("comm" in raw)) return false; // a front end of its own kind: nothing is known
  const status = raw.widget_manager?.kernel?.status;
  if (!raw.comm || raw.comm_live === false || ENDED.has(status)) connection.hasEnded = true;
  return connection.hasEnded;
}

const clockTime = (ago) => `${new Date(Date.now() - ago).toISOString().slice(11, 19)} UTC`;

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
    const text = what && `${what} since ${clockTime(now - connection.receivedAt)}`;
    if (sign.textContent !== text) sign.textContent = text;
    root.classList.toggle("anb-no-kernel", Boolean(what));
  }

  const timer = setInterval(tick, TICK_MS);
  return () => {
    clearInterval(timer);
    sign.remove();
  };
}
