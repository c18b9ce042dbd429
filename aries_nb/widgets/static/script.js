// A large script that models of one kind share: it comes to the page once, packed, as a message to whichever model asks
// first, and is kept under a versioned name.

const KEY = "__KEY__";
const ASK_AGAIN_MS = 3000;

const page = (globalThis[KEY] ??= (() => {
  const slot = { isReceived: false, askedAt: -Infinity };
  slot.bundle = new Promise((resolve) => (slot.resolve = resolve));
  return slot;
})());

// `prepare(bundle)` is called once, before any model gets the bundle.
async function receiveScript(bytes, prepare) {
  if (page.isReceived) return;
  page.isReceived = true;
  try {
    const unpacked = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    const code = new Blob([await new Response(unpacked).blob()], { type: "text/javascript" });
    const url = URL.createObjectURL(code);
    const bundle = await import(url);
    URL.revokeObjectURL(url);
    prepare?.(bundle);
    page.resolve(bundle);
  } catch (error) {
    page.isReceived = false;
    console.error(`[aries_nb] the script ${KEY} could not be loaded`, error);
  }
}

// Take the script from messages to this model.
function expectScript(model, prepare) {
  model.on("msg:custom", (content, buffers) => {
    if (content?.script === KEY && buffers?.[0]) receiveScript(buffers[0], prepare);
  });
}

const isAlone = (connection) => !connection.raw?.comm || hasEnded(connection);

function askForScript(model, connection) {
  if (page.isReceived || isAlone(connection) || performance.now() < page.askedAt + ASK_AGAIN_MS) return;
  page.askedAt = performance.now();
  send(model, { want: "script" });
}

// Resolves to the bundle; to undefined for a model whose kernel cannot send it.
async function script(model, connection) {
  for (;;) {
    askForScript(model, connection);
    const isInVain = isAlone(connection) && !page.isReceived;
    const pause = new Promise((resolve) => setTimeout(resolve, isInVain ? 200 : ASK_AGAIN_MS));
    const bundle = await Promise.race([page.bundle, pause]);
    if (bundle || isInVain) return bundle;
  }
}
