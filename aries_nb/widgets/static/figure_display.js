// A display of a Plotly figure: the part of figure.js that is of use with plotly's script alone, and comes with it.

const ANSWERS = new Set(["_js2py_traceDeltas", "_js2py_layoutDelta", "_js2py_widget_layoutDelta"]);

const HOVER_MS = 150;
const MOST_HELD = 200; // edits of a frozen figure; after more it is made anew

// One display of the figure: plotly's own, made anew with the whole state; it answers signs of life as if it had drawn.
export function show(context) {
  const { model, connection, root, stampOf } = context;
  let shown = display(context);
  let behind = 0;
  let isOld = false;
  const redraw = () => {
    isOld = freeze.isHeld();
    if (isOld) return;
    shown.end();
    shown = display(context);
  };
  function hold(isHeld) {
    behind = 0;
    if (isHeld) shown.hold(() => freeze.passed(++behind));
    else if (!shown.release() || isOld) redraw();
  }
  const freeze = makeFreeze(model, {
    root,
    now: () => Date.now(),
    shownAt: () => Date.now() - performance.now() + connection.receivedAt,
    stamp: (ms) => stampOf(model, ms),
    hold,
  });
  const bar = document.createElement("div");
  bar.className = "anb-figure-bar";
  root.insertBefore(bar, context.el.nextSibling);
  freeze.place(bar);
  freeze.follow();
  const receive = (content) => content?.beat && shown.answer(model.get("_last_trace_edit_id"));
  model.on("msg:custom", receive);
  model.on("change:state_number", redraw);
  return {
    end() {
      model.off("msg:custom", receive);
      model.off("change:state_number", redraw);
      freeze.end();
      bar.remove();
      shown.end();
    },
  };
}

// A model and a view of plotly's own, with listeners that end with the display.
function display({ answerFrame, sayToKernel, bundle, model, connection, el }) {
  const listeners = [];
  const parts = bundle.default();
  let isView = false;
  let held = null; // the edits of a frozen figure: [event, edit]
  let onHeld = null;
  let past = null; // the one of them that is applied now

  // An edit of the same traces replaces what it sets of the edit before.
  function keep(event) {
    const edit = model.get(event.slice(7));
    if (!edit || held.some(([, known]) => known === edit)) return;
    const [name, before] = held.at(-1) ?? [];
    const isAlike = edit.style_data && name === event && String(before.style_traces) === String(edit.style_traces);
    const merge = (part) => ({ ...before[part], ...edit[part] });
    const style = () => {
      const all = merge("style_data");
      // Where a trace keeps what it has, it keeps what the edit before has set.
      for (const name in edit.style_data) {
        const [now, past] = [edit.style_data[name], before.style_data[name]];
        if (Array.isArray(now) && Array.isArray(past) && now.length === past.length) {
          all[name] = now.map((each, at) => (each === "_undefined_" ? past[at] : each));
        }
      }
      return all;
    };
    if (isAlike) held.pop();
    const whole = isAlike ? { ...edit, style_data: style(), layout_data: merge("layout_data") } : edit;
    if (held.length <= MOST_HELD) held.push([event, whole]);
    onHeld();
    own.answer(edit.trace_edit_id);
  }

  // Report a click, a zoom, a changed legend as a message of its own. As values of the model they would be lost: while a
  // message is unanswered ipywidgets keeps the newest value only. Of several hovers the newest is enough.
  function report(name, value) {
    if (!value) return;
    const { line } = connection;
    const kind = value.event_type;
    const isHover = /hover$/.test(kind);
    if (isHover) line.said = line.said.filter(([from, past]) => from !== connection || past.value?.event_type !== kind);
    sayToKernel(connection, { event: name, value }, isHover ? HOVER_MS : undefined);
  }

  const own = {
    get: (name) => (past && past[0] === `change:${name}` ? past[1] : model.get(name)),
    set(name, value) {
      if (ANSWERS.has(name)) own.answer(value?.trace_edit_id);
      else if (name.startsWith("_js2py_")) report(name, value);
      else model.set(name, value);
    },
    save_changes() {}, // the page changes no value of the model
    answer: (edit) => Number.isInteger(edit) && answerFrame(connection, edit),
    on(event, call) {
      if (!isView) return; // the state is kept once for all displays
      const take = () => (held && event.startsWith("change:_py2js_") ? keep(event) : call());
      model.on(event, take);
      listeners.push([event, take, call]);
    },
  };
  parts.initialize({ model: own });
  isView = true;
  const remove = parts.render({ el });
  return {
    answer: own.answer,
    hold(call) {
      [held, onHeld] = [[], call];
    },
    // Apply the edits that were held; false if they are too many.
    release() {
      const edits = held ?? [];
      held = null;
      if (edits.length > MOST_HELD) return false;
      for (past of edits) for (const [event, , call] of listeners) if (event === past[0]) call();
      past = null;
      return true;
    },
    end() {
      for (const [event, call] of listeners) model.off(event, call);
      remove?.();
      el.replaceChildren();
    },
  };
}

// Make the lines of an edit whole, of which the points at the end came alone. A lost edit before it makes that impossible.
export function complete({ content: { data }, buffers }, connection) {
  const { state, delta } = data;
  if (data.method !== "update" || !state) return true;
  if (state._widget_data) connection.points = null;
  const points = (connection.points ??= new Map());
  const update = state._py2js_update;
  const edit = update?.layout_edit_id;
  const isNext = edit === (connection.edit ?? connection.model.get("_last_layout_edit_id")) + 1;
  if (delta && !isNext) return false;
  if (state._last_layout_edit_id) connection.edit = state._last_layout_edit_id;
  if (!update) return true;
  const changes = new Map(delta?.lines.map(([place, ...change]) => [place, change]));
  const known = delta && connection.model.get("_widget_data");
  const all = data.buffer_paths.map((path, place) => {
    if (path.length !== 5 || path[0] !== "_py2js_update" || path[1] !== "style_data") return null;
    const name = path[2];
    const trace = update.style_traces[path[3]];
    if (update.style_data[name][path[3]].dtype !== "float64") return null;
    const end = numbers(buffers[place]);
    const change = changes.get(place);
    if (!change) return [trace, name, end];
    const [drop, keep, length] = change;
    const before = points.get(`${trace}.${name}`) ?? numbers(known?.[trace]?.[name]?.value);
    if (before?.length !== length) return undefined;
    const line = new Float64Array(keep + end.length);
    line.set(before.subarray(drop, drop + keep));
    line.set(end, keep);
    return [trace, name, line, place];
  });
  if (all.includes(undefined)) {
    connection.edit = edit - 1; // not drawn: each edit from here on is refused until the state comes
    return false;
  }
  for (const [trace, name, line, place] of all.filter(Boolean)) {
    points.set(`${trace}.${name}`, line);
    if (place !== undefined) buffers[place] = new DataView(line.buffer);
  }
  return true;
}

// A received buffer need not start at a multiple of eight bytes, so it is copied.
function numbers(buffer) {
  if (!buffer) return null;
  const start = buffer.byteOffset || 0;
  return new Float64Array((buffer.buffer || buffer).slice(start, start + buffer.byteLength));
}
