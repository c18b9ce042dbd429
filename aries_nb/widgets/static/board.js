// Quote board. Frame: number, kernel clock in ms, is stale. The rows come formatted, with the symbol in front; the last
// number of a row is its time of receipt in ms.

const ARROWS = { up: "▲", down: "▼" };
const ROWS_IN_SIGHT = 15;

function makeBoard(root, clock, store) {
  root.classList.add("anb-board");
  const bar = make("div", "anb-bar");
  const title = make("span", "anb-title");
  const badge = make("span", "anb-badge");
  badge.setAttribute("role", "status");
  const look = {
    makeCell,
    paintCell,
    paintRow,
    widthOf,
    isText: (column) => column.kind === "symbol",
    filter: { label: "Filter symbols", separators: /[,;\s]+/, textOf: (row) => row.texts[0] },
  };
  const table = makeWindowedTable(root, store, look);
  const tools = table.tools.filter((tool) => !tool.classList.contains("anb-save"));
  bar.append(title, badge, make("span", "anb-space"), ...tools);
  root.append(bar, ...table.nodes);

  let shape = "";
  let description = null;
  let stale = new Set();

  function makeCell(column) {
    const isSymbol = column.kind === "symbol";
    const node = make(isSymbol ? "th" : "td", `anb-${column.kind} anb-col-${column.name.replace(/[^a-z0-9_]/gi, "")}`);
    if (isSymbol) node.scope = "row";
    else node.classList.add("anb-number");
    const arrow = column.name === "last_price" ? node.appendChild(make("span", "anb-arrow")) : null;
    arrow?.setAttribute("aria-hidden", "true");
    const same = node.appendChild(make("span"));
    // The digits that changed, or what the name of a symbol is followed by.
    const tail = node.appendChild(make("span", isSymbol ? "anb-state" : "anb-digits"));
    return { node, column, arrow, same, tail, shown: null, number: NaN, changedAt: -CALM_MS };
  }

  function paintRow(node, row) {
    const symbol = row.texts[0];
    flag(node, "anb-late", stale.has(symbol) && !Object.hasOwn(description.rejected, symbol));
    flag(node, "anb-rejected", Object.hasOwn(description.rejected, symbol));
  }

  function paintCell(cell, place, row, isSame) {
    const { column } = cell;
    const symbol = row.texts[0];
    if (column.kind === "symbol") {
      put(cell.same, symbol);
      put(cell.tail, description.states[symbol] ?? "");
      if (cell.node.title !== symbol) cell.node.title = symbol;
    } else if (column.kind === "age") {
      const received = row.numbers[place];
      put(cell.same, received > 0 ? spanOfTime((clock.now() - received) / 1000) : "–");
      const why = stale.has(symbol) ? "No update for longer than usual, or since a gap" : "";
      if (cell.node.title !== why) cell.node.title = why;
    } else {
      const reason = place === 1 ? description.rejected[symbol] : undefined;
      paintNumber(cell, reason ?? row.texts[place], row.numbers[place], isSame);
    }
  }

  function paintNumber(cell, text, number, isSame) {
    const [shown, before] = [cell.shown, cell.number];
    cell.number = number;
    if (!isSame) {
      cell.changedAt = -CALM_MS;
      if (cell.arrow) put(cell.arrow, "");
    }
    if (shown === text) return;
    cell.shown = text;
    const isNumber = isSame && Number.isFinite(before) && Number.isFinite(number);
    const from = isNumber && shown.length === text.length ? [...text].findIndex((sign, at) => sign !== shown[at]) : 0;
    cell.same.textContent = text.slice(0, from);
    cell.tail.textContent = text.slice(from);
    delete cell.tail.dataset.flash;
    if (cell.column.kind === "change" || cell.column.kind === "percent") {
      flag(cell.node, "anb-up", text.startsWith("+"));
      flag(cell.node, "anb-down", text.startsWith("−"));
    }
    if (isNumber && number !== before) mark(cell, number > before ? "up" : "down");
  }

  // What was paid comes first: an arrow and a wash. The two sides change the look of their new digits, other numbers none.
  function mark(cell, direction) {
    if (cell.arrow) {
      put(cell.arrow, ARROWS[direction]);
      flag(cell.node, "anb-up", direction === "up");
      flag(cell.node, "anb-down", direction === "down");
    }
    const now = performance.now();
    const isCalm = now - cell.changedAt >= CALM_MS;
    cell.changedAt = now;
    if (isCalm && (cell.arrow || /^(bid|ask)_price$/.test(cell.column.name))) flash(cell.tail, direction);
  }

  // In widths of a digit: separators are half as wide, bold capitals wider.
  function widthOf(column, text) {
    if (column.kind === "symbol") return 1.15 * (text.length + (description?.states[text] ?? "").length) + 1; // never cut
    if (column.kind === "age") return 6;
    const marks = text.replace(/[^,.]/g, "").length;
    return text.length - marks / 2 + (column.name === "last_price" ? 3 : 1);
  }

  function paint(data, next) {
    description = next;
    stale = new Set(next.stale);
    const nextShape = JSON.stringify(next.columns);
    if (nextShape !== shape) {
      shape = nextShape;
      const columns = [
        { name: "symbol", label: "Symbol", kind: "symbol", isLeft: true },
        ...next.columns,
        { name: "age", label: "Age", kind: "age" },
      ];
      table.build(columns);
    }
    const label = next.title ? next.title[0].toUpperCase() + next.title.slice(1) : "Quotes";
    put(title, label);
    table.name(label);
    table.setEmpty("No symbols.");
    table.setRows(ROWS_IN_SIGHT);
    const isStale = data[2] === 1;
    flag(root, "anb-stale", isStale);
    const late = stale.size ? `${stale.size} of ${store.rows.size} stale` : "";
    put(badge, [description.market, isStale ? "stale" : late].filter(Boolean).join(" · "));
    table.setPicks(next);
    table.update();
  }

  return { paint, tick: () => description && table.update(), freeze: table.freeze };
}

export default () => panel(makeBoard, keepRows);
