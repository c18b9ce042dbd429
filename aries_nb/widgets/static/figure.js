// A Plotly figure without plotly's script in its state (see script.js); edits that come before the script are queued. The
// page gets a small script, or the whole one for figures with traces that the small one lacks. Where only the whole one
// can be used, both are one.

const whole = slotOf("__WHOLE__");
const SMALL_TRACES = new Set("__TRACES__".split(","));

const EDITS = ["addTraces", "deleteTraces", "moveTraces", "restyle", "relayout", "update", "animate",
  "removeLayoutProps", "removeTraceProps"].map((name) => `_py2js_${name}`);

// Plotly's view answers an edit with every property that it filled in; only the edit's number is used.
function prepare(bundle, ours) {
  if (!page.show) Object.assign(page, ours);
  const view = bundle.FigureView?.prototype;
  if (!view?._sendTraceDeltas || !view._sendLayoutDelta) return;
  view._sendTraceDeltas = function (edit) {
    this.model.model.answer(edit);
  };
  view._sendLayoutDelta = () => {};
}

// The whole script does what the small one does.
function prepareWhole(bundle, ours) {
  prepare(bundle, ours);
  page.isReceived = true;
  page.resolve(bundle);
}

// Let the figure use the script that its traces need, and call `grow` when it gets one that the small script cannot draw.
function chooseScript(model, connection) {
  const look = (traces) => {
    if (connection.slot === whole || !traces?.some(({ type }) => !SMALL_TRACES.has(type ?? "scatter"))) return;
    connection.slot = whole;
    for (const grow of connection.growing) grow();
  };
  connection.slot = page;
  connection.growing = new Set();
  look(model.get("_widget_data"));
  model.on("change:_py2js_addTraces", () => look(model.get("_py2js_addTraces")?.trace_data));
  model.on("change:state_number", () => look(model.get("_widget_data")));
}

// Make an edit whole that has the new points of a line alone. What does it comes with plotly's script.
function completeEdit(message, connection) {
  const { state, delta } = message.content.data;
  const isWhole = page.complete?.(message, connection) ?? !delta;
  if (isWhole && state) connection.received = Math.max(connection.received ?? 0, newestIn(state));
  return isWhole;
}

// The number of the newest edit that a message has, 0 for none; the number alone, without its edit, does not count.
function newestIn(state) {
  const whole = state._widget_data ? state._last_layout_edit_id : 0;
  return Math.max(...[whole, ...EDITS.map((name) => state[name]?.layout_edit_id)].filter(Number.isInteger), 0);
}

// An edit of several traces has a value of every trace for each property. Where a trace keeps its own, plotly sends a word:
// its displays know it, its model, to which the edits come as they were sent, would take it for the value.
const keptAsIs = (values) => (Array.isArray(values) ? values.map((each) => (each === "_undefined_" ? undefined : each)) : values);
function readable(edit) {
  const part = ["style_data", "restyle_data"].find((name) => edit?.[name] && !Array.isArray(edit[name]));
  if (!part) return edit;
  const style = Object.entries(edit[part]).map(([name, values]) => [name, keptAsIs(values)]);
  return { ...edit, [part]: Object.fromEntries(style) };
}

// The state of the model in the page: plotly's own model applies the edits to it, those first that came too early.
function keepState(model, connection) {
  const early = [];
  let isReady = false;
  let edit = model.get("_last_layout_edit_id") || 0;
  for (const name of EDITS) {
    model.on(`change:${name}`, () => {
      const value = model.get(name);
      if (!value) return;
      if (!isReady) {
        early.push([name, value]);
        askForScript(connection, connection.slot); // which the kernel sends unasked once, not to a page that was opened later
      }
      if (!Number.isInteger(value.layout_edit_id)) return;
      // A lost edit: the whole state is asked for, and drawn anew.
      if (value.layout_edit_id > edit + 1) askForState(connection);
      edit = Math.max(edit, value.layout_edit_id);
    });
  }
  model.on("change:state_number", () => (edit = Math.max(edit, model.get("_last_layout_edit_id"))));
  // The last edit of a figure that is quiet since then can be lost too.
  model.on("msg:custom", (content) => {
    if (content?.beat && content.edit > Math.max(edit, connection.received ?? 0)) askForState(connection);
  });
  page.bundle.then((bundle) => {
    const listeners = [];
    let past = null;
    bundle.default().initialize({
      model: {
        get: (name) => readable(past?.[0] === name ? past[1] : model.get(name)),
        set: (name, value) => model.set(name, value),
        save_changes: () => model.save_changes(),
        on: (event, call) => listeners.push([event, call]),
      },
    });
    for (past of early.splice(0)) {
      for (const [event, call] of listeners) if (event === `change:${past[0]}`) call();
    }
    past = null;
    isReady = true;
    for (const [event, call] of listeners) model.on(event, call);
  });
  return () => early.splice(0);
}

export default () => {
  let connection = null;
  return lasting({
    initialize({ model }) {
      connection = connect(model, completeEdit);
      takeScript(model, page, prepare);
      if (whole !== page) takeScript(model, whole, prepareWhole);
      chooseScript(model, connection);
      expectScript(model, connection, connection.slot);
      const forget = keepState(model, connection);
      // The whole state holds every edit before it.
      model.on("change:state_number", forget);
      return connection;
    },
    render({ model, el }) {
      const root = document.createElement("div");
      const plot = document.createElement("div");
      root.className = "anb-figure";
      root.appendChild(plot);
      plot.style.minHeight = `${model.get("_widget_layout")?.height || 360}px`;
      el.appendChild(root);
      let isGone = false;
      let shown = null;
      const display = announce(connection);
      display.report(true); // also out of sight: plotly's model in the page has to get every edit
      const stopWatching = watchKernel(connection, root, () => document.visibilityState !== "hidden");
      const end = () => {
        isGone = true;
        display.end();
        stopWatching();
        connection.growing.delete(draw);
        shown?.end();
        shown = null;
      };
      plot.innerHTML = model.get("static_picture"); // until the script is there, which takes a second
      const draw = async () => {
        const bundle = await script(connection, connection.slot);
        plot.style.minHeight = "";
        if (isGone || !bundle) return;
        if (shown) return shown.use(bundle);
        plot.replaceChildren();
        shown = page.show({ answerFrame, askForState, sayToKernel, stampOf, bundle, model, connection, root, el: plot });
      };
      connection.growing.add(draw);
      draw();
      return end;
    },
  });
};
