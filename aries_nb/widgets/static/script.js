// A large script that models of one kind share: it comes to the page once, packed, as a message to whichever model asks
// first, and is kept under a versioned name.

const slotOf = (key) => (globalThis[key] ??= (() => {
  const slot = { key, isReceived: false, askedAt: -Infinity };
  slot.bundle = new Promise((resolve) => (slot.resolve = resolve));
  return slot;
})());

const page = slotOf("__KEY__");

async function imported(code) {
  const url = URL.createObjectURL(new Blob([code], { type: "text/javascript" }));
  const bundle = await import(url);
  URL.revokeObjectURL(url);
  return bundle;
}

// `prepare(bundle, ours)` is called once, before any model gets the bundle; `ours` is what came with it, not packed.
async function receiveScript(slot, [bytes, more], prepare) {
  if (slot.isReceived) return;
  slot.isReceived = true;
  try {
    const unpacked = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    const bundle = await imported(await new Response(unpacked).blob());
    prepare?.(bundle, more && (await imported(more)));
    slot.resolve(bundle);
  } catch (error) {
    slot.isReceived = false;
    console.error(`[aries_nb] the script ${slot.key} could not be loaded`, error);
  }
}

// Take the script of a slot from messages to this model.
function takeScript(model, slot = page, prepare) {
  model.on("msg:custom", (content, buffers) => {
    if (content?.script === slot.key && buffers?.[0]) receiveScript(slot, buffers, prepare);
  });
}

// Ask for the script before anything is displayed: a page that was reloaded needs it at once.
function expectScript(model, connection, slot = page) {
  if (!model.get("script_follows")) askForScript(connection, slot);
}

// A front end of its own kind, such as marimo, shows no comm, though it has a kernel.
const isAlone = (connection) => (connection.raw?.widget_manager && !connection.raw.comm) || hasEnded(connection);

// The kernel answers every request, also those that waited for the end of a cell: while it is busy, one is enough.
function askForScript(connection, slot = page) {
  if (slot.askedAt > -Infinity && connection.raw?.widget_manager?.kernel?.status === "busy") return;
  if (slot.isReceived || isAlone(connection) || performance.now() < slot.askedAt + ASK_AGAIN_MS) return;
  slot.askedAt = performance.now();
  sayToKernel(connection, { want: "script", key: slot.key }, 0);
}

// Resolves to the bundle; to undefined for a model whose kernel cannot send it.
async function script(connection, slot = page) {
  for (;;) {
    askForScript(connection, slot);
    connection.answeredAt = performance.now(); // a display that waits for its script has not failed
    const isInVain = isAlone(connection) && !slot.isReceived;
    const pause = new Promise((resolve) => setTimeout(resolve, isInVain ? 200 : ASK_AGAIN_MS));
    const bundle = await Promise.race([slot.bundle, pause]);
    if (bundle || isInVain) return bundle;
  }
}
