// A Plotly figure without plotly's script in its state (see script.js); edits that come before the script are queued.

const ANSWER_MS = 150;
const EDITS = ["addTraces", "deleteTraces", "moveTraces", "restyle", "relayout", "update", "animate",
  "removeLayoutProps", "removeTraceProps"].map((name) => `_py2js_${name}`);
const ANSWERS = new Set(["_js2py_traceDeltas", "_js2py_layoutDelta", "_js2py_widget_layoutDelta"]);

// Plotly's view answers an edit with every property that it filled in; only the edit's number is used.
function prepare(bundle) {
  const view = bundle.FigureView?.prototype;
  if (!view?._sendTraceDeltas || !view._sendLayoutDelta) return;
  view._sendTraceDeltas = function (edit) {
    this.model.model.answer(edit);
  };
  view._sendLayoutDelta = () => {};
}

// The state of the model in the page: plotly's own model applies the edits to it, those first that came too early.
function keepState(model) {
  const early = [];
  let isReady = false;
  let edit = model.get("_last_layout_edit_id") || 0;
  let askedAt = -Infinity;
  for (const name of EDITS) {
    model.on(`change:${name}`, () => {
      const value = model.get(name);
      if (!value) return;
      if (!isReady) early.push([name, value]);
      if (!Number.isInteger(value.layout_edit_id)) return;
      // A lost edit: the whole state is asked for, and drawn anew.
      if (value.layout_edit_id > edit + 1 && performance.now() > askedAt + ASK_AGAIN_MS) {
        askedAt = performance.now();
        send(model, { want: "state" });
      }
      edit = Math.max(edit, value.layout_edit_id);
    });
  }
  page.bundle.then((bundle) => {
    const listeners = [];
    let past = null;
    bundle.default().initialize({
      model: {
        get: (name) => (past?.[0] === name ? past[1] : model.get(name)),
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

// One display: a model and a view of plotly's own, with listeners that end with the display.
function display(bundle, model, el) {
  const listeners = [];
  const parts = bundle.default();
  let isView = false;
  let newest = 0;
  let answering = 0;
  let answeredAt = -ANSWER_MS;
  function answerNow() {
    answering = 0;
    answeredAt = performance.now();
    send(model, { ack: newest, waited: 0 });
  }
  const own = {
    get: (name) => model.get(name),
    set(name, value) {
      if (ANSWERS.has(name)) own.answer(value?.trace_edit_id);
      else model.set(name, value);
    },
    save_changes() {
      try {
        model.save_changes();
      } catch {} // the kernel is gone
    },
    answer(edit) {
      if (!Number.isInteger(edit)) return;
      newest = Math.max(newest, edit);
      if (!answering) answering = setTimeout(answerNow, answeredAt + ANSWER_MS - performance.now());
    },
    on(event, call) {
      if (!isView) return; // the state is kept once for all displays
      model.on(event, call);
      listeners.push([event, call]);
    },
  };
  parts.initialize({ model: own });
  isView = true;
  const remove = parts.render({ el });
  return {
    answer: () => own.answer(model.get("_last_trace_edit_id")),
    end() {
      for (const [event, call] of listeners) model.off(event, call);
      clearTimeout(answering);
      remove?.();
      el.replaceChildren();
    },
  };
}

export default () => {
  let connection = null;
  return {
    initialize({ model }) {
      connection = connect(model);
      expectScript(model, prepare);
      const forget = keepState(model);
      // Displayed before: the page was opened again, and the kernel does not send the script unasked.
      if (model.get("_view_count") > 0) askForScript(model, connection);
      // The whole state holds every edit before it.
      model.on("change:state_number", forget);
    },
    async render({ model, el, signal }) {
      const root = document.createElement("div");
      const plot = document.createElement("div");
      root.className = "anb-figure";
      root.appendChild(plot);
      plot.style.minHeight = `${model.get("_widget_layout")?.height || 360}px`;
      el.appendChild(root);
      let isGone = false;
      let shown = null;
      const stopWatching = watchKernel(connection, root, () => document.visibilityState !== "hidden");
      const redraw = () => {
        if (!shown) return;
        shown.end();
        shown = display(page.loaded, model, plot);
      };
      const receive = (content) => content?.beat && shown?.answer();
      const end = () => {
        isGone = true;
        model.off("msg:custom", receive);
        model.off("change:state_number", redraw);
        stopWatching();
        shown?.end();
        shown = null;
      };
      signal?.addEventListener("abort", end);
      model.on("msg:custom", receive);
      model.on("change:state_number", redraw);
      script(model, connection).then((bundle) => {
        if (isGone) return;
        plot.style.minHeight = "";
        if (bundle) {
          page.loaded = bundle;
          shown = display(bundle, model, plot);
        } else plot.innerHTML = model.get("static_picture");
      });
      return end;
    },
  };
};
