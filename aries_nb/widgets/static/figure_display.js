// A display of a Plotly figure: the part of figure.js that is of use with plotly's script alone, and comes with it.

const ANSWERS = new Set(["_js2py_traceDeltas", "_js2py_layoutDelta", "_js2py_widget_layoutDelta"]);

// Report a click, a zoom, a changed legend as a message of its own. As values of the model they would be lost: while a
// message is unanswered ipywidgets keeps the newest value only. Of several hovers the newest is enough.
function report(say, soon, connection, name, value) {
  if (!value) return;
  const { line } = connection;
  const kind = value.event_type;
  const isHover = /hover$/.test(kind);
  if (isHover) line.said = line.said.filter(([from, past]) => from !== connection || past.value?.event_type !== kind);
  say(connection, { event: name, value }, isHover ? soon : undefined);
}

// One display: a model and a view of plotly's own, with listeners that end with the display.
export function display({ answer, say, soon }, bundle, model, el, connection) {
  const listeners = [];
  const parts = bundle.default();
  let isView = false;
  const own = {
    get: (name) => model.get(name),
    set(name, value) {
      if (ANSWERS.has(name)) own.answer(value?.trace_edit_id);
      else if (name.startsWith("_js2py_")) report(say, soon, connection, name, value);
      else model.set(name, value);
    },
    save_changes() {}, // the page changes no value of the model
    answer: (edit) => Number.isInteger(edit) && answer(connection, edit),
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
      remove?.();
      el.replaceChildren();
    },
  };
}
