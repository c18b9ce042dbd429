// The quote board. Frame: number, kernel ms, is stale, then for each symbol its columns and the ms it was received.

const HEAD = 3;
const SORT_EVERY_MS = 1000;
const ARROWS = { up: "▲", down: "▼" };

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
  // A notebook binds single keys (a, b, dd) to its cells; they must not leave the box.
  for (const name of ["keydown", "keyup", "keypress"]) filter.addEventListener(name, (event) => event.stopPropagation());
  const freeze = make("button", "anb-button", "Freeze");
  freeze.type = "button";
  freeze.setAttribute("aria-pressed", "false");
  bar.append(title, badge, make("span", "anb-space"), count, filter, freeze);

  const scroll = make("div", "anb-scroll");
  scroll.tabIndex = 0;
  scroll.setAttribute("role", "region");
  const table = make("table");
  const widths = make("colgroup");
  const headRow = make("tr");
  const head = make("thead");
  head.appendChild(headRow);
  const body = make("tbody");
  table.append(widths, head, body);
  scroll.appendChild(table);
  root.append(bar, scroll);

  let key = "";
  let description = null;
  let rows = [];
  let headers = [];
  let values = null;
  let sort = { place: -1, direction: "none" };
  let sortedAt = 0;
  let frozenAt = null;
  let behind = 0;
  let digits = [];

  function build(next) {
    const symbols = next.symbols.concat(next.rejected.filter((symbol) => !next.symbols.includes(symbol)));
    const labels = ["Symbol", ...next.columns.map((column) => column.label), "Age"];
    headRow.replaceChildren();
    widths.replaceChildren();
    digits = labels.map((label) => label.length + 2);
    headers = labels.map((label, place) => {
      const cell = make("th", place ? "anb-number" : "");
      cell.scope = "col";
      const button = make("button", "anb-sort", label);
      button.type = "button";
      button.addEventListener("click", () => turn(place));
      cell.appendChild(button);
      headRow.appendChild(cell);
      widths.appendChild(make("col"));
      return cell;
    });
    rows = symbols.map((symbol, place) => makeRow(symbol, place, next));
    body.replaceChildren(...rows.map((row) => row.node));
    values = null;
    markSort();
  }

  function makeRow(symbol, place, next) {
    const node = make("tr");
    const name = make("th", "anb-symbol", symbol);
    name.scope = "row";
    name.title = symbol;
    digits[0] = Math.max(digits[0], Math.min(24, symbol.length + 1));
    node.appendChild(name);
    const isRejected = next.rejected.includes(symbol);
    if (isRejected) {
      flag(node, "anb-rejected", true);
      const cell = make("td", "anb-note", "unknown symbol");
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
      put(badge, `frozen ${frozenAt} · ${grouped(behind, 0)} frames behind`);
      return;
    }
    if (nextKey !== key) {
      key = nextKey;
      build(next);
    }
    description = next;
    put(title, next.title || "Quotes");
    const label = next.title || "Quotes";
    if (scroll.getAttribute("aria-label") !== label) scroll.setAttribute("aria-label", label);
    const isStale = data[2] === 1;
    if (frozenAt === null) put(badge, isStale ? "stale" : "");
    flag(root, "anb-stale", isStale);
    paintCells(data, next);
    values = data;
    tick();
    fit();
    if (sort.direction !== "none" && performance.now() - sortedAt >= SORT_EVERY_MS) arrange();
    else if (sortedAt === 0) arrange();
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
        const decimals = column.kind === "price" ? next.price_decimals[row.place] : next.decimals[place];
        const cell = row.cells[place];
        if (value !== before) {
          const text = grouped(value, decimals);
          if (cell.text.textContent !== text) {
            cell.text.textContent = text;
            digits[place + 1] = Math.max(digits[place + 1], text.length + (column.kind === "price" ? 3 : 1));
          }
          if (Number.isFinite(before) && Number.isFinite(value)) mark(cell, column, value > before ? "up" : "down");
        } else if (description && description !== next) {
          put(cell.text, grouped(value, decimals));
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

  // Widths only ever grow, so that no digit moves its neighbours.
  function fit() {
    let total = 0;
    for (let place = 0; place < widths.children.length; place += 1) {
      const width = digits[place];
      total += width;
      const text = `calc(${width}ch + 16px)`;
      const column = widths.children[place];
      if (column.style.width !== text) column.style.width = text;
    }
    const whole = `calc(${total}ch + ${16 * widths.children.length}px)`;
    if (table.style.width !== whole) table.style.width = whole;
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

  function turn(place) {
    const following = { none: "ascending", ascending: "descending", descending: "none" };
    const direction = sort.place === place ? following[sort.direction] : "ascending";
    sort = { place, direction };
    markSort();
    arrange();
  }

  function markSort() {
    headers.forEach((cell, place) => {
      const direction = place === sort.place ? sort.direction : "none";
      cell.setAttribute("aria-sort", direction);
    });
    sortedAt = 0;
  }

  function sortValue(row) {
    const wide = description.columns.length + 1;
    if (row.isRejected || !values) return NaN;
    const value = values[HEAD + row.place * wide + sort.place - 1];
    return sort.place === wide ? -value : value;
  }

  function arrange() {
    sortedAt = performance.now();
    const sign = sort.direction === "descending" ? -1 : 1;
    const order = rows.slice();
    if (sort.direction !== "none" && sort.place === 0) order.sort((a, b) => sign * a.symbol.localeCompare(b.symbol));
    else if (sort.direction !== "none") {
      const keyed = new Map(order.map((row) => [row, sortValue(row)]));
      order.sort((a, b) => {
        const [x, y] = [keyed.get(a), keyed.get(b)];
        if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y) || a.place - b.place;
        return sign * (x - y) || a.place - b.place;
      });
    }
    let at = body.firstChild;
    for (const row of order) {
      if (row.node === at) at = at.nextSibling;
      else body.insertBefore(row.node, at);
    }
    sift();
  }

  function sift() {
    const wanted = filter.value.trim().toLowerCase();
    let shown = 0;
    for (const row of rows) {
      const isShown = row.symbol.toLowerCase().includes(wanted);
      if (row.node.hidden === isShown) row.node.hidden = !isShown;
      shown += isShown;
    }
    put(count, wanted ? `${shown} of ${rows.length}` : `${rows.length} ${rows.length === 1 ? "symbol" : "symbols"}`);
  }

  filter.addEventListener("input", sift);
  freeze.addEventListener("click", () => {
    const isFrozen = frozenAt === null;
    frozenAt = isFrozen ? new Date().toLocaleTimeString([], { hour12: false }) : null;
    behind = 0;
    freeze.setAttribute("aria-pressed", String(isFrozen));
    put(freeze, isFrozen ? "Go on" : "Freeze");
    put(badge, isFrozen ? `frozen ${frozenAt}` : "");
  });
  return { paint, tick };
}

export default { render: (context) => show(context, makeBoard) };
