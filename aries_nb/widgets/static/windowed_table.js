// Tables of any number of rows. The page keeps all rows (`keepRows`), but has elements for those in sight alone, so a
// table of thousands costs what one of a dozen does. Sorting and filtering go over all rows.

const ROW_PX = 25; // height of a row: as in windowed_table.css
const SPARE_ROWS = 6; // rows above and below those in sight
const FIRST_PADDING = 5; // pixels that the first column has more at its left
const NEW_MS = 400;
const SORTED_EVERY_MS = 1000;
const TEXT_DIGITS = 14; // least width of a column of texts, which takes the room that is left
const MOST_TEXT_DIGITS = 44;
const TURNS = { none: "ascending", ascending: "descending", descending: "none" };
const COLLATOR = new Intl.Collator("en-US", { numeric: true });

// The rows of a model. The kernel sends what changed; `row_updates.py` has the format. A row is { key, rank, texts,
// numbers, bornAt }; `order` grows when rows came, went or moved.
function keepRows(model, connection) {
  const rows = new Map();
  const store = { rows, order: 0, number: null, save, pick: (symbol) => send(model, { pick: symbol }) };
  const by = Math.random().toString(36).slice(2);

  function put(entry, bornAt) {
    const [key, rank, texts, numbers] = entry;
    const row = rows.get(key) || { key, bornAt, rank: null };
    if (row.rank !== rank) store.order += 1;
    rows.set(key, Object.assign(row, { entry, rank, texts, numbers: numbers.map((each) => each ?? NaN), found: null }));
  }

  function remove(key) {
    if (rows.delete(key)) store.order += 1;
  }

  // What a saved notebook keeps is the whole table, not the last change.
  function keepWhole() {
    const saved = connection.raw?.attributes;
    const put = [...rows.values()].map((row) => row.entry);
    if (saved && store.number !== null) saved.rows = { base: null, gone: [], put, number: store.number };
  }

  function take() {
    const update = model.get("rows");
    if (!update?.number || update.number === store.number) return;
    if (update.base === null) {
      const known = new Set(update.put.map(([key]) => key));
      for (const key of [...rows.keys()]) if (!known.has(key)) remove(key);
    } else if (update.base !== store.number) {
      keepWhole();
      return askForState(connection);
    }
    const now = store.number === null ? -Infinity : performance.now();
    for (const key of update.gone) remove(key);
    for (const entry of update.put) put(entry, now);
    (update.keys || []).forEach((key, place) => {
      const row = rows.get(key);
      row.rank = row.entry[1] = update.ranks[place];
      store.order += 1;
    });
    store.number = update.number;
    keepWhole();
  }

  // The kernel makes the file, of exact values, and the browser saves it: nothing leaves the machine.
  function save(format) {
    send(model, { save: format, by });
  }
  function receive(content, buffers) {
    if (!content?.file || content.by !== by) return;
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob(buffers, { type: content.type }));
    link.download = content.file;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  }

  model.on("change:rows", take);
  model.on("msg:custom", receive);
  take();
  return store;
}

async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const box = document.createElement("textarea");
    box.value = text;
    document.body.appendChild(box);
    box.select();
    document.execCommand("copy");
    box.remove();
  }
}

// A text of the server must not become a formula in the spreadsheet into which it is pasted.
const harmless = (text) => (/^[=+\-@\t\r]/.test(text) ? `'${text}` : text).replace(/[\t\r\n]+/g, " ");

