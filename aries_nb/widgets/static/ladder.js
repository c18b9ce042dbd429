// Ladder. Frame: number, kernel clock in ms, number of bids and of asks, time of receipt in ms, then price and size of
// each bid and each ask, best first.

const HEAD = 5;

function makeLadder(root, clock) {
  root.classList.add("anb-ladder");
  const bar = make("div", "anb-bar");
  const title = make("span", "anb-title");
  const age = make("span", "anb-soft anb-age");
  bar.append(title, make("span", "anb-space"), age);
  const grid = make("div", "anb-grid");
  grid.setAttribute("role", "table");
  const header = makeRow("anb-header", "columnheader");
  ["Bid size", "Price", "Ask size"].forEach((text, place) => put(header.texts[place], text));
  const foot = make("div", "anb-foot");
  foot.setAttribute("role", "status");
  root.append(bar, grid, foot);

  let depth = 0;
  let asks = [];
  let bids = [];
  let spread = null;
  let before = null;
  let description = null;
  let received = 0;
  let hovered = null;

  function makeRow(className, role) {
    const node = make("div", `anb-row ${className}`);
    node.setAttribute("role", "row");
    const cells = ["anb-bid", "anb-price", "anb-ask"].map((name) => {
      const cell = make("div", `anb-cell ${name}`);
      cell.setAttribute("role", role);
      node.appendChild(cell);
      return cell;
    });
    const bars = [make("i", "anb-depth"), null, make("i", "anb-depth")];
    const texts = cells.map((cell, place) => {
      if (bars[place] && role === "cell") cell.appendChild(bars[place]);
      return cell.appendChild(make("span"));
    });
    return { node, cells, bars, texts, level: null };
  }

  function build(next) {
    depth = next.depth;
    asks = Array.from({ length: depth }, () => makeRow("anb-ask-row", "cell"));
    bids = Array.from({ length: depth }, () => makeRow("anb-bid-row", "cell"));
    spread = makeRow("anb-spread", "cell");
    grid.replaceChildren(header.node, ...asks.map((row) => row.node).reverse(), spread.node, ...bids.map((row) => row.node));
    for (const [side, rows] of [["ask", asks], ["bid", bids]]) {
      rows.forEach((row, place) => {
        row.node.addEventListener("mouseenter", () => hover({ side, place }));
        row.node.addEventListener("mouseleave", () => hover(null));
      });
    }
    before = null;
  }

  function levels(data, from, length) {
    return Array.from({ length }, (_, place) => ({ price: data[from + 2 * place], size: data[from + 2 * place + 1] }));
  }

  function paint(data, next) {
    if (next.depth !== depth) build(next);
    description = next;
    const bidLevels = levels(data, HEAD, data[2]);
    const askLevels = levels(data, HEAD + 2 * data[2], data[3]);
    received = data[4];
    const largest = Math.max(...bidLevels.map((level) => level.size), ...askLevels.map((level) => level.size), 1e-12);
    put(title, next.symbol);
    grid.setAttribute("aria-label", `Order book of ${next.symbol}`);
    flag(root, "anb-doubt", next.is_doubtful);
    paintSide(bids, bidLevels, 0, largest, before && before.bids);
    paintSide(asks, askLevels, 2, largest, before && before.asks);
    paintSpread(next.spread, next.middle);
    const sizes = (list) => new Map(list.map((level) => [level.price, level.size]));
    before = { bids: sizes(bidLevels), asks: sizes(askLevels) };
    describe();
    tick();
  }

  function paintSide(rows, list, place, largest, sizes) {
    rows.forEach((row, at) => {
      const level = at < list.length ? list[at] : null;
      row.level = level;
      put(row.texts[1], level ? grouped(level.price, description.price_decimals) : "");
      put(row.texts[place], level ? grouped(level.size, description.size_decimals) : "");
      const width = `${level ? Math.round((1000 * level.size) / largest) / 10 : 0}%`;
      if (row.bars[place].style.width !== width) row.bars[place].style.width = width;
      if (!level || !sizes) return;
      const size = sizes.get(level.price);
      if (size !== level.size) flash(row.cells[place], "note");
    });
  }

  // Both null where a side is not there, the middle also where the two sides are not believable together.
  function paintSpread(apart, middle) {
    put(spread.texts[0], "");
    put(spread.texts[2], "");
    const decimals = description.price_decimals;
    put(spread.texts[1], apart === null ? "–" : grouped(apart, decimals));
    put(spread.texts[0], "spread");
    put(spread.texts[2], middle === null ? "" : `mid ${grouped(middle, decimals + 1)}`);
  }

  function hover(target) {
    hovered = target;
    for (const [side, rows] of [["ask", asks], ["bid", bids]]) {
      rows.forEach((row, place) => {
        flag(row.node, "anb-within", Boolean(target) && target.side === side && place <= target.place);
      });
    }
    describe();
  }

  // The line under the ladder: why the book cannot be trusted, else the size from the best price to the pointer.
  function describe() {
    if (hovered === null || (description && description.is_doubtful)) {
      put(foot, description ? description.reason : "");
      return;
    }
    const rows = (hovered.side === "ask" ? asks : bids).slice(0, hovered.place + 1).filter((row) => row.level);
    const size = rows.reduce((sum, row) => sum + row.level.size, 0);
    const value = rows.reduce((sum, row) => sum + row.level.size * row.level.price, 0);
    const decimals = description.price_decimals;
    const text = size
      ? `${grouped(size, description.size_decimals)} in ${rows.length} ${rows.length === 1 ? "level" : "levels"}, average ${grouped(value / size, decimals + 1)}`
      : "";
    put(foot, text);
    const row = (hovered.side === "ask" ? asks : bids)[hovered.place];
    if (row.node.title !== text) row.node.title = text;
  }

  function tick() {
    const seconds = (clock.now() - received) / 1000;
    put(age, received > 0 && seconds >= 2 ? `${spanOfTime(seconds)} ago` : "");
  }
  return { paint, tick };
}

export default () => panel(makeLadder);
