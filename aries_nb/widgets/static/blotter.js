// Blotter. Frame: number, kernel clock in ms, is stale. The texts of rows come formatted, since they may have more digits
// than a number here can hold; their numbers are for sorting and comparing (NaN for texts, times in ms).

const MOST_DIGITS = 26;
const LEFT = new Set(["symbol", "text", "id", "side", "status", "progress"]);
const VALUED = new Set(["signed", "money", "price"]);
// The tone of a status by words that brokers use; anything else is a working order.
const TONES = [
  [/reject|fail|suspend/, "bad"],
  [/cancel|expire|done|replaced/, "over"],
  [/pending/, "pending"],
  [/partial/, "part"],
  [/fill/, "done"],
];

function makeBlotter(root, clock, store) {
  root.classList.add("anb-blotter");
  const bar = make("div", "anb-bar");
  const title = make("span", "anb-title");
  const badge = make("span", "anb-badge");
  badge.setAttribute("role", "status");
  const note = make("span", "anb-soft anb-note");
  let shape = "";
  let pinned = new Set();
  const isText = (column) => LEFT.has(column.kind) && column.kind !== "progress";
  const table = makeWindowedTable(root, store, { makeCell, paintCell, isText, widthOf, isPinned: (row) => pinned.has(row.key) });
  bar.append(title, badge, note, make("span", "anb-space"), ...table.tools);
  root.append(bar, ...table.nodes);

  function makeCell(column) {
    const node = make(column.kind === "symbol" ? "th" : "td", `anb-${column.kind}`);
    if (column.kind === "symbol") node.scope = "row";
    flag(node, "anb-number", !LEFT.has(column.kind));
    const track = column.kind === "progress" ? make("i", "anb-track") : null;
    if (track) {
      track.setAttribute("aria-hidden", "true");
      track.appendChild(make("i"));
      node.appendChild(track);
    }
    const text = make("span");
    node.appendChild(text);
    return { node, text, track, column, shown: null, number: NaN, changedAt: -CALM_MS };
  }

  // In widths of a digit: separators are half as wide, bold capitals wider; badges and bars are added.
  // The row below a line, such as a total, is bold.
  function widthOf(column, text, row) {
    if (column.kind === "symbol") return 1.15 * text.length + 1; // never cut
    if (column.kind === "text") return Math.min(MOST_TEXT_DIGITS, 0.95 * text.length + 1);
    const marks = text.replace(/[^,. ]/g, "").length;
    const wide = { side: 1.1 * text.length, status: 0.9 * text.length + 2, id: 1.05 * text.length + 1 };
    const number = (pinned.has(row.key) ? 1.2 : 1) * (text.length - marks / 2);
    return Math.min(MOST_DIGITS, wide[column.kind] ?? number + (column.kind === "progress" ? 6.5 : 0.5));
  }

  function paintCell(cell, place, row, isSame) {
    const { column } = cell;
    const [text, number, before] = [row.texts[place], row.numbers[place], cell.number];
    cell.number = number;
    if (cell.shown !== text) {
      cell.shown = cell.text.textContent = text;
      if (LEFT.has(column.kind)) cell.node.title = text;
      const now = performance.now();
      const isCalm = now - cell.changedAt >= CALM_MS;
      cell.changedAt = isSame ? now : -CALM_MS;
      if (isSame && isCalm) {
        const isMoved = VALUED.has(column.kind) && Number.isFinite(before) && Number.isFinite(number);
        flash(cell.node, isMoved && number !== before ? (number > before ? "up" : "down") : "note");
      }
      colour(cell, text);
    }
    if (column.kind === "time" && cell.stamp !== number) {
      cell.stamp = number;
      cell.node.title = Number.isFinite(number) && Math.abs(number) < 8e15 ? clock.stamp(number, true) : "";
    }
    if (cell.track) {
      const width = `${(100 * Math.min(1, Math.max(0, number || 0))).toFixed(1)}%`;
      if (cell.track.firstChild.style.width !== width) cell.track.firstChild.style.width = width;
      flag(cell.node, "anb-full", number >= 1);
    }
  }

  function colour(cell, text) {
    const { kind } = cell.column;
    if (kind === "signed") {
      flag(cell.node, "anb-up", text.startsWith("+"));
      flag(cell.node, "anb-down", text.startsWith("−"));
    } else if (kind === "side") {
      flag(cell.node, "anb-up", text.startsWith("B"));
      flag(cell.node, "anb-down", text.startsWith("S"));
    } else if (kind === "status") {
      const found = TONES.find(([words]) => words.test(text));
      cell.text.dataset.tone = !text ? "" : found ? found[1] : "working";
    }
  }

  function paint(data, next) {
    const nextShape = JSON.stringify(next.columns);
    if (nextShape !== shape) {
      shape = nextShape;
      table.build(next.columns.map((column) => ({ ...column, isLeft: LEFT.has(column.kind) })));
    }
    put(title, next.title);
    table.name(next.title || "Table");
    const zone = next.columns.some((column) => column.kind === "time") ? `times in ${clock.zone()}` : "";
    const text = [next.note, zone].filter(Boolean).join(" · ");
    put(note, text);
    if (note.title !== text) note.title = text;
    const isStale = data[2] === 1;
    put(badge, isStale ? "stale" : "");
    flag(root, "anb-stale", isStale);
    pinned = new Set(next.pinned.map((key) => JSON.stringify(key)));
    table.setEmpty(next.empty);
    table.setRows(next.rows);
    table.setPicks(next);
    table.update();
  }
  return { paint, freeze: table.freeze };
}

export default () => panel(makeBlotter, keepRows);
