// A light chart in the page: its numbers are kept once for all displays, and grow by messages of what changed. The script
// that draws them comes to the page once (see script.js).

// Frame: number, kernel ms, number of the frame before (0: whole), blocks; of each block columns, rows dropped, kept,
// appended; then the appended rows of each block, column by column.
function applyFrame(store, numbers) {
  const count = numbers[3];
  const blocks = [];
  let at = 4 + 4 * count;
  for (let place = 0; place < count; place++) {
    const [columns, drop, keep, added] = numbers.subarray(4 + 4 * place, 8 + 4 * place);
    const block = [];
    for (let column = 0; column < columns; column++) {
      const next = new Float64Array(keep + added);
      if (keep) next.set(store.blocks[place][column].subarray(drop, drop + keep));
      next.set(numbers.subarray(at, at + added), keep);
      block.push(next);
      at += added;
    }
    blocks.push(block);
  }
  store.blocks = blocks;
  store.number = numbers[0];
  store.kernelMs = numbers[1];
}

function float64s(bytes) {
  const start = bytes.byteOffset || 0; // a received buffer need not start at a multiple of eight bytes: copied
  return new Float64Array((bytes.buffer || bytes).slice(start, start + bytes.byteLength));
}

function makeStore(model, connection) {
  const store = { number: 0, kernelMs: 0, blocks: [], description: {} };
  const listeners = new Set();
  function takeState() {
    const bytes = model.get("frame");
    if (!bytes?.byteLength) return;
    applyFrame(store, float64s(bytes));
    store.description = model.get("description");
    listeners.forEach((call) => call());
  }
  model.on("change:frame", takeState);
  model.on("msg:custom", (content, buffers) => {
    if (content?.beat && content.frames > store.number) askForState(connection);
    if (!Number.isInteger(content?.frame) || !buffers?.[0] || content.frame <= store.number) return;
    const numbers = float64s(buffers[0]);
    if (numbers[2] !== store.number) return askForState(connection);
    applyFrame(store, numbers);
    if (content.description) store.description = content.description;
    listeners.forEach((call) => call());
  });
  takeState();
  // What `show` of shared.js reads of a model: the frame is its number and the kernel's clock alone.
  store.model = {
    get(name) {
      if (name === "description") return store.description;
      if (name === "frame") return store.number ? new Float64Array([store.number, store.kernelMs]) : null;
      return model.get(name);
    },
    on: (event, call) => (event === "change:frame" ? listeners.add(call) : model.on(event, call)),
    off: (event, call) => (event === "change:frame" ? listeners.delete(call) : model.off(event, call)),
  };
  return store;
}

export default () => {
  let connection = null;
  let store = null;
  return lasting({
    initialize({ model }) {
      connection = connect(model);
      takeScript(model);
      expectScript(model, connection);
      store = makeStore(model, connection);
      return connection;
    },
    render({ model, el }) {
      let isGone = false;
      let remove = null;
      el.style.minHeight = `${store.description.height || 0}px`;
      el.innerHTML = model.get("static_picture"); // until the script is there
      script(connection).then((bundle) => {
        el.style.minHeight = "";
        if (isGone || !bundle) return;
        el.replaceChildren();
        remove = bundle.display(store, el, connection);
      });
      return () => {
        isGone = true;
        remove?.();
      };
    },
  });
};
