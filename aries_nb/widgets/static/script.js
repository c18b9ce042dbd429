// A large script that models of one kind share: it comes to the page once, packed, as a message to whichever model asks
// first, and is kept under a versioned name.

const KEY = "__KEY__";

const page = (globalThis[KEY] ??= (() => {
  const slot = { isReceived: false, askedAt: -Infinity };
  slot.bundle = new Promise((resolve) => (slot.resolve = resolve));
  return slot;
})());

async function imported(code) {
  const url = URL.createObjectURL(new Blob([code], { type: "text/javascript" }));
  const bundle = await import(url);
  URL.revokeObjectURL(url);
  return bundle;
}

// `prepare(bundle, ours)` is called once, before any model gets the bundle; `ours` is what came with it, not packed.
async function receiveScript([bytes, more], prepare) {
  if (page.isReceived) return;
  page.isReceived = true;
  try {
    const unpacked = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    const bundle = await imported(await new Response(unpacked).blob());
    prepare?.(bundle, more && (await imported(more)));
    page.resolve(bundle);
  } catch (error) {
    page.isReceived = false;
    console.error(`[aries_nb] the script ${KEY} could not be loaded`, error);
  }
}

// Take the script from messages to this model.
function expectScript(model, prepare) {
  model.on("msg:custom", (content, buffers) => {
    if (content?.script === KEY && buffers?.[0]) receiveScript(buffers, prepare);
  });
}

// A front end of its own kind, such as marimo, shows no comm, though it has a kernel.
const isAlone = (connection) => (connection.raw?.widget_manager && !connection.raw.comm) || hasEnded(connection);

function askForScript(connection) {
  if (page.isReceived || isAlone(connection) || performance.now() < page.askedAt + ASK_AGAIN_MS) return;
  page.askedAt = performance.now();
  sayToKernel(connection, { want: "script" });
}

// Resolves to the bundle; to undefined for a model whose kernel cannot send it.
async function script(connection) {
  for (;;) {
    askForScript(connection);
    connection.answeredAt = performance.now(); // a display that waits for its script has not failed
    const isInVain = isAlone(connection) && !page.isReceived;
    const pause = new Promise((resolve) => setTimeout(resolve, isInVain ? 200 : ASK_AGAIN_MS));
    const bundle = await Promise.race([page.bundle, pause]);
    if (bundle || isInVain) return bundle;
  }
}
