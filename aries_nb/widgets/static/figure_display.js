// A display of a Plotly figure: the part of figure.js that is of use with plotly's script alone, and comes with it.

const ANSWERS = new Set(["_js2py_traceDeltas", "_js2py_layoutDelta", "_js2py_widget_layoutDelta"]);
const UNSET = "_undefined_"; // plotly's word for a property of a trace that an edit leaves as it is

const HOVER_MS = 150;
const MOST_WAITING = 200; // edits of one display; after more it is made anew
const DRAW_MS = 12; // of an animation frame; the rest is for the page

// The displays with edits to draw, the one that has waited longest first. One animation frame draws as many as take little
// time, at least one, so that the page scrolls and answers clicks however many figures it has. A hidden page has no
// animation frames: timers, so that its figures go on.
const turns = new Set();
let cancelTurns = null;

function drawSome() {
  cancelTurns = null;
  const until = performance.now() + DRAW_MS;
  const isTime = () => performance.now() < until;
  for (const each of turns) {
    turns.delete(each);
    each.draw(isTime);
    if (!isTime()) break;
  }
  if (turns.size) expectTurn();
}

function expectTurn() {
  if (cancelTurns) return;
  const isHidden = document.visibilityState === "hidden";
  const turn = isHidden ? setTimeout(drawSome) : requestAnimationFrame(drawSome);
  cancelTurns = () => (isHidden ? clearTimeout : cancelAnimationFrame)(turn);
}

document.addEventListener("visibilitychange", () => {
  if (!cancelTurns) return;
  cancelTurns();
  cancelTurns = null;
  expectTurn();
});

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
    else if (isOld) redraw();
    else shown.release();
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
  const receive = (content) => content?.beat && shown.answerBeat();
  model.on("msg:custom", receive);
  model.on("change:state_number", redraw);
  return {
    // Draw with another script from now on.
    use(bundle) {
      context.bundle = bundle;
      redraw();
    },
    end() {
      model.off("msg:custom", receive);
      model.off("change:state_number", redraw);
      freeze.end();
      bar.remove();
      shown.end();
    },
  };
}

// Of two edits of the same kind that set the same properties of traces, the one that does what both do; null for others.
const MERGED = new Map([["change:_py2js_update", "style"], ["change:_py2js_restyle", "restyle"]]);

function merge([name, before], event, edit) {
  const kind = name === event && MERGED.get(event);
  if (!kind) return null;
  const [data, traces] = [`${kind}_data`, `${kind}_traces`];
  const names = (values) => Object.keys(values ?? {}).sort();
  if (![before, edit].every((each) => Array.isArray(each[traces]) && each[data])) return null;
  if (String(names(before[data])) !== String(names(edit[data]))) return null;
  if (names(before.layout_data).some((each) => !(each in (edit.layout_data ?? {})))) return null;
  const all = [...new Set([...before[traces], ...edit[traces]])];
  const valueIn = (from, property, trace) => {
    const [place, values] = [from[traces].indexOf(trace), from[data][property]];
    if (place < 0) return UNSET;
    return Array.isArray(values) ? values[place % values.length] : values;
  };
  const newest = (property) =>
    all.map((trace) => {
      const value = valueIn(edit, property, trace);
      return value === UNSET ? valueIn(before, property, trace) : value;
    });
  const values = Object.fromEntries(names(edit[data]).map((property) => [property, newest(property)]));
  return { ...edit, [traces]: all, [data]: values };
}

// A model and a view of plotly's own, with listeners that end with the display. Edits wait for the display's turn, or for
// the end of its freeze.
function display({ answerFrame, askForState, sayToKernel, bundle, model, connection, el }) {
  const listeners = [];
  const parts = bundle.default();
  let isView = false;
  let waiting = []; // [event, edit]
  let onHeld = null; // of a frozen display
  let past = null; // the edit that is applied now

  function keep(event) {
    const edit = model.get(event.slice(7));
    if (!edit) return;
    const last = waiting.at(-1);
    const both = last && merge(last, event, edit);
    if (both) waiting[waiting.length - 1] = [event, both];
    else if (waiting.length <= MOST_WAITING) waiting.push([event, edit]);
    if (onHeld) {
      onHeld();
      own.answer(edit.trace_edit_id);
    } else {
      turns.add(own);
      expectTurn();
    }
  }

  // Draw the edits that wait, at least one, then as long as it `isTime`.
  function draw(isTime = () => true) {
    if (waiting.length > MOST_WAITING) {
      waiting = [];
      askForState(connection); // which is drawn anew
    }
    try {
      while (waiting.length) {
        past = waiting.shift();
        for (const [event, , call] of listeners) if (event === past[0]) call();
        if (!isTime()) break;
      }
    } catch (error) {
      console.error("[aries_nb] a figure could not be drawn", error);
    }
    past = null;
    if (waiting.length) turns.add(own);
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
      const take = () => (event.startsWith("change:_py2js_") ? keep(event) : call());
      model.on(event, take);
      listeners.push([event, take, call]);
    },
    draw,
  };
  parts.initialize({ model: own });
  isView = true;
  const remove = parts.render({ el });
  return {
    // Edits that wait for their turn are answered when they are drawn.
    answerBeat: () => turns.has(own) || own.answer(model.get("_last_trace_edit_id")),
    hold(call) {
      draw();
      turns.delete(own);
      onHeld = call;
    },
    release() {
      onHeld = null;
      draw();
    },
    end() {
      turns.delete(own);
      for (const [event, take] of listeners) model.off(event, take);
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
  const all = data.buffer_paths.map((path, place) => {
    if (path.length !== 5 || path[0] !== "_py2js_update" || path[1] !== "style_data") return null;
    const name = path[2];
    const trace = update.style_traces[path[3]];
    if (update.style_data[name][path[3]].dtype !== "float64") return null;
    const end = numbers(buffers[place]);
    const change = changes.get(place);
    if (!change) return [trace, name, end];
    const [drop, keep, length] = change;
    const before = points.get(`${trace}.${name}`); // the kernel sends a line whole before it sends its new points
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
  const start = buffer.byteOffset || 0;
  return new Float64Array((buffer.buffer || buffer).slice(start, start + buffer.byteLength));
}
