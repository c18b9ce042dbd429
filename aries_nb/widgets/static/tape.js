// Tape (time and sales). Frame: number, kernel clock in ms, is stale, time of receipt in ms, prints left out, prints in
// all. Beyond the columns the numbers of a row have the tick (1, 0 or -1), and 1 for a big print.

const ARROWS = new Map([[1, "▲"], [-1, "▼"], [0, ""]]);
const RATE_MS = 5000;
const LEFT = new Set(["time", "symbol", "text", "side"]);

function makeTape(root, clock, store) {
  root.classList.add("anb-tape");
  const bar = make("div", "anb-bar");
  const title = make("span", "anb-title");
  const badge = make("span", "anb-badge");
  badge.setAttribute("role", "status");
  const note = make("span", "anb-soft anb-note");
  const least = make("input", "anb-filter anb-least");
  least.type = "number";
  least.min = "0";
  least.placeholder = "Min size";
  least.style.minWidth = placeFor(least.placeholder);
  least.setAttribute("aria-label", "Least size of prints");
  for (const name of ["keydown", "keyup", "keypress"]) least.addEventListener(name, (event) => event.stopPropagation());
  let shape = "";
  let columns = [];
  let sizeAt = 0;
  let wanted = 0;
  const counts = [];
  const table = makeWindowedTable(root, store, {
    makeCell,
    paintCell,
    paintRow,
    widthOf,
    isText: (column) => LEFT.has(column.kind),
    isShown: (row) => !(row.numbers[sizeAt] < wanted),
    canSave: false,
    flashesNew: false,
  });
  bar.append(title, badge, make("span", "anb-space"), ...table.tools);
  table.tools[1].before(least);
  const foot = make("div", "anb-foot");
  foot.append(note);
  root.append(bar, ...table.nodes, foot);

  least.addEventListener("input", () => {
    wanted = Number(least.value) || 0;
    table.setFilter(wanted > 0, `No print of ${grouped(wanted, 0)} or more.`);
    table.arrange();
  });

  function makeCell(column) {
    const node = make("td", `anb-${column.kind}`);
    flag(node, "anb-number", !LEFT.has(column.kind));
    const arrow = column.kind === "price" ? make("span", "anb-arrow") : null;
    if (arrow) node.appendChild(arrow);
    const text = make("span");
    node.appendChild(text);
    return { node, text, arrow, shown: null };
  }

  function paintCell(cell, place, row) {
    const text = row.texts[place];
    if (cell.shown !== text) cell.shown = cell.text.textContent = text;
    if (cell.arrow) put(cell.arrow, ARROWS.get(row.numbers[columns.length]) ?? "");
  }

  // The colour is that of the side, or of the tick where the broker sends none; both have a sign as well.
  function paintRow(node, row) {
    const side = row.texts[columns.findIndex((column) => column.kind === "side")] ?? "";
    const tick = row.numbers[columns.length];
    const isUp = side ? side.startsWith("B") : tick > 0;
    const isDown = side ? side.startsWith("S") : tick < 0;
    flag(node, "anb-up", isUp);
    flag(node, "anb-down", isDown);
    flag(node, "anb-big", row.numbers[columns.length + 1] === 1);
  }

  function widthOf(column, text) {
    if (column.kind === "symbol") return 1.15 * text.length + 1;
    if (column.kind === "price") return text.length + 2.5;
    return Math.min(24, 1.05 * text.length + 1);
  }

  // Prints a second of the last seconds, by the kernel's clock.
  function rateOf(now, count) {
    counts.push([now, count]);
    while (counts.length > 2 && counts[0][0] < now - RATE_MS) counts.shift();
    const [since, before] = counts[0];
    return now > since ? (1000 * (count - before)) / (now - since) : 0;
  }

  function paint(data, next) {
    const nextShape = JSON.stringify([next.columns, next.timezone]);
    if (nextShape !== shape) {
      shape = nextShape;
      columns = next.columns;
      sizeAt = columns.findIndex((column) => column.name === "size");
      const label = (column) => (column.kind === "time" ? `${column.label} (${next.timezone})` : column.label);
      table.build(columns.map((column) => ({ ...column, label: label(column), isLeft: LEFT.has(column.kind) })));
    }
    const name = next.title || "Trades";
    put(title, name);
    table.name(name);
    const isStale = data[2] === 1;
    put(badge, isStale ? "stale" : "");
    flag(root, "anb-stale", isStale);
    const perSecond = rateOf(data[1], data[5]);
    const rate = `${grouped(perSecond, perSecond < 10 ? 1 : 0)} prints/s`;
    const leftOut = data[4] > 0 ? ` · ${grouped(data[4], 0)} left out, too fast to read` : "";
    put(note, `${rate}${leftOut}${next.note ? ` · ${next.note}` : ""}`);
    table.setEmpty("no prints yet");
    table.setRows(next.rows);
    table.update();
  }
  return { paint, freeze: table.freeze };
}

export default () => panel(makeTape, keepRows);
