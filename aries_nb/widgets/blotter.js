// The blotter. Frame: number, kernel ms, is stale, then each row's numbers to sort and compare by (NaN for texts, times
// in ms). The texts come made up in the description: they may have more digits than a number here can hold.

const HEAD = 3;
const SORT_EVERY_MS = 1000;
const MOST_DIGITS = 26;
const LEFT = new Set(["symbol", "text", "side", "status", "progress"]);
const VALUED = new Set(["signed", "money", "price"]);
const TURNS = { none: "ascending", ascending: "descending", descending: "none" };
// What a status means to a reader, by words that brokers use; anything else is an order at work.
const TONES = [
  [/reject|fail|suspend/, "bad"],
  [/cancel|expire|done|replaced/, "over"],
  [/pending/, "pending"],
  [/partial/, "part"],
  [/fill/, "done"],
];

function makeBlotter(root) {
  root.classList.add("anb-blotter");
  const bar = make("div", "anb-bar");
  const title = make("span", "anb-title");
  const badge = make("span", "anb-badge");
  badge.setAttribute("role", "status");
  const note = make("span", "anb-soft anb-note");
  const count = make("span", "anb-soft");
  bar.append(title, badge, note, make("span", "anb-space"), count);
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
  const empty = make("div", "anb-empty");
  scroll.append(table, empty);
  root.append(bar, scroll);

  let shape = "";
  let columns = [];
  let headers = [];
  let rows = new Map();
  let digits = [];
  let sort = { place: -1, direction: "none" };
  let sortedAt = 0;
  let isFirst = true;

  function build(next) {
    columns = next.columns;
    rows = new Map();
    isFirst = true;
    sort = { place: -1, direction: "none" };
    digits = columns.map((column) => column.label.length + 1);
    widths.replaceChildren(...columns.map(() => make("col")));
    headers = columns.map((column, place) => {
      const cell = make("th", LEFT.has(column.kind) ? "" : "anb-number");
      cell.scope = "col";
      cell.setAttribute("aria-sort", "none");
      const button = make("button", "anb-sort", column.label);
      button.type = "button";
      button.addEventListener("click", () => turn(place));
      cell.appendChild(button);
      return cell;
    });
    headRow.replaceChildren(...headers);
    body.replaceChildren();
  }

  function makeRow() {
    const node = make("tr");
    const cells = columns.map((column) => {
      const cell = make(column.kind === "symbol" ? "th" : "td", `anb-${column.kind}`);
      if (column.kind === "symbol") cell.scope = "row";
      flag(cell, "anb-number", !LEFT.has(column.kind));
      const bar = column.kind === "progress" ? make("i", "anb-track") : null;
      if (bar) {
        bar.setAttribute("aria-hidden", "true");
        bar.appendChild(make("i"));
        cell.appendChild(bar);
      }
      const text = make("span");
      cell.appendChild(text);
      node.appendChild(cell);
      return { node: cell, text, bar, number: NaN };
    });
    return { node, cells, place: 0 };
  }

  function paint(data, next) {
    const nextShape = JSON.stringify(next.columns);
    if (nextShape !== shape) {
      shape = nextShape;
      build(next);
    }
    const name = next.title || "Table";
    put(title, next.title);
    if (scroll.getAttribute("aria-label") !== name) scroll.setAttribute("aria-label", name);
    put(note, next.note);
    if (note.title !== next.note) note.title = next.note;
    const isStale = data[2] === 1;
    put(badge, isStale ? "stale" : "");
    flag(root, "anb-stale", isStale);
    const total = next.texts.length;
    put(count, total ? `${total} ${total === 1 ? "row" : "rows"}` : "");
    put(empty, total ? "" : next.empty);
    scroll.style.setProperty("--anb-rows", next.rows);
    paintRows(data, next);
    fit();
    if (sort.direction === "none" || sortedAt === 0 || performance.now() - sortedAt >= SORT_EVERY_MS) arrange();
    isFirst = false;
  }

  function paintRows(data, next) {
    const gone = new Set(rows.keys());
    next.texts.forEach((texts, place) => {
      let key = JSON.stringify(next.keys[place]);
      while (rows.has(key) && !gone.has(key)) key += "+"; // a source that repeats a key loses no row
      gone.delete(key);
      const isNew = !rows.has(key);
      if (isNew) {
        const row = makeRow();
        rows.set(key, row);
        body.appendChild(row.node);
      }
      const row = rows.get(key);
      row.place = place;
      texts.forEach((text, at) => {
        const number = data[HEAD + place * columns.length + at];
        paintCell(row.cells[at], columns[at], text, Number.isFinite(number) ? number : NaN, isNew);
        digits[at] = Math.max(digits[at], Math.min(MOST_DIGITS, widthOf(columns[at], text)));
      });
      if (isNew && !isFirst) row.cells.forEach((cell) => flash(cell.node, "note"));
    });
    for (const key of gone) {
      rows.get(key).node.remove();
      rows.delete(key);
    }
  }

  // In widths of a digit: marks between digits are half as wide, bold capitals wider, badges and bars come on top.
  function widthOf(column, text) {
    if (column.kind === "symbol") return 1.15 * text.length;
    if (column.kind === "side") return 1.1 * text.length;
    if (column.kind === "status") return 0.9 * text.length + 2;
    const marks = text.replace(/[^,. ]/g, "").length;
    return text.length - marks / 2 + (column.kind === "progress" ? 6.5 : 0.5);
  }

  function paintCell(cell, column, text, number, isNew) {
    const before = cell.number;
    cell.number = number;
    if (cell.text.textContent !== text) {
      cell.text.textContent = text;
      if (LEFT.has(column.kind)) cell.node.title = text;
      if (!isNew) {
        const isMoved = VALUED.has(column.kind) && Number.isFinite(before) && Number.isFinite(number);
        flash(cell.node, isMoved && number !== before ? (number > before ? "up" : "down") : "note");
      }
      look(cell, column, text);
    }
    if (column.kind === "time" && cell.stamp !== number) {
      cell.stamp = number;
      cell.node.title = Number.isFinite(number) && Math.abs(number) < 8e15 ? new Date(number).toISOString() : "";
    }
    if (cell.bar) {
      const width = `${(100 * Math.min(1, Math.max(0, number || 0))).toFixed(1)}%`;
      if (cell.bar.firstChild.style.width !== width) cell.bar.firstChild.style.width = width;
      flag(cell.node, "anb-full", number >= 1);
    }
  }

  function look(cell, column, text) {
    if (column.kind === "signed") {
      flag(cell.node, "anb-up", text.startsWith("+"));
      flag(cell.node, "anb-down", text.startsWith("−"));
    } else if (column.kind === "side") {
      flag(cell.node, "anb-up", text.startsWith("B"));
      flag(cell.node, "anb-down", text.startsWith("S"));
    } else if (column.kind === "status") {
      const found = TONES.find(([words]) => words.test(text));
      cell.text.dataset.tone = !text ? "" : found ? found[1] : "working";
    }
  }

  // Widths only ever grow, so that no digit moves its neighbours.
  function fit() {
    let total = 0;
    digits.forEach((width, place) => {
      total += width;
      const text = `calc(${width}ch + 16px)`;
      const column = widths.children[place];
      if (column.style.width !== text) column.style.width = text;
    });
    const whole = `calc(${total}ch + ${16 * digits.length}px)`;
    if (table.style.width !== whole) table.style.width = whole;
  }

  function turn(place) {
    sort = { place, direction: sort.place === place ? TURNS[sort.direction] : "ascending" };
    headers.forEach((cell, at) => cell.setAttribute("aria-sort", at === place ? sort.direction : "none"));
    arrange();
  }

  function compare(a, b) {
    const [x, y] = [a.cells[sort.place], b.cells[sort.place]];
    const isText = LEFT.has(columns[sort.place].kind) && columns[sort.place].kind !== "progress";
    const sign = sort.direction === "descending" ? -1 : 1;
    if (isText) return sign * x.text.textContent.localeCompare(y.text.textContent) || a.place - b.place;
    if (Number.isNaN(x.number) || Number.isNaN(y.number)) {
      return Number.isNaN(x.number) - Number.isNaN(y.number) || a.place - b.place;
    }
    return sign * (x.number - y.number) || a.place - b.place;
  }

  function arrange() {
    sortedAt = performance.now();
    const order = [...rows.values()];
    order.sort(sort.direction === "none" ? (a, b) => a.place - b.place : compare);
    let at = body.firstChild;
    for (const row of order) {
      if (row.node === at) at = at.nextSibling;
      else body.insertBefore(row.node, at);
    }
  }
  return { paint };
}

export default { render: (context) => show(context, makeBlotter) };
