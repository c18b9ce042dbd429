// Bar of a trading desk. Frame: number, kernel clock in ms, whether a choice is being carried out (0 or 1), and the number
// of the newest request that this picture follows. What the page asks for is shown at once: { desk: [what, value, number] }.

const WAIT_MS = 1000;
const SEARCH_MS = 180; // of typing that rests
const LABELS = { window: "Window", interval: "Candles", depth: "Depth", side: "Table" };
const TITLES = {
  window: "How much of the past is kept and drawn",
  interval: "Length of a candle",
  depth: "Levels on each side of the ladder",
  side: "The table of the desk: a board of the symbols, or an account",
};
const LISTS = { window: "windows", interval: "intervals", depth: "depths", side: "sides" };
let desks = 0;

function makeDesk(root, clock, connection) {
  root.classList.add("anb-desk");
  const { model } = connection;
  const id = `anb-desk-${(desks += 1)}-${Math.random().toString(36).slice(2)}`;
  root.dataset.lmSuppressShortcuts = "true";
  const bar = make("div", "anb-bar");

  const field = make("div", "anb-field anb-combo");
  const input = make("input", "anb-symbol-input");
  input.type = "text";
  input.spellcheck = false;
  input.autocomplete = "off";
  input.setAttribute("role", "combobox");
  input.setAttribute("aria-autocomplete", "list");
  input.setAttribute("aria-expanded", "false");
  input.setAttribute("aria-controls", `${id}-list`);
  input.setAttribute("aria-label", "Symbol");
  input.title = "Type to search; Enter or a click shows it everywhere";
  const list = make("ul", "anb-options");
  list.id = `${id}-list`;
  list.setAttribute("role", "listbox");
  list.setAttribute("aria-label", "Symbols found");
  list.hidden = true;
  field.append(make("span", "anb-soft", "Symbol"), input, list);

  const selects = Object.fromEntries(Object.keys(LABELS).map((what) => {
    const select = make("select", "anb-button");
    select.setAttribute("aria-label", LABELS[what]);
    select.title = TITLES[what];
    select.addEventListener("change", () => ask(what, select.value));
    return [what, select];
  }));
  const fields = Object.entries(selects).map(([what, select]) => {
    const node = make("label", "anb-field");
    node.append(make("span", "anb-soft", LABELS[what]), select);
    return node;
  });
  const state = make("span", "anb-soft anb-state-text");
  state.setAttribute("role", "status");
  const problem = make("div", "anb-wrong");
  problem.setAttribute("role", "alert");
  bar.append(field, ...fields, make("span", "anb-space"), state);
  root.append(bar, problem);
  for (const name of ["keydown", "keyup", "keypress"]) root.addEventListener(name, (event) => event.stopPropagation());

  let description = null;
  let asked = {}; // by what was asked for: its value, the number of the request, and its time
  let number = 0;
  let handled = 0;
  let isChanging = false;
  let options = [];
  let active = -1;
  let timer = 0;

  function ask(what, value) {
    number = Math.max(number + 1, Date.now());
    asked[what] = { value, number, at: performance.now() };
    send(model, { desk: [what, String(value), number] });
    draw();
  }

  const isBusy = () => connection.raw?.widget_manager?.kernel?.status === "busy";
  function stateText() {
    const waits = Object.values(asked).some((each) => performance.now() - each.at > WAIT_MS);
    if (waits && !isChanging) return `waiting for the ${isBusy() ? "running cell" : "kernel"}`;
    return isChanging && asked.symbol ? `loading ${asked.symbol.value}` : isChanging ? "loading" : "";
  }

  // The list of symbols.
  const isOpen = () => !list.hidden;
  function openList(isWanted) {
    const isShown = isWanted && options.length > 0;
    list.hidden = !isShown;
    input.setAttribute("aria-expanded", String(isShown));
    if (!isShown) {
      active = -1;
      input.removeAttribute("aria-activedescendant");
    }
  }
  function mark(at) {
    active = at;
    [...list.children].forEach((node, place) => {
      node.setAttribute("aria-selected", String(place === at));
      if (place === at) node.scrollIntoView({ block: "nearest" });
    });
    if (at < 0) input.removeAttribute("aria-activedescendant");
    else input.setAttribute("aria-activedescendant", list.children[at].id);
  }
  function fill(found) {
    options = found;
    list.replaceChildren(...found.map(([symbol, name], place) => {
      const node = make("li", "anb-option");
      node.id = `${id}-${place}`;
      node.setAttribute("role", "option");
      node.setAttribute("aria-selected", "false");
      node.append(make("b", "", symbol), make("span", "anb-soft", name));
      // Before the box loses the focus, which closes the list.
      node.addEventListener("pointerdown", (event) => {
        event.preventDefault();
        take(symbol);
      });
      return node;
    }));
    active = -1;
  }
  function take(symbol) {
    clearTimeout(timer);
    openList(false);
    input.value = symbol;
    isTyped = false;
    if (symbol.trim()) ask("symbol", symbol.trim());
  }
  let isTyped = false;
  const local = (text) => description.symbols.filter((symbol) => symbol.toLowerCase().includes(text.toLowerCase())).map((symbol) => [symbol, ""]);
  function search() {
    const text = input.value.trim();
    fill(local(text));
    openList(true);
    clearTimeout(timer);
    if (text) timer = setTimeout(() => ask("search", text), SEARCH_MS);
  }
  input.addEventListener("input", () => {
    isTyped = true;
    search();
  });
  input.addEventListener("focus", () => input.select());
  input.addEventListener("click", () => {
    if (isOpen() || !description) return;
    fill(local(isTyped ? input.value.trim() : ""));
    openList(true);
  });
  input.addEventListener("blur", () => {
    openList(false);
    isTyped = false;
    draw();
  });
  input.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const { key } = event;
    if (key === "ArrowDown" || key === "ArrowUp") {
      if (!isOpen()) {
        fill(local(isTyped ? input.value.trim() : ""));
        openList(true);
      }
      const step = key === "ArrowDown" ? 1 : -1;
      if (options.length) mark(active < 0 && step < 0 ? options.length - 1 : (active + step + options.length) % options.length);
    } else if (key === "Enter") take(active >= 0 ? options[active][0] : input.value);
    else if (key === "Escape") {
      if (isOpen()) openList(false);
      else {
        isTyped = false;
        draw();
        input.select();
      }
    } else return;
    event.preventDefault();
  });

  const shownOf = (what) => String(asked[what]?.value ?? description[what]);
  function draw() {
    if (!description) return;
    showPending(root, isChanging || Object.keys(asked).length > 0);
    for (const [what, select] of Object.entries(selects)) {
      const values = description[LISTS[what]].map(String);
      if ([...select.options].map((option) => option.value).join() !== values.join()) {
        select.replaceChildren(...values.map((value) => new Option(value, value)));
      }
      const value = shownOf(what);
      if (select.value !== value) select.value = value;
      const hidden = values.length < 2;
      if (select.parentNode.hidden !== hidden) select.parentNode.hidden = hidden;
    }
    const symbol = shownOf("symbol");
    if (!isTyped && input.value !== symbol) input.value = symbol;
    const width = `${Math.max(7, Math.min(22, symbol.length + 2))}ch`;
    if (input.style.width !== width) input.style.width = width;
    put(state, stateText());
    put(problem, description.note);
  }

  function paint(data, next) {
    const isFound = next.searched !== description?.searched || JSON.stringify(next.found) !== JSON.stringify(description?.found);
    description = next;
    [, , isChanging, handled] = [data[0], data[1], data[2] === 1, data[3]];
    for (const [what, each] of Object.entries(asked)) if (handled >= each.number) delete asked[what];
    if (isFound && isTyped && next.searched.trim() === input.value.trim()) {
      const before = active >= 0 ? options[active]?.[0] : null;
      fill(next.found);
      openList(true);
      const at = options.findIndex(([symbol]) => symbol === before);
      if (at >= 0) mark(at);
    }
    draw();
  }

  function tick() {
    const isGone = hasEnded(connection) || connection.ofFile !== undefined;
    for (const node of [input, ...Object.values(selects)]) node.disabled = isGone;
    put(state, isGone ? "" : stateText());
  }
  return { paint, tick, canFreeze: false };
}

export default () => panel(makeDesk, (model, connection) => connection);
