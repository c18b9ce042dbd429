// Option chain. Frame: number, kernel clock in ms, is stale, price of the underlying, time of receipt in ms, then for
// each strike the columns of its call and of its put.

const HEAD = 5;
const ARROWS = { up: "▲", down: "▼" };

function makeChain(root, clock) {
  root.classList.add("anb-chain");
  const bar = make("div", "anb-bar");
  const title = make("span", "anb-title");
  const spot = make("span", "anb-spot");
  const badge = make("span", "anb-badge");
  badge.setAttribute("role", "status");
  const age = make("span", "anb-soft");
  const freeze = make("button", "anb-button", "Freeze");
  freeze.type = "button";
  freeze.setAttribute("aria-pressed", "false");
  bar.append(title, spot, badge, make("span", "anb-space"), age, freeze);

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
  scroll.appendChild(table);
  root.append(bar, scroll);

  let key = "";
  let description = null;
  let rows = [];
  let digits = [];
  let values = null;
  let money = -1;
  let isCentred = false;
  let frozenAt = null;
  let behind = 0;

  function build(next) {
    const half = next.columns.length / 2;
    const heading = (text, className, span) => {
      const cell = make("th", className, text);
      cell.scope = span === 1 ? "col" : "colgroup";
      cell.colSpan = span;
      return cell;
    };
    sides.replaceChildren(heading("Calls", "", half), heading("", "anb-strike", 1), heading("Puts", "", half));
    const names = next.columns.map((column) => heading(column.label, "anb-number", 1));
    names.splice(half, 0, heading("Strike", "anb-strike", 1));
    labels.replaceChildren(...names);
    digits = names.map((cell) => cell.textContent.length + 1);
    widths.replaceChildren(...names.map(() => make("col")));
    rows = next.strikes.map((strike, place) => makeRow(strike, place, next, half));
    body.replaceChildren(...rows.map((row) => row.node));
    values = null;
    money = -1;
  }

  function makeRow(strike, place, next, half) {
    const node = make("tr");
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
    const root = next.roots.length ? ` ${next.roots[place]}` : "";
    const middle = make("th", "anb-strike", grouped(strike, next.strike_decimals) + root);
    middle.scope = "row";
    digits[half] = Math.max(digits[half], middle.textContent.length + 2);
    node.append(...cells.slice(0, half).map((cell) => cell.node), middle, ...cells.slice(half).map((cell) => cell.node));
    return { node, middle, strike, cells };
  }

  function paint(data, next) {
    const nextKey = JSON.stringify([next.strikes, next.roots, next.columns, next.symbols]);
    if (frozenAt !== null && nextKey === key) {
      behind += 1;
      put(badge, `frozen ${frozenAt} · ${grouped(behind, 0)} ${behind === 1 ? "frame" : "frames"} behind`);
      return;
    }
    if (nextKey !== key) {
      key = nextKey;
      build(next);
    }
    const label = next.title || "Options";
    put(title, label);
    if (scroll.getAttribute("aria-label") !== label) scroll.setAttribute("aria-label", label);
    put(spot, Number.isFinite(data[3]) ? grouped(data[3], next.spot_decimals) : "");
    const isStale = data[2] === 1;
    if (frozenAt === null) put(badge, isStale ? "stale" : "");
    flag(root, "anb-stale", isStale);
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
    const row = rows[money].node;
    scroll.scrollTop = row.offsetTop - (scroll.clientHeight - row.offsetHeight) / 2;
    scroll.scrollLeft = (scroll.scrollWidth - scroll.clientWidth) / 2;
  }

  function format(value, column, decimals) {
    if (column.kind !== "percent" || !Number.isFinite(value)) return grouped(value, decimals);
    return `${grouped(100 * value, decimals)}%`;
  }

  function paintCells(data, next) {
    const wide = next.columns.length;
    const isComparable = values !== null && values.length === data.length;
    const isNewLook = description !== next;
    rows.forEach((row, line) => {
      row.cells.forEach((cell, place) => {
        const at = HEAD + line * wide + place;
        const before = isComparable ? values[at] : NaN;
        const value = data[at];
        if (value === before && !isNewLook) return;
        const column = next.columns[place];
        const text = format(value, column, next.decimals[place]);
        const isNews = cell.text.textContent !== text;
        if (isNews) {
          cell.text.textContent = text;
          const at = place < wide / 2 ? place : place + 1;
          digits[at] = Math.max(digits[at], text.length + (column.kind === "price" ? 3 : 1));
        }
        if (isNews && value !== before && Number.isFinite(before) && Number.isFinite(value)) {
          mark(cell, column, value > before ? "up" : "down");
        }
      });
    });
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
    let nearest = -1;
    rows.forEach((row, line) => {
      const isKnown = Number.isFinite(price);
      flag(row.node, "anb-call-in", isKnown && row.strike < price);
      flag(row.node, "anb-put-in", isKnown && row.strike > price);
      if (isKnown && (nearest < 0 || Math.abs(row.strike - price) < Math.abs(rows[nearest].strike - price))) nearest = line;
    });
    if (nearest === money) return;
    rows.forEach((row, line) => {
      flag(row.node, "anb-money", line === nearest);
      row.middle.title = line === nearest ? "at the money" : "";
    });
    money = nearest;
  }

  const fit = () => fitWidths(table, widths, digits); // columns only grow, so that a new digit moves no neighbour

  function tick() {
    centre();
    if (!values || frozenAt !== null) return;
    const seconds = (clock.now() - values[4]) / 1000;
    put(age, values[4] > 0 && seconds >= 2 ? `${spanOfTime(seconds)} ago` : "");
  }

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

export default () => panel(makeChain);
