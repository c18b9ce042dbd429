// What the file of a notebook keeps of our views, in JupyterLab and Notebook: the newest static picture in each output,
// and the state of the models in the notebook's metadata, so that both open without a kernel. Nothing is shown anew for
// it: only what is written differs.

const VIEW = "application/vnd.jupyter.widget-view+json";
const STATE = "application/vnd.jupyter.widget-state+json";

// Let the file of this model's notebook hold the pictures of `kept`; a `last` picture also replaces the model's outputs.
export function keep(raw, kept, last) {
  const manager = raw?.widget_manager;
  const notebook = manager?.context?.model;
  if (!notebook?.cells) return;
  if (last) replaceOutputs(notebook, raw.model_id, last);
  kept.notebooks ??= new WeakSet();
  if (kept.notebooks.has(notebook)) return;
  kept.notebooks.add(notebook);
  const write = notebook.toJSON.bind(notebook);
  notebook.toJSON = () => {
    const file = write();
    try {
      keepViews(file, manager, kept.pictures);
    } catch (error) {
      console.warn("[aries_nb] the file keeps older pictures of the views", error);
    }
    return file;
  };
}

// A closed view leaves its last picture where it was.
function replaceOutputs(notebook, id, picture) {
  for (const { outputs } of notebook?.cells ?? []) {
    for (let at = 0; at < (outputs?.length ?? 0); at++) {
      const output = outputs.get(at).toJSON();
      if (output.data?.[VIEW]?.model_id !== id) continue;
      const { [VIEW]: _, ...data } = output.data;
      outputs.set(at, { ...output, data: { ...data, "text/html": picture } });
    }
  }
}

const isOurs = (saved) => String(saved?.state?._anywidget_id).startsWith("aries_nb.");
const isView = (saved) => isOurs(saved) && !saved.state._anywidget_id.startsWith("aries_nb.script.");

function keepViews(file, manager, pictures) {
  const before = file.metadata.widgets?.[STATE]?.state ?? {};
  const states = Object.fromEntries(Object.entries(before).filter(([, saved]) => !isOurs(saved)));
  for (const cell of file.cells) {
    for (const { data } of cell.outputs ?? []) {
      const root = data?.[VIEW]?.model_id;
      if (!root) continue;
      const found = new Map();
      gather(root, manager, before, pictures, found);
      const ours = [...found].filter(([, saved]) => isView(saved)).map(([id]) => id);
      if (ours.length) Object.assign(states, Object.fromEntries(found));
      // Its model was closed: without it the output shows its picture.
      else if (!found.size && String(data["text/html"]).includes("anb-picture")) delete data[VIEW];
      const newest = ours.map((id) => pictures.get(id));
      if (ours.length && newest.every(Boolean)) data["text/html"] = newest.join("");
    }
  }
  if (!Object.keys(states).length && !file.metadata.widgets) return;
  file.metadata.widgets = { [STATE]: { version_major: 2, version_minor: 0, state: states } };
}

// Add to `found` the saved state of a model, and of all models that it refers to.
function gather(id, manager, before, pictures, found) {
  if (found.has(id)) return;
  const live = manager._modelsSync?.get(id);
  const saved = live ? stateOf(live, manager, pictures.get(id)) : before[id];
  if (!saved) return;
  found.set(id, saved);
  for (const [, inner] of JSON.stringify(saved.state).matchAll(/"IPY_MODEL_(\w+)"/g)) {
    gather(inner, manager, before, pictures, found);
  }
}

// Without a kernel a figure or light chart shows its picture: its data need not be in the file.
function stateOf(live, manager, picture) {
  const asSaved = Object.create(live, { comm_live: { value: true }, get_state: { value: (drop) => {
    const state = { ...live.get_state(drop) };
    if (!("static_picture" in state)) return state;
    for (const name of Object.keys(state)) if (/^(frame$|_py2js_|_js2py_)/.test(name)) delete state[name];
    if (state._widget_data) state._widget_data = [];
    return { ...state, static_picture: picture ?? state.static_picture };
  } } });
  return manager.get_state_sync.call({ _modelsSync: new Map([[live.model_id, asSaved]]) }, { drop_defaults: true }).state[
    live.model_id
  ];
}