// `store` is that of keepRows, or has the same properties. `look` is { makeCell(column) → { node }, paintCell(cell,
// place, row, isSame), paintRow(node, row), isText(column), widthOf(column, text, row), isPinned(row), isShown(row), filter };
// paintRow, isPinned, isShown and filter may be missing. `isSame`: the cell showed the same row before. `filter` is
// { label, separators, textOf(row) }: what the filter box looks at, by default all texts. `canSave` false: the kernel
// makes no file of the table; `flashesNew` false: new rows are no news.
function makeWindowedTable(root, store, look) {
  root.classList.add("anb-table", "anb-windowed");
  const id = `anb-${Math.random().toString(36).slice(2)}`;
  const scroll = make("div", "anb-scroll");
  scroll.dataset.lmSuppressShortcuts = "true"; // a notebook binds the arrow keys to its cells
  const all = make("div", "anb-all");
  const table = make("table");
  table.setAttribute("role", "grid");
  table.setAttribute("aria-multiselectable", "true");
  table.tabIndex = 0;
  const widths = make("colgroup");
  const headRow = make("tr");
  headRow.setAttribute("aria-rowindex", "1");
  const head = make("thead");
  head.appendChild(headRow);
  const body = make("tbody");
  table.append(widths, head, body);
  all.appendChild(table);
  scroll.appendChild(all);
  const empty = make("div", "anb-empty");
  empty.setAttribute("role", "status");
  const none = make("tr", "anb-none"); // what an empty table says is its only cell
  none.appendChild(make("td")).appendChild(empty);
  const { frame, showMore } = framed(scroll);
  const detail = make("div", "anb-detail");
  detail.hidden = true;

  const count = make("span", "anb-soft anb-count");
  const filter = makeFilter(look.filter?.label ?? "Filter", () => arrange(), look.filter?.separators);
  const copy = make("button", "anb-button anb-copy", "Copy");
  copy.type = "button";
  copy.title = "Copy the selected rows, or all, to paste them into a spreadsheet";
  const save = make("select", "anb-button anb-save");
  save.setAttribute("aria-label", "Save the table");
  for (const [value, text] of [["", "Save…"], ["csv", "CSV"], ["parquet", "Parquet"]]) {
    const option = make("option", "", text);
    option.value = value;
    save.appendChild(option);
  }

  let columns = [];
  let headers = [];
  let digits = [];
  let measured = new WeakMap(); // what is in `digits`: the rows are of all displays, the columns of this one
  let sort = { place: -1, direction: "none" };
  let sortedAt = 0;
  let seenOrder = -1;
  let order = []; // the rows that pass the filter, in their order
  let total = 0;
  let frozen = null; // the rows as they were when the user froze the table
  let shown = new Map(); // the rows that have elements, by key
  let spare = [];
  let queued = 0;
  let isFirst = true;
  const selected = new Set();
  let active = null; // { key, place }
  let anchor = 0;
  let copiedTimer = 0;

  const rowsNow = () => frozen || store.rows;
  const isPinned = (row) => Boolean(look.isPinned?.(row));

  // `next` are { label, kind, isLeft }.
  function build(next) {
    columns = next;
    digits = columns.map((column) => column.label.length + 1);
    widths.replaceChildren(...columns.map(() => make("col")));
    headers = columns.map((column, place) => {
      const cell = make("th", column.isLeft ? "" : "anb-number");
      cell.scope = "col";
      const button = make("button", "anb-sort", column.label);
      button.type = "button";
      button.addEventListener("click", () => turn(place));
      cell.appendChild(button);
      return cell;
    });
    headRow.replaceChildren(...headers);
    body.replaceChildren();
    table.setAttribute("aria-colcount", String(columns.length));
    [shown, spare] = [new Map(), []];
    if (sort.place >= columns.length) sort = { place: -1, direction: "none" };
    markSort();
    measured = new WeakMap();
  }

  function turn(place) {
    sort = { place, direction: sort.place === place ? TURNS[sort.direction] : "ascending" };
    markSort();
    arrange();
  }

  function markSort() {
    headers.forEach((cell, at) => cell.setAttribute("aria-sort", at === sort.place ? sort.direction : "none"));
  }

  const valueOf = (row) => (look.isText(columns[sort.place]) ? row.texts[sort.place] : row.numbers[sort.place]);

  function compare(a, b) {
    const pinned = isPinned(a) - isPinned(b);
    if (pinned || isPinned(a) || sort.direction === "none") return pinned || a.rank - b.rank;
    const sign = sort.direction === "descending" ? -1 : 1;
    const [x, y] = [valueOf(a), valueOf(b)];
    if (typeof x === "string") return sign * COLLATOR.compare(x, y) || a.rank - b.rank;
    if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y) || a.rank - b.rank;
    return sign * (x - y) || a.rank - b.rank;
  }

  function isFound(row) {
    if (!filter.isSet()) return true;
    row.found ??= (look.filter?.textOf(row) ?? row.texts.join(" ")).toLowerCase();
    return !isPinned(row) && filter.matches(row.found);
  }

  function arrange() {
    sortedAt = performance.now();
    seenOrder = store.order;
    const inView = sort.direction === "none" && scroll.scrollTop > 0 && order[Math.floor(scroll.scrollTop / ROW_PX)];
    const before = inView ? order.indexOf(inView) : -1;
    order = [...rowsNow().values()].filter((row) => (!look.isShown || look.isShown(row)) && isFound(row)).sort(compare);
    total = [...rowsNow().values()].reduce((sum, row) => sum + !isPinned(row), 0);
    // Rows that come in above must not move what is being read.
    const after = inView ? order.indexOf(inView) : -1;
    if (after >= 0 && after !== before) scroll.scrollTop += (after - before) * ROW_PX;
    render();
  }

  // Brings the table up to date with the store; to be called with each frame.
  function update() {
    for (const row of store.rows.values()) {
      if (measured.get(row) === row.entry) continue;
      measured.set(row, row.entry);
      row.texts.forEach((text, at) => (digits[at] = Math.max(digits[at], look.widthOf(columns[at], text, row))));
    }
    fit();
    const isSortDue = sort.direction !== "none" && performance.now() - sortedAt >= SORTED_EVERY_MS;
    const isFilterDue = filter.isSet() && performance.now() - sortedAt >= SORTED_EVERY_MS;
    if (store.order !== seenOrder || isSortDue || isFilterDue) arrange();
    else render();
    isFirst = false;
  }

  // Columns only grow, so that a new digit moves no neighbour. Those of texts share the room that is left.
  function fit() {
    let [least, best] = [0, 0];
    columns.forEach((column, place) => {
      const isWide = column.kind === "text" && digits[place] > TEXT_DIGITS;
      least += isWide ? TEXT_DIGITS : digits[place];
      best += isWide ? Math.min(MOST_TEXT_DIGITS, digits[place]) : digits[place];
      const width = isWide ? "" : `calc(${digits[place]}ch + ${place ? PADDING : PADDING + FIRST_PADDING}px)`;
      const node = widths.children[place];
      if (node.style.width !== width) node.style.width = width;
    });
    const room = PADDING * columns.length + FIRST_PADDING;
    const width = `calc(${least}ch + ${room}px)`;
    if (table.style.width !== width) table.style.width = width;
    const whole = `calc(${best}ch + ${room + 18}px)`;
    if (root.style.getPropertyValue("--anb-width") !== whole) root.style.setProperty("--anb-width", whole);
  }

  function makeRow() {
    const node = make("tr");
    const cells = columns.map((column) => {
      const cell = look.makeCell(column);
      node.appendChild(cell.node);
      return cell;
    });
    const made = { node, cells, key: null };
    cells.forEach((cell, place) => (cell.node.anbPlace = place));
    node.addEventListener("click", (event) => click(made, event));
    return made;
  }

  function render() {
    queued = 0;
    const height = scroll.clientHeight || ROW_PX * 12;
    const first = Math.max(0, Math.floor(scroll.scrollTop / ROW_PX) - SPARE_ROWS);
    const last = Math.min(order.length, Math.ceil((scroll.scrollTop + height) / ROW_PX) + SPARE_ROWS);
    const whole = order.length ? `${head.offsetHeight + order.length * ROW_PX}px` : "auto";
    if (all.style.height !== whole) all.style.height = whole;
    const start = Math.min(first, Math.max(0, order.length - 1));
    if (table.style.marginTop !== `${start * ROW_PX}px`) table.style.marginTop = `${start * ROW_PX}px`;
    table.setAttribute("aria-rowcount", String(order.length + 1));

    const wanted = new Set(order.slice(start, last).map((row) => row.key));
    for (const [key, made] of shown) {
      if (wanted.has(key)) continue;
      shown.delete(key);
      spare.push(made);
    }
    const now = performance.now();
    let at = body.firstChild;
    for (let place = start; place < last; place += 1) {
      const row = order[place];
      const made = shown.get(row.key) || spare.pop() || makeRow();
      const isSame = made.key === row.key;
      made.key = row.key;
      shown.set(row.key, made);
      if (made.node === at) at = at.nextSibling;
      else body.insertBefore(made.node, at);
      paintRow(made, row, place, isSame, look.flashesNew !== false && !isSame && !isFirst && now - row.bornAt < NEW_MS);
    }
    for (const made of spare) made.node.remove();
    if (spare.length > 40) spare.length = 40;
    showState();
  }

  function paintRow(made, row, place, isSame, isNew) {
    const { node, cells } = made;
    const index = String(place + 2);
    if (node.getAttribute("aria-rowindex") !== index) node.setAttribute("aria-rowindex", index);
    const isSelected = String(selected.has(row.key));
    if (node.getAttribute("aria-selected") !== isSelected) node.setAttribute("aria-selected", isSelected);
    flag(node, "anb-pinned", isPinned(row));
    const isPicked = picks.isOn && picks.picked !== "" && symbolOf(row) === picks.picked;
    flag(node, "anb-picked", isPicked);
    if (isPicked) node.setAttribute("aria-current", "true");
    else node.removeAttribute("aria-current");
    look.paintRow?.(node, row);
    for (let at = 0; at < cells.length; at += 1) {
      look.paintCell(cells[at], at, row, isSame);
      if (isNew) flash(cells[at].node, "note");
      else if (!isSame) delete cells[at].node.dataset.flash;
    }
  }

  function inSight() {
    if (filter.isSet() || others) return `${grouped(order.length, 0)} of ${grouped(total, 0)}`;
    const first = Math.min(total, Math.round(scroll.scrollTop / ROW_PX) + 1);
    const fitting = Math.max(1, Math.floor((scroll.clientHeight - head.offsetHeight) / ROW_PX));
    if (total <= fitting) return `${grouped(total, 0)} ${total === 1 ? "row" : "rows"}`;
    return `${grouped(first, 0)}–${grouped(Math.min(total, first + fitting - 1), 0)} of ${grouped(total, 0)}`;
  }

  function showState() {
    showMore();
    put(count, total ? inSight() : "");
    put(empty, order.length ? "" : filter.isSet() && total ? filter.nothingFound() : (total && others) || emptyText);
    none.firstChild.colSpan = columns.length || 1;
    if (!empty.textContent) none.remove();
    else if (none.parentNode !== body) body.appendChild(none);
    const cell = active && shown.get(active.key)?.cells[active.place]?.node;
    for (const old of table.querySelectorAll(`[id="${id}"]`)) if (old !== cell) old.removeAttribute("id");
    for (const old of table.querySelectorAll(".anb-active")) if (old !== cell) old.classList.remove("anb-active");
    if (cell) {
      cell.id = id;
      cell.classList.add("anb-active");
      table.setAttribute("aria-activedescendant", id);
    } else table.removeAttribute("aria-activedescendant");
  }

  let emptyText = "";
  let others = ""; // what an empty table says that a filter of the caller emptied; "" while none is set
  const queue = () => {
    if (!queued) queued = requestAnimationFrame(render);
  };

  async function copyRows() {
    const rows = selected.size ? order.filter((row) => selected.has(row.key)) : order;
    const plain = (text, column) =>
      look.isText(column) ? harmless(text) : text.replace(/−/g, "-").replace(/(\d),(?=\d{3})/g, "$1").replace(/^–$/, "");
    const lines = rows.map((row) => row.texts.map((text, at) => plain(text, columns[at])).join("\t"));
    await copyText([columns.map((column) => column.label).join("\t"), ...lines].join("\n"));
    put(copy, `Copied ${grouped(rows.length, 0)}`);
    clearTimeout(copiedTimer);
    copiedTimer = setTimeout(() => put(copy, "Copy"), 2000);
  }

  let picks = { isOn: false, picked: "" };
  const symbolOf = (row) => row?.texts[columns.findIndex((column) => column.kind === "symbol")] ?? "";
  // Of a table whose symbols can be picked: that of the row, from its symbol or, by key, from any of its cells.
  function pick(row, place) {
    if (!picks.isOn || columns[place].kind !== "symbol" || isPinned(row)) return false;
    store.pick(symbolOf(row));
    return true;
  }

  function open(row, place) {
    const text = row?.texts[place];
    if (!text) return;
    const close = make("button", "anb-button", "Close");
    close.type = "button";
    close.addEventListener("click", shut);
    detail.replaceChildren(make("strong", "", columns[place].label), make("span", "anb-whole", text), close);
    detail.hidden = false;
  }
  function shut() {
    detail.hidden = true;
  }

  function click(made, event) {
    const place = event.target.closest("td, th")?.anbPlace ?? 0;
    const at = order.findIndex((row) => row.key === made.key);
    if (at < 0) return;
    select(at, place, event.shiftKey, event.ctrlKey || event.metaKey);
    const node = made.cells[place].node;
    if (pick(order[at], place)) return;
    if (columns[place].isLeft && node.scrollWidth > node.clientWidth) open(order[at], place);
    else shut();
  }

  function select(at, place, isRange, isMore) {
    if (!isRange && !isMore) selected.clear();
    if (!isRange) anchor = at;
    for (let each = Math.min(anchor, at); each <= Math.max(anchor, at); each += 1) {
      if (order[each]) selected.add(order[each].key);
    }
    active = { key: order[at].key, place };
    render();
  }

  function press(event) {
    if (event.target !== table || !order.length) return;
    const at = Math.max(0, active ? order.findIndex((row) => row.key === active.key) : -1);
    const place = active?.place ?? 0;
    const page = Math.max(1, Math.floor(scroll.clientHeight / ROW_PX) - 2);
    const steps = { ArrowUp: -1, ArrowDown: 1, PageUp: -page, PageDown: page, Home: -order.length, End: order.length };
    const isCommand = event.ctrlKey || event.metaKey;
    if (isCommand && event.key === "c") copyRows();
    else if (isCommand && event.key === "a") {
      for (const row of order) selected.add(row.key);
      render();
    } else if (event.key in steps) {
      const to = Math.min(order.length - 1, Math.max(0, active ? at + steps[event.key] : at));
      select(to, place, event.shiftKey, false);
      reveal(to);
    } else if (event.key === "ArrowLeft" || event.key === "ArrowRight") {
      const to = Math.min(columns.length - 1, Math.max(0, place + (event.key === "ArrowLeft" ? -1 : 1)));
      active = { key: order[at].key, place: to };
      const node = shown.get(active.key)?.cells[to].node;
      if (to === 0) scroll.scrollLeft = 0;
      else node?.scrollIntoView({ block: "nearest", inline: "nearest" });
      render();
    } else if (event.key === "Enter") pick(order[at], place) || open(order[at], place);
    else if (event.key === "Escape") {
      selected.clear();
      active = null;
      shut();
      render();
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }

  function reveal(at) {
    const top = at * ROW_PX;
    const room = scroll.clientHeight - head.offsetHeight - ROW_PX;
    if (top < scroll.scrollTop) scroll.scrollTop = top;
    else if (top > scroll.scrollTop + room) scroll.scrollTop = top - room;
    render();
  }

  table.addEventListener("keydown", press);
  scroll.addEventListener("scroll", queue, { passive: true });
  new ResizeObserver(queue).observe(scroll);
  copy.addEventListener("click", copyRows);
  save.addEventListener("change", () => {
    store.save(save.value);
    save.value = "";
  });
  // The rows of a frozen table can be sorted, filtered and copied as well.
  function freeze(isHeld) {
    frozen = isHeld ? new Map([...store.rows].map(([key, row]) => [key, { ...row }])) : null;
    arrange();
  }

  return {
    nodes: [frame, detail],
    tools: look.canSave === false ? [count, filter.input, copy] : [count, filter.input, copy, save],
    build,
    update,
    arrange,
    freeze,
    name: (text) => table.getAttribute("aria-label") !== text && table.setAttribute("aria-label", text),
    setFilter: (isSet, text) => (others = isSet ? text : ""),
    setPicks(description) {
      picks = { isOn: description.picks === true, picked: description.picked ?? "" };
      flag(root, "anb-picks", picks.isOn);
    },
    setEmpty: (text) => (emptyText = text),
    setRows: (count) => scroll.style.setProperty("--anb-rows", count),
  };
}

