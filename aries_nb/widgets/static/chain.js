// Option chain. Frame: number, kernel clock in ms, is stale, price of the underlying, time of receipt in ms, then for
// each strike the columns of its call and of its put. The page has elements for the strikes in sight alone.

const HEAD = 5;
const ARROWS = { up: "▲", down: "▼" };
const ROW_PX = 25; // height of a row: as in chain.css
const SPARE_ROWS = 4; // rows above and below those in sight

function makeChain(root, clock) {
  root.classList.add("anb-chain");
  const bar = make("div", "anb-bar");
  const title = make("span", "anb-title");
  const spot = make("span", "anb-spot");
  const badge = make("span", "anb-badge");
  badge.setAttribute("role", "status");
  const age = make("span", "anb-soft");
  const filter = makeFilter("Filter strikes", arrange, /[,;\s]+/);
  bar.append(title, spot, badge, make("span", "anb-space"), age, filter.input);

  const scroll = make("div", "anb-scroll");
  scroll.tabIndex = 0;
  scroll.setAttribute("role", "region");
  const table = make("table");
  const widths = make("colgroup");
  const sides = make("tr", "anb-sides");
  const labels = make("tr", "anb-labels");
  const head = make("thead");
  head.append(sides, labels);
  const body = make("tbody");
  table.append(widths, head, body);
  const empty = make("div", "anb-empty");
  empty.setAttribute("role", "status");
  scroll.append(table, empty);
  const { frame, showMore } = framed(scroll);
  root.append(bar, frame);
  // They stand for the rows out of sight.
  const [above, below] = [make("tr"), make("tr")];
  for (const space of [above, below]) {
    space.setAttribute("aria-hidden", "true");
    space.appendChild(make("td", "anb-beyond"));
  }

  let key = "";
  let description = null;
  let rows = []; // { strike, place, text, node }: `node` is missing until the row is first seen
  let found = []; // the rows that pass the filter
  let inSight = [];
  let digits = [];
  let values = null;
  let money = -1;
  let isCentred = false;

  function build(next) {
    const half = next.columns.length / 2;
    const heading = (text, className, span) => {
      const cell = make("th", className, text);
      cell.scope = span === 1 ? "col" : "colgroup";
      cell.colSpan = span;
      return cell;
    };
    const middle = heading("Strike", "anb-strike", 1);
    middle.rowSpan = 2;
    const side = (text) => {
      const cell = heading("", "", half);
      cell.appendChild(make("span", "", text)); // in sight whatever columns are
      return cell;
    };
    sides.replaceChildren(side("Calls"), middle, side("Puts"));
    const names = next.columns.map((column) => heading(column.label, "anb-number", 1));
    labels.replaceChildren(...names);
    names.splice(half, 0, middle);
    digits = names.map((cell) => cell.textContent.length + 1);
    widths.replaceChildren(...names.map(() => make("col")));
    for (const space of [above, below]) space.firstChild.colSpan = next.columns.length + 1;
    rows = next.strikes.map((strike, place) => {
      const root = next.roots.length ? ` ${next.roots[place]}` : "";
      const shown = grouped(strike, next.strike_decimals) + root;
      digits[half] = Math.max(digits[half], shown.length + 2);
      const text = `${shown} ${shown.replaceAll(",", "")} ${next.symbols[place].join(" ")}`;
      return { strike, place, shown, text, node: null, cells: [], painted: null };
    });
    table.setAttribute("aria-rowcount", String(rows.length + 2));
    values = null;
    money = -1;
    description = next;
    arrange();
  }

  function arrange() {
    found = rows.filter((row) => filter.matches(row.text));
    put(empty, found.length || !rows.length ? "" : filter.nothingFound());
    inSight = [];
    layOut();
  }

  // Puts the rows in sight into the page; those that come into sight are brought up to date.
  function layOut() {
    showMore();
    const height = scroll.clientHeight || 420;
    const first = Math.max(0, Math.floor(scroll.scrollTop / ROW_PX) - SPARE_ROWS);
    const last = Math.min(found.length, Math.ceil((scroll.scrollTop + height) / ROW_PX) + SPARE_ROWS);
    const next = found.slice(Math.min(first, Math.max(0, last - 1)), last);
    if (body.firstChild && next.length === inSight.length && next.every((row, at) => row === inSight[at])) return;
    inSight = next;
    for (const row of inSight) if (!row.node) makeRow(row, description, description.columns.length / 2);
    above.firstChild.style.height = `${ROW_PX * found.indexOf(inSight[0])}px`;
    below.firstChild.style.height = `${ROW_PX * (found.length - found.indexOf(inSight[0]) - inSight.length)}px`;
    above.hidden = inSight[0] === found[0];
    below.hidden = inSight.at(-1) === found.at(-1);
    body.replaceChildren(above, ...inSight.map((row) => row.node), below);
    if (!values) return;
    paintCells(values, description);
    markMoney(values[3]);
    fit();
  }

  function makeRow(row, next, half) {
    const { place } = row;
    const node = make("tr");
    node.setAttribute("aria-rowindex", String(place + 3));
    const cells = next.columns.map((column, at) => {
      const side = at < half ? "call" : "put";
      const cell = make("td", `anb-number anb-${column.kind} anb-${side} anb-col-${column.name.replace(/[^a-z0-9_]/gi, "")}`);
      cell.title = next.symbols[place][at < half ? 0 : 1];
      const arrow = make("span", "anb-arrow");
      arrow.setAttribute("aria-hidden", "true");
      const text = make("span");
      if (column.kind === "price") cell.appendChild(arrow);
      cell.appendChild(text);
      return { node: cell, arrow, text };
    });
    const middle = make("th", "anb-strike", row.shown);
    middle.scope = "row";
    node.append(...cells.slice(0, half).map((cell) => cell.node), middle, ...cells.slice(half).map((cell) => cell.node));
    Object.assign(row, { node, middle, cells });
  }

  function paint(data, next) {
    const nextKey = JSON.stringify([next.strikes, next.roots, next.columns, next.symbols]);
    if (nextKey !== key) {
      key = nextKey;
      build(next);
    }
    const label = next.title || "Options";
    put(title, label);
    if (scroll.getAttribute("aria-label") !== label) scroll.setAttribute("aria-label", label);
    put(spot, Number.isFinite(data[3]) ? grouped(data[3], next.spot_decimals) : "");
    const isStale = data[2] === 1;
    put(badge, isStale ? "stale" : "");
    flag(root, "anb-stale", isStale);
    layOut();
    paintCells(data, next);
    description = next;
    values = data;
    markMoney(data[3]);
    fit();
    tick();
  }

  // Scrolls to the row at the money once the table can be measured; afterwards only the user scrolls.
  function centre() {
    if (isCentred || money < 0 || !scroll.clientHeight) return;
    isCentred = true;
    scroll.scrollTop = Math.max(0, (money + 0.5) * ROW_PX - (scroll.clientHeight - head.offsetHeight) / 2);
    scroll.scrollLeft = (scroll.scrollWidth - scroll.clientWidth) / 2;
    layOut();
  }

  function format(value, column, decimals) {
    if (column.kind !== "percent" || !Number.isFinite(value)) return grouped(value, decimals);
    return `${grouped(100 * value, decimals)}%`;
  }

  // A cell is marked if the frame before showed its row as well: what changed out of sight is no news.
  function paintCells(data, next) {
    const wide = next.columns.length;
    for (const row of inSight) {
      const before = row.painted;
      if (before && before.data === data && before.next === next) continue;
      const isNews = before !== null && before.data === values;
      row.painted = { data, next };
      row.cells.forEach((cell, place) => {
        const at = HEAD + row.place * wide + place;
        const [old, value] = [before ? before.data[at] : NaN, data[at]];
        if (value === old && before.next === next) return;
        const column = next.columns[place];
        const text = format(value, column, next.decimals[place]);
        if (cell.text.textContent === text) return;
        cell.text.textContent = text;
        const col = place < wide / 2 ? place : place + 1;
        digits[col] = Math.max(digits[col], text.length + (column.kind === "price" ? 3 : 1));
        if (isNews && value !== old && Number.isFinite(old) && Number.isFinite(value)) {
          mark(cell, column, value > old ? "up" : "down");
        }
      });
    }
  }

  function mark(cell, column, direction) {
    if (column.kind !== "price") {
      flash(cell.node, "note");
      return;
    }
    put(cell.arrow, ARROWS[direction]);
    flag(cell.node, "anb-up", direction === "up");
    flag(cell.node, "anb-down", direction === "down");
    flash(cell.node, direction);
  }

  // Marks the strike nearest to the underlying's price, and what is in the money: calls below the price, puts above it.
  function markMoney(price) {
    const isKnown = Number.isFinite(price);
    money = -1;
    rows.forEach((row, line) => {
      if (isKnown && (money < 0 || Math.abs(row.strike - price) < Math.abs(rows[money].strike - price))) money = line;
    });
    for (const row of inSight) {
      flag(row.node, "anb-call-in", isKnown && row.strike < price);
      flag(row.node, "anb-put-in", isKnown && row.strike > price);
      flag(row.node, "anb-money", row.place === money);
      const title = row.place === money ? "at the money" : "";
      if (row.middle.title !== title) row.middle.title = title;
    }
  }

  const fit = () => fitWidths(table, widths, digits); // columns only grow, so that a new digit moves no neighbour

  function tick() {
    centre();
    if (!values) return;
    const seconds = (clock.now() - values[4]) / 1000;
    put(age, values[4] > 0 && seconds >= 2 ? `${spanOfTime(seconds)} ago` : "");
  }

  let queued = 0;
  const queue = () => {
    if (!queued) queued = requestAnimationFrame(() => ((queued = 0), description && layOut()));
  };
  scroll.addEventListener("scroll", queue, { passive: true });
  new ResizeObserver(queue).observe(scroll);
  return { paint, tick };
}

export default () => panel(makeChain);
