// Ladder. Frame: number, kernel clock in ms, number of bids and of asks, time of receipt in ms, spread, middle, imbalance,
// price and size of the last trade (NaN: unknown), then price and size of each bid and each ask, best first.

const HEAD = 10;
// So many price steps without a level, an order or the last trade are rows; more are one row that says how many.
const MOST_EMPTY = 12;
const DRAG_PX = 6;
const COLUMNS = ["Sum", "Bid", "Price", "Ask", "Sum"];

function makeLadder(root, clock) {
  root.classList.add("anb-ladder");
  const bar = make("div", "anb-bar");
  const title = make("span", "anb-title");
  const badge = make("span", "anb-badge");
  badge.setAttribute("role", "status");
  const apart = make("span", "anb-soft anb-apart");
  const centre = make("button", "anb-button", "Centre");
  centre.type = "button";
  centre.title = "Centre on the spread, and follow it (Home)";
  bar.append(title, badge, make("span", "anb-space"), apart, centre);

  const id = `anb-${Math.random().toString(36).slice(2)}`;
  const grid = make("div", "anb-grid");
  grid.setAttribute("role", "grid");
  grid.tabIndex = 0;
  grid.dataset.lmSuppressShortcuts = "true"; // a notebook binds the arrow keys to its cells
  const header = makeRow("anb-header", "columnheader", "");
  COLUMNS.forEach((text, place) => put(header.texts[place], text));
  header.cells[0].title = header.cells[4].title = "Size from the best price to this one";
  const body = make("div", "anb-rows");
  body.setAttribute("role", "rowgroup");
  const nothing = make("div", "anb-nothing");
  nothing.setAttribute("role", "status");
  grid.append(header.node, body);
  const view = make("div", "anb-view");
  view.append(grid, nothing);

  const balance = make("div", "anb-balance");
  const share = make("i");
  const balanceText = make("span");
  balance.append(make("span", "anb-track"), balanceText);
  balance.firstChild.append(share);
  const foot = make("div", "anb-foot");
  foot.setAttribute("role", "status");
  root.append(bar, view, balance, foot);

  let depth = 0;
  let rows = [];
  let lines = []; // of the whole ladder, from the highest price: { tick } or, for a run of empty steps, { tick, skipped }
  let levels = { bids: new Map(), asks: new Map() };
  let marks = { orders: new Map(), last: null };
  let flashedAt = new Map();
  let before = null;
  let description = null;
  let received = 0;
  let anchor = null; // the tick in the middle of the view
  let isFollowing = true;
  let active = null; // the tick that the pointer or the keys have chosen

  function makeRow(className, role, label) {
    const node = make("div", `anb-row ${className}`);
    node.setAttribute("role", "row");
    const cells = ["anb-sum", "anb-bid", "anb-price", "anb-ask", "anb-sum"].map((name) => {
      const cell = make("div", `anb-cell ${name}`);
      cell.setAttribute("role", role);
      node.appendChild(cell);
      return cell;
    });
    const isBody = role !== "columnheader";
    if (isBody) cells[2].setAttribute("role", "rowheader");
    const parts = cells.map((cell, place) => {
      const isSide = isBody && (place === 1 || place === 3);
      const bar = isSide ? cell.appendChild(make("i", "anb-depth")) : null;
      const own = isSide ? cell.appendChild(make("b", "anb-own")) : null;
      return { bar, own, text: cell.appendChild(make("span")) };
    });
    if (label) node.id = label;
    return { node, cells, parts, texts: parts.map((part) => part.text), tick: null };
  }

  function build(next) {
    depth = next.depth;
    rows = Array.from({ length: 2 * depth + 1 }, (_, place) => makeRow("", "gridcell", `${id}-${place}`));
    body.replaceChildren(...rows.map((row) => row.node));
    for (const row of rows) {
      row.node.addEventListener("mouseenter", () => choose(row.tick));
      row.node.addEventListener("mouseleave", () => choose(null));
    }
  }

  const priceOf = (tick) => tick * description.step;
  const shownPrice = (tick) => grouped(priceOf(tick), description.price_decimals);
  const shownSize = (size) => grouped(size, description.size_decimals);

  // Levels by row. Of a coarser step than the instrument's, a level belongs to the row further from the spread.
  function sideOf(data, from, length, isBid) {
    const side = new Map();
    let sum = 0;
    let value = 0;
    for (let place = 0; place < length; place += 1) {
      const [price, size] = [data[from + 2 * place], data[from + 2 * place + 1]];
      const exact = price / description.step;
      const nearest = Math.round(exact);
      const isExact = Math.abs(exact - nearest) < 1e-6 * Math.max(1, Math.abs(exact) * 1e-6);
      const tick = isExact ? nearest : isBid ? Math.floor(exact) : Math.ceil(exact);
      sum += size;
      value += size * price;
      const row = side.get(tick) || { size: 0, levels: 0 };
      side.set(tick, { size: row.size + size, levels: row.levels + 1, sum, average: value / sum, count: place + 1 });
    }
    return side;
  }

  function paint(data, next) {
    const isNew = !description || next.depth !== depth || next.step !== description.step || next.symbol !== description.symbol;
    const middle = anchor === null ? null : priceOf(anchor);
    if (next.depth !== depth) build(next);
    description = next;
    if (isNew && middle !== null) anchor = Math.round(middle / next.step);
    levels = { bids: sideOf(data, HEAD, data[2], true), asks: sideOf(data, HEAD + 2 * data[2], data[3], false) };
    received = data[4];
    const orders = new Map();
    for (const [side, price, quantity] of next.orders) {
      const key = `${side === "buy" ? "bid" : "ask"}${Math.round(price / next.step)}`;
      orders.set(key, orders.has(key) ? `${orders.get(key)} + ${quantity}` : quantity);
    }
    const last = Number.isFinite(data[8]) ? Math.round(data[8] / next.step) : null;
    marks = { orders, last, size: data[9] };
    put(title, next.symbol);
    put(badge, next.state);
    grid.setAttribute("aria-label", `Order book of ${next.symbol}`);
    flag(root, "anb-doubt", next.is_doubtful);
    paintSpread(data[5], data[6]);
    paintBalance(data[7]);
    lay();
    // Not over prices: those round the last trade stay, and the foot has the reason.
    put(nothing, lines.length ? "" : next.reason || "no levels");
    if (isFollowing) follow();
    render();
    before = levels;
    tick();
  }

  // Both unknown where a side is not there, the middle also where the two sides are not believable together.
  function paintSpread(spread, middle) {
    const { price_decimals: decimals } = description;
    const parts = [
      ...(Number.isFinite(spread) ? [`spread ${grouped(spread, decimals)}`] : []),
      ...(Number.isFinite(middle) ? [`mid ${grouped(middle, decimals + 1)}`] : []),
    ];
    put(apart, parts.join(" · "));
  }

  function paintBalance(imbalance) {
    const isKnown = Number.isFinite(imbalance);
    flag(balance, "anb-unknown", !isKnown);
    const width = `${isKnown ? (50 + 50 * imbalance).toFixed(1) : 50}%`;
    if (share.style.width !== width) share.style.width = width;
    const more = !isKnown || Math.abs(imbalance) < 0.005 ? "" : imbalance > 0 ? " more bid" : " more ask";
    put(balanceText, isKnown ? `imbalance ${signed(100 * imbalance, 0, "%")}${more}` : "imbalance –");
    balance.title = `Size of the best ${depth} bids less that of the asks, in per cent of both`;
  }

  const best = (side, pick) => (side.size ? pick(...side.keys()) : null);

  // Lays out the lines: every step from some rows above the highest level to some rows below the lowest. Where all
  // prices are above zero, zero and what is below it are no prices.
  function lay() {
    const [bids, asks] = [[...levels.bids.keys()], [...levels.asks.keys()]];
    const own = [...marks.orders.keys()].map((key) => Number(key.slice(3)));
    const taken = [...new Set([...bids, ...asks, ...own, ...(marks.last === null ? [] : [marks.last])])];
    taken.sort((a, b) => b - a);
    lines = [];
    if (!taken.length) return;
    const lowest = taken[taken.length - 1];
    const end = lowest > 0 ? Math.max(lowest - depth - 1, 0) : lowest - depth - 1;
    for (let step = depth; step > 0; step -= 1) lines.push({ tick: taken[0] + step });
    taken.forEach((at, place) => {
      lines.push({ tick: at });
      const following = place + 1 < taken.length ? taken[place + 1] : end;
      const empty = at - following - 1;
      if (place + 1 < taken.length && empty > MOST_EMPTY) lines.push({ tick: at - 1, skipped: empty });
      else for (let step = 1; step <= empty; step += 1) lines.push({ tick: at - step });
    });
  }

  // The place of a tick among the lines, or of the next lower one.
  function placeOf(wanted) {
    let [low, high] = [0, lines.length];
    while (low < high) {
      const half = (low + high) >> 1;
      if (lines[half].tick > wanted) low = half + 1;
      else high = half;
    }
    return Math.min(low, Math.max(0, lines.length - 1));
  }

  function middlePlace() {
    const [bid, ask] = [best(levels.bids, Math.max), best(levels.asks, Math.min)];
    if (bid === null && ask === null) return marks.last === null ? null : placeOf(marks.last);
    if (bid === null || ask === null) return placeOf(bid ?? ask);
    return Math.floor((placeOf(bid) + placeOf(ask)) / 2);
  }

  // Prices stay where they are until the middle has moved by a quarter of the way to the edge: what moves can not be read.
  function follow(isExact = false) {
    const place = middlePlace();
    if (place === null) return;
    const now = anchor === null ? null : placeOf(anchor);
    if (isExact || now === null || Math.abs(now - place) > Math.max(2, depth / 4)) anchor = lines[place].tick;
  }

  function setFollowing(isNow) {
    isFollowing = isNow;
    centre.setAttribute("aria-pressed", String(!isNow));
    put(centre, isNow ? "Centre" : "Centre ⌖");
    if (isNow && description) {
      follow(true);
      render();
    }
  }

  function scrollBy(count) {
    if (anchor === null || !count) return;
    const place = Math.max(0, Math.min(lines.length - 1, placeOf(anchor) + count));
    anchor = lines[place].tick;
    setFollowing(false);
    render();
  }

  function render() {
    const from = anchor === null ? 0 : placeOf(anchor) - depth;
    const inView = lines.slice(Math.max(0, from), from + 2 * depth + 1);
    const sizes = inView.flatMap(({ tick }) => [levels.bids.get(tick)?.size ?? 0, levels.asks.get(tick)?.size ?? 0]);
    const largest = Math.max(...sizes, 1e-12);
    const [bid, ask] = [best(levels.bids, Math.max), best(levels.asks, Math.min)];
    rows.forEach((row, place) => paintRow(row, lines[from + place], largest, bid, ask));
    grid.setAttribute("aria-rowcount", String(lines.length + 1));
    rows.forEach((row, place) => row.node.setAttribute("aria-rowindex", String(Math.max(1, from + place + 2))));
    describe();
  }

  function paintRow(row, line, largest, bid, ask) {
    const tick = line && !line.skipped ? line.tick : null;
    // A flash belongs to a price, not to a place: the ladder was centred anew.
    if (row.tick !== tick) for (const cell of row.cells) delete cell.dataset.flash;
    row.tick = tick;
    const isWithin = tick !== null && bid !== null && ask !== null && tick > bid && tick < ask;
    const side = tick === null ? "" : ask !== null && tick >= ask ? "ask" : bid !== null && tick <= bid ? "bid" : "";
    flag(row.node, "anb-between", isWithin);
    flag(row.node, "anb-bid-row", side === "bid");
    flag(row.node, "anb-ask-row", side === "ask");
    flag(row.node, "anb-edge", tick !== null && tick === bid);
    flag(row.node, "anb-skipped", Boolean(line?.skipped));
    flag(row.cells[2], "anb-last", tick !== null && tick === marks.last);
    put(row.texts[2], tick !== null ? shownPrice(tick) : line ? `⋮ ${grouped(line.skipped, 0)} steps` : "");
    const title = tick !== null && tick === marks.last ? lastTrade() : "";
    if (row.cells[2].title !== title) row.cells[2].title = title;
    paintSide(row, tick, levels.bids, before?.bids, 1, 0, largest, "bid");
    paintSide(row, tick, levels.asks, before?.asks, 3, 4, largest, "ask");
  }

  function paintSide(row, tick, side, old, place, sumPlace, largest, name) {
    const level = tick === null ? undefined : side.get(tick);
    const part = row.parts[place];
    put(part.text, level ? shownSize(level.size) : "");
    put(row.texts[sumPlace], level ? shownSize(level.sum) : "");
    const width = `${level ? Math.round((1000 * level.size) / largest) / 10 : 0}%`;
    if (part.bar.style.width !== width) part.bar.style.width = width;
    const own = tick === null ? "" : (marks.orders.get(`${name}${tick}`) ?? "");
    put(part.own, own);
    part.own.title = own ? `own ${name === "bid" ? "buy" : "sell"} order of ${own}` : "";
    if (!level) delete row.cells[place].dataset.flash;
    if (!level || !old || (old.get(tick)?.size ?? 0) === level.size) return;
    const key = `${name}${tick}`;
    const now = performance.now();
    if (now - (flashedAt.get(key) ?? -CALM_MS) >= CALM_MS) flash(row.cells[place], "note");
    flashedAt.set(key, now);
    if (flashedAt.size > 2000) flashedAt = new Map();
  }

  function choose(tick) {
    active = tick;
    describe();
  }

  function lastTrade() {
    if (marks.last === null) return "";
    const size = Number.isFinite(marks.size) ? `, size ${shownSize(marks.size)}` : "";
    return `last trade ${shownPrice(marks.last)}${size}`;
  }

  // The line under the ladder: why the book cannot be trusted, else the size from the best price to the chosen one,
  // else the last trade.
  function describe() {
    const [bid, ask] = active === null ? [] : [levels.bids, levels.asks].map((side) => sumTo(side, active));
    const isAsk = Boolean(ask?.count) && !(bid?.count);
    for (const row of rows) {
      const isIn = active !== null && row.tick !== null && (isAsk ? row.tick <= active && levels.asks.has(row.tick) : row.tick >= active && levels.bids.has(row.tick));
      flag(row.node, "anb-within", isIn);
      flag(row.node, "anb-active", active !== null && row.tick === active);
      if (active !== null && row.tick === active) grid.setAttribute("aria-activedescendant", row.node.id);
    }
    if (active === null) grid.removeAttribute("aria-activedescendant");
    const found = isAsk ? ask : bid;
    if (!description) return;
    const text =
      description.reason ||
      (found?.count
        ? `${shownSize(found.sum)} in ${found.count} ${found.count === 1 ? "level" : "levels"}, average ${grouped(found.average, description.price_decimals + 1)}`
        : active !== null
          ? `${shownPrice(active)}: no level`
          : lastTrade());
    put(foot, text);
  }

  // What is on a side from its best price to this one.
  function sumTo(side, wanted) {
    let found = null;
    const isBid = side === levels.bids;
    for (const [tick, level] of side) if (isBid ? tick >= wanted : tick <= wanted) found = level;
    return found;
  }

  // The wheel and the finger move the ladder once it has the focus; before, they move the page.
  const hasFocus = () => root.contains(document.activeElement);
  let wheeled = 0;
  view.addEventListener(
    "wheel",
    (event) => {
      if (!hasFocus() && !event.ctrlKey) return;
      event.preventDefault();
      wheeled += event.deltaMode === 0 ? event.deltaY / 22 : event.deltaY;
      const whole = Math.trunc(wheeled);
      wheeled -= whole;
      scrollBy(whole);
    },
    { passive: false },
  );
  let drag = null;
  view.addEventListener("pointerdown", (event) => {
    if (event.pointerType === "mouse") return;
    drag = hasFocus() ? { y: event.clientY } : null;
  });
  view.addEventListener("pointermove", (event) => {
    if (!drag || Math.abs(event.clientY - drag.y) < DRAG_PX) return;
    const count = Math.trunc((drag.y - event.clientY) / 22);
    if (!count) return;
    drag.y -= count * 22;
    scrollBy(count);
  });
  for (const name of ["pointerup", "pointercancel"]) view.addEventListener(name, () => (drag = null));
  view.addEventListener("dblclick", () => setFollowing(true));
  centre.addEventListener("click", () => setFollowing(true));

  function move(count) {
    const start = active === null ? middlePlace() : placeOf(active) + count;
    if (start === null || !lines.length) return;
    let place = Math.max(0, Math.min(lines.length - 1, start));
    if (lines[place].skipped) place = Math.max(0, Math.min(lines.length - 1, place + Math.sign(count || 1)));
    active = lines[place].tick;
    const shift = place - placeOf(anchor);
    if (Math.abs(shift) > depth) scrollBy(shift - Math.sign(shift) * depth);
    else describe();
  }

  grid.addEventListener("keydown", (event) => {
    const steps = { ArrowUp: () => move(-1), ArrowDown: () => move(1), PageUp: () => scrollBy(-depth), PageDown: () => scrollBy(depth) };
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key in steps) steps[event.key]();
    else if (event.key === "Home") setFollowing(true);
    else if (event.key === "Escape" && active !== null) choose(null);
    else return;
    event.preventDefault();
    event.stopPropagation();
  });

  function tick() {
    const seconds = (clock.now() - received) / 1000;
    const age = received > 0 && seconds >= 2 ? `${spanOfTime(seconds)} ago` : "";
    if (foot.dataset.age !== age) foot.dataset.age = age;
  }
  setFollowing(true);
  return { paint, tick };
}

export default () => panel(makeLadder);
