// Quote board. Frame: number, kernel clock in ms, is stale, then for each symbol its columns and its time of receipt in
// ms.

const HEAD = 3;
const ARROWS = { up: "▲", down: "▼" };

function textOf(column, value, decimals) {
  if (column.kind === "change" || column.kind === "percent") return signed(value, decimals, column.kind === "percent" ? "%" : "");
  return grouped(value, decimals);
}

function makeBoard(root, clock) {
  root.classList.add("anb-board");
  const bar = make("div", "anb-bar");
  const title = make("span", "anb-title");
  const badge = make("span", "anb-badge");
  badge.setAttribute("role", "status");
  const count = make("span", "anb-soft");
  const filter = make("input", "anb-filter");
  filter.type = "search";
  filter.placeholder = "Filter symbols";
  filter.setAttribute("aria-label", "Filter symbols");
  // A notebook binds single keys (a, b, dd) to actions on cells; they must not reach it from this box.
  for (const name of ["keydown", "keyup", "keypress"]) filter.addEventListener(name, (event) => event.stopPropagation());
  const freeze = make("button", "anb-button", "Freeze");
  freeze.type = "button";
  freeze.setAttribute("aria-pressed", "false");
  bar.append(title, badge, make("span", "anb-space"), count, filter, freeze);

  const table = makeSortedTable(root, arrange);
  root.append(bar, table.scroll);

  let key = "";
  let description = null;
  let rows = [];
  let values = null;
  let frozenAt = null;
  let behind = 0;

  function build(next) {
    const symbols = next.symbols.concat(Object.keys(next.rejected).filter((symbol) => !next.symbols.includes(symbol)));
    const labels = ["Symbol", ...next.columns.map((column) => column.label), "Age"];
    table.build(labels.map((label, place) => ({ label, isLeft: !place })));
    rows = symbols.map((symbol, place) => makeRow(symbol, place, next));
    table.body.replaceChildren(...rows.map((row) => row.node));
    values = null;
  }

  function makeRow(symbol, place, next) {
    const node = make("tr");
    const name = make("th", "anb-symbol", symbol);
    name.scope = "row";
    name.title = symbol;
    table.widen(0, Math.min(24, symbol.length + 1));
    node.appendChild(name);
    const isRejected = Object.hasOwn(next.rejected, symbol);
    if (isRejected) {
      flag(node, "anb-rejected", true);
      const cell = make("td", "anb-note", next.rejected[symbol]);
      cell.colSpan = next.columns.length + 1;
      node.appendChild(cell);
      return { node, symbol, place, isRejected, cells: [], age: null };
    }
    const cells = next.columns.map((column) => {
      const cell = make("td", `anb-number anb-${column.kind} anb-col-${column.name.replace(/[^a-z0-9_]/gi, "")}`);
      const arrow = make("span", "anb-arrow");
      arrow.setAttribute("aria-hidden", "true");
      const text = make("span");
      if (column.kind === "price" && column.name !== "spread") cell.appendChild(arrow);
      cell.appendChild(text);
      node.appendChild(cell);
      return { node: cell, arrow, text };
    });
    const age = make("td", "anb-number anb-age");
    node.appendChild(age);
    return { node, symbol, place, isRejected, cells, age };
  }

  function paint(data, next) {
    const nextKey = JSON.stringify([next.symbols, next.columns, next.rejected]);
    if (frozenAt !== null && nextKey === key) {
      behind += 1;
      put(badge, `frozen ${frozenAt} · ${grouped(behind, 0)} ${behind === 1 ? "frame" : "frames"} behind`);
      return;
    }
    if (nextKey !== key) {
      key = nextKey;
      build(next);
    }
    description = next;
    const label = next.title || "Quotes";
    put(title, label);
    table.name(label);
    const isStale = data[2] === 1;
    const stale = new Set(next.stale);
    if (frozenAt === null) put(badge, isStale ? "stale" : stale.size ? `${stale.size} of ${rows.length} stale` : "");
    for (const row of rows) showStale(row, stale.has(row.symbol) && !row.isRejected);
    flag(root, "anb-stale", isStale);
    paintCells(data, next);
    values = data;
    tick();
    table.fit();
    if (table.isDue()) arrange();
  }

  function showStale(row, isStale) {
    if (row.node.classList.contains("anb-late") === isStale) return;
    flag(row.node, "anb-late", isStale);
    if (row.age) row.age.title = isStale ? "No update for longer than usual, or since a gap" : "";
  }

  function paintCells(data, next) {
    const wide = next.columns.length + 1;
    const isComparable = values !== null && values.length === data.length;
    for (const row of rows) {
      if (row.isRejected) continue;
      for (let place = 0; place < next.columns.length; place += 1) {
        const at = HEAD + row.place * wide + place;
        const before = isComparable ? values[at] : NaN;
        const value = data[at];
        const column = next.columns[place];
        const decimals = next.decimals[row.place][place];
        const cell = row.cells[place];
        if (value !== before) {
          const text = textOf(column, value, decimals);
          if (cell.text.textContent !== text) {
            cell.text.textContent = text;
            table.widen(place + 1, text.length + (column.kind === "price" ? 3 : 1));
          }
          if (Number.isFinite(before) && Number.isFinite(value)) mark(cell, column, value > before ? "up" : "down");
        } else if (description && description !== next) {
          put(cell.text, textOf(column, value, decimals));
        }
      }
    }
  }

  function mark(cell, column, direction) {
    if (column.kind !== "price" || column.name === "spread") {
      flash(cell.node, "note");
      return;
    }
    put(cell.arrow, ARROWS[direction]);
    flag(cell.node, "anb-up", direction === "up");
    flag(cell.node, "anb-down", direction === "down");
    flash(cell.node, direction);
  }

  function tick() {
    if (!values || frozenAt !== null) return;
    const wide = description.columns.length + 1;
    for (const row of rows) {
      if (row.isRejected) continue;
      const received = values[HEAD + row.place * wide + wide - 1];
      put(row.age, received > 0 ? spanOfTime((clock.now() - received) / 1000) : "–");
    }
  }

  function sortValue(row, place) {
    if (place === 0) return row.symbol;
    const wide = description.columns.length + 1;
    if (row.isRejected || !values) return NaN;
    const value = values[HEAD + row.place * wide + place - 1];
    return place === wide ? -value : value;
  }

  function arrange() {
    table.arrange(rows, sortValue);
    applyFilter();
  }

  function applyFilter() {
    const wanted = filter.value.trim().toLowerCase();
    let shown = 0;
    for (const row of rows) {
      const isShown = row.symbol.toLowerCase().includes(wanted);
      if (row.node.hidden === isShown) row.node.hidden = !isShown;
      shown += isShown;
    }
    put(count, wanted ? `${shown} of ${rows.length}` : `${rows.length} ${rows.length === 1 ? "symbol" : "symbols"}`);
  }

  filter.addEventListener("input", applyFilter);
  freeze.addEventListener("click", () => {
    const isFrozen = frozenAt === null;
    frozenAt = isFrozen ? new Date().toLocaleTimeString([], { hour12: false }) : null;
    behind = 0;
    freeze.setAttribute("aria-pressed", String(isFrozen));
    put(freeze, isFrozen ? "Resume" : "Freeze");
    put(badge, isFrozen ? `frozen ${frozenAt}` : "");
  });
  return { paint, tick };
}

export default () => panel(makeBoard);
