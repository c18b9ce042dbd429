// Blotter. Frame: number, kernel clock in ms, is stale, then each row's numbers to sort and compare by (NaN for texts,
// times in ms). The texts come formatted in the description: they may have more digits than a number here can hold.

const HEAD = 3;
const MOST_DIGITS = 26;
const LEFT = new Set(["symbol", "text", "side", "status", "progress"]);
const VALUED = new Set(["signed", "money", "price"]);
// The tone of a status by words that brokers use; anything else is a working order.
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
  const table = makeSortedTable(root, arrange);
  const empty = make("div", "anb-empty");
  table.scroll.append(empty);
  root.append(bar, table.scroll);

  let shape = "";
  let columns = [];
  let rows = new Map();
  let isFirst = true;
  let pinned = new Set();

  function build(next) {
    columns = next.columns;
    rows = new Map();
    isFirst = true;
    table.build(columns.map((column) => ({ label: column.label, isLeft: LEFT.has(column.kind) })));
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
    put(title, next.title);
    table.name(next.title || "Table");
    put(note, next.note);
    if (note.title !== next.note) note.title = next.note;
    const isStale = data[2] === 1;
    put(badge, isStale ? "stale" : "");
    flag(root, "anb-stale", isStale);
    pinned = new Set(next.pinned.map((key) => JSON.stringify(key)));
    const total = next.keys.filter((key) => !pinned.has(JSON.stringify(key))).length;
    put(count, total ? `${total} ${total === 1 ? "row" : "rows"}` : "");
    put(empty, next.texts.length ? "" : next.empty);
    table.scroll.style.setProperty("--anb-rows", next.rows);
    const hasMoved = paintRows(data, next);
    table.fit();
    if (hasMoved || table.isDue()) arrange();
    isFirst = false;
  }

  function paintRows(data, next) {
    const gone = new Set(rows.keys());
    let hasMoved = false;
    next.texts.forEach((texts, place) => {
      let key = JSON.stringify(next.keys[place]);
      while (rows.has(key) && !gone.has(key)) key += "+"; // a source that repeats a key loses no row
      gone.delete(key);
      const isNew = !rows.has(key);
      if (isNew) {
        const row = makeRow();
        row.isPinned = pinned.has(key);
        flag(row.node, "anb-pinned", row.isPinned);
        rows.set(key, row);
        table.body.appendChild(row.node);
      }
      const row = rows.get(key);
      hasMoved ||= isNew || row.place !== place;
      row.place = place;
      texts.forEach((text, at) => {
        const number = data[HEAD + place * columns.length + at];
        paintCell(row.cells[at], columns[at], text, Number.isFinite(number) ? number : NaN, isNew);
        table.widen(at, Math.min(MOST_DIGITS, widthOf(columns[at], text)));
      });
      if (isNew && !isFirst) row.cells.forEach((cell) => flash(cell.node, "note"));
    });
    for (const key of gone) {
      rows.get(key).node.remove();
      rows.delete(key);
    }
    return hasMoved;
  }

  // In widths of a digit: separators are half as wide, bold capitals wider; badges and bars are added.
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
      colour(cell, column, text);
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

  function colour(cell, column, text) {
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

  function arrange() {
    const isText = (place) => LEFT.has(columns[place].kind) && columns[place].kind !== "progress";
    table.arrange([...rows.values()], ({ cells }, place) =>
      isText(place) ? cells[place].text.textContent : cells[place].number,
    );
  }
  return { paint };
}

export default () => panel(makeBlotter);
