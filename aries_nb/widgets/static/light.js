// A light chart: uPlot (`uPlot` is its bundle's name) makes scales, axes and the crosshair; lines, candles, marks and
// tags are drawn here, from each line's own points: lines of several symbols have no times in common.

const FONT = "11px -apple-system, BlinkMacSystemFont, 'Segoe UI', Roboto, Ubuntu, sans-serif";
const MARGIN = 0.04; // of the time shown, free at the right
const VOLUME_SHARE = 0.2; // of the height
const LABEL_HALF = 7; // pixels, half the height of a label of an axis
// `group` links the crosshairs of the charts in it.
function makeChart(root, group) {
  root.classList.add("anb-light");
  const bar = make("div", "anb-bar");
  const title = make("span", "anb-title");
  const readout = make("span", "anb-readout");
  const note = make("span", "anb-badge");
  const live = make("button", "anb-button", "Follow");
  live.type = "button";
  live.hidden = true;
  bar.append(title, readout, make("span", "anb-space"), note, live);
  const plot = make("div", "anb-plot");
  plot.tabIndex = 0;
  plot.setAttribute("role", "application");
  plot.setAttribute("aria-roledescription", "live chart");
  const zoneName = make("div", "anb-zone anb-soft");
  const waiting = make("div", "anb-waiting anb-soft");
  const priceTag = make("div", "anb-tag anb-tag-y");
  const timeTag = make("div", "anb-tag anb-tag-x");
  priceTag.hidden = timeTag.hidden = true;
  plot.append(zoneName);
  root.append(bar, plot);

  let u = null;
  let looks = "";
  let description = null;
  let lines = []; // blocks [x, y], or of candles one block [x, open, high, low, close, volume]
  let marks = [[], [], [], []]; // x, price, side, quantity
  let colours = {};
  let extents = { y: [0, 1], s: [0, 1] };
  let width = null; // of the time shown in ms; null: all there is
  let end = null; // the right edge; null: follows the newest point
  let prices = null; // [low, high] while the user holds the price axis
  let linkedMs = null; // time of the crosshair in a chart of the group
  let frames = 0;

  const isCandles = () => description.kind === "candles";
  const first = () => Math.min(...lines.map(([x]) => (x.length ? x[0] : Infinity)));
  const last = () => Math.max(...lines.map(([x]) => (x.length ? x[x.length - 1] : -Infinity)));
  const isEmpty = () => !lines.some(([x]) => x.length);
  const whole = () => (isEmpty() ? 60 * SECOND : Math.max(last() - first() + (isCandles() ? description.step : 0), SECOND));
  const newest = () => (isEmpty() ? Date.now() : last() + (isCandles() ? description.step : 0));
  function shown() {
    const span = width ?? whole() * (1 + MARGIN);
    const right = end ?? newest() + span * (MARGIN / (1 + MARGIN));
    return [right - span, right];
  }

  function readColours() {
    const style = getComputedStyle(root);
    const next = {};
    for (const name of ["soft", "text", "back", "grid", "up", "down", "warn", "warn-wash"]) {
      next[name] = style.getPropertyValue(`--anb-${name}`).trim();
    }
    const isOther = JSON.stringify(next) !== JSON.stringify(colours);
    colours = next;
    return isOther;
  }

  const size = () => ({ width: Math.max(plot.clientWidth, 120), height: description.height });

  function numberAxis(scale, side, decimals) {
    let digits = 4;
    return {
      scale, side, font: FONT, gap: 6, space: 34, incrs: STEPS_OF_NUMBERS,
      stroke: () => colours.soft,
      grid: { show: scale === "y", stroke: () => colours.grid, width: 1 },
      ticks: { show: false },
      values: (_, splits, __, ___, step) => {
        const shownDecimals = Math.max(decimals(), step < 1 ? Math.min(8, Math.ceil(-Math.log10(step) - 1e-9)) : 0);
        return splits.map((value) => grouped(value, shownDecimals));
      },
      // Only grows: the plot must not move with each digit.
      size: (_, values) => 14 + 6.6 * (digits = Math.max(digits, ...(values ?? []).map((text) => text.length))),
    };
  }

  function build() {
    u?.destroy();
    readColours();
    const hasSizes = !isCandles() && description.lines.some((line) => line.isSize);
    const zone = description.zone;
    u = new uPlot({
      ...size(),
      pxAlign: 1,
      padding: [8, 0, 0, hasSizes ? 0 : 4],
      legend: { show: false },
      series: [{}, { scale: "y", paths: () => null, points: { show: false } }, { scale: "s", paths: () => null, points: { show: false } }],
      scales: { x: { time: false }, y: { range: () => extents.y }, s: { range: () => extents.s } },
      axes: [
        {
          size: 26, gap: 6, space: 72, incrs: STEPS_OF_TIME, font: FONT,
          stroke: () => colours.soft, grid: { stroke: () => colours.grid, width: 1 }, ticks: { show: false },
          splits: (_, __, from, to, step) => timesOnClock(zone, from, to, step),
          // A label over an edge would be cut off, or cover the name of the zone.
          values: (chart, splits, __, ___, step) =>
            splits.map((ms) => {
              const left = chart.valToPos(ms, "x");
              return left < 30 || left > chart.over.offsetWidth - 24 ? "" : clockText(zone, ms, step);
            }),
        },
        numberAxis("y", 1, () => description.decimals),
        { ...numberAxis("s", 3, () => description.sizeDecimals), show: hasSizes },
      ],
      cursor: {
        drag: { x: false, y: false, setScale: false },
        points: { show: false },
        bind: { mousedown: () => null, mouseup: () => null, dblclick: () => null, click: () => null },
      },
      hooks: { drawClear: [drawBands], draw: [drawAll], setCursor: [moved] },
    }, table(), plot);
    u.over.append(priceTag, timeTag, waiting);
    addGrips();
  }

  // What uPlot scales by; the points themselves it never sees.
  function table() {
    const x = shown();
    const y = [Infinity, -Infinity];
    const s = [Infinity, -Infinity];
    if (isCandles()) {
      const [starts, , high, low] = lines[0];
      extentOf(starts, high, x, y);
      extentOf(starts, low, x, y);
    } else lines.forEach(([times, values], k) => extentOf(times, values, x, description.lines[k].isSize ? s : y));
    extents = {
      y: prices ?? padded(y, isCandles() && description.hasVolume ? 0.32 : 0.1, 0.1),
      s: padded(s, 0.1, 0.1),
    };
    return [x, extents.y, extents.s];
  }

  function inPlot(chart, draw) {
    const { ctx, bbox } = chart;
    const { min, max } = chart.scales.x;
    const toX = (ms) => bbox.left + ((ms - min) / (max - min)) * bbox.width;
    const toY = (value, scale = "y") => {
      const [low, high] = extents[scale];
      return bbox.top + ((high - value) / (high - low)) * bbox.height;
    };
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
    ctx.clip();
    draw({ ctx, box: bbox, px: uPlot.pxRatio, toX, toY, range: [min, max] });
    ctx.restore();
  }

  function drawBands(chart) {
    if (!description.bands.length) return;
    inPlot(chart, ({ ctx, box, px, toX }) => {
      ctx.font = `${10.5 * px}px sans-serif`;
      ctx.textAlign = "center";
      ctx.textBaseline = "top";
      for (const [from, to, text] of description.bands) {
        const left = toX(from);
        const right = Math.max(toX(to), left + px);
        if (right < box.left || left > box.left + box.width) continue;
        ctx.fillStyle = colours["warn-wash"];
        ctx.fillRect(left, box.top, right - left, box.height);
        const a = Math.max(left, box.left);
        const b = Math.min(right, box.left + box.width);
        if (ctx.measureText(text).width > b - a - 8 * px) continue;
        ctx.fillStyle = colours.warn;
        ctx.fillText(text, (a + b) / 2, box.top + 3 * px);
      }
    });
  }

  function drawLines(pen) {
    const { ctx, px, toX, toY, range } = pen;
    ctx.lineJoin = "round";
    const order = [...lines.keys()].sort((a, b) => description.lines[b].isSize - description.lines[a].isSize);
    order.forEach((k) => {
      const [x, y] = lines[k];
      const line = description.lines[k];
      ctx.strokeStyle = line.colour;
      ctx.globalAlpha = line.isSize ? 0.6 : 1;
      ctx.lineWidth = (line.isSize ? 1 : 1.5) * px;
      ctx.setLineDash(line.isDotted ? [2 * px, 3 * px] : []);
      ctx.stroke(tracePath(x, y, range, toX, (value) => toY(value, line.isSize ? "s" : "y"), line.isStep));
    });
    ctx.setLineDash([]);
    ctx.globalAlpha = 1;
  }

  function drawCandles({ ctx, box, px, toX, toY, range: [from, to] }) {
    const [x, open, high, low, close, volume] = lines[0];
    const half = ((description.step * 0.36) / (to - from)) * box.width;
    const begin = Math.max(0, countUpTo(x, from) - 1);
    const stop = countUpTo(x, to);
    let most = 0;
    if (volume) for (let at = begin; at < stop; at++) most = Math.max(most, volume[at]);
    const wick = Math.max(1, Math.round(px));
    for (let at = begin; at < stop; at++) {
      const isUp = close[at] >= open[at];
      const middle = Math.round(toX(x[at] + description.step / 2));
      const left = Math.round(middle - half);
      const wide = Math.max(px, Math.round(half * 2));
      ctx.fillStyle = ctx.strokeStyle = isUp ? colours.up : colours.down;
      if (most) {
        const tall = (volume[at] / most) * VOLUME_SHARE * box.height;
        ctx.globalAlpha = 0.3;
        ctx.fillRect(left, box.top + box.height - tall, wide, tall);
        ctx.globalAlpha = 1;
      }
      const top = Math.round(toY(Math.max(open[at], close[at])));
      const bottom = Math.max(Math.round(toY(Math.min(open[at], close[at]))), top + px);
      ctx.fillRect(middle - (wick >> 1), Math.round(toY(high[at])), wick, top - Math.round(toY(high[at])));
      ctx.fillRect(middle - (wick >> 1), bottom, wick, Math.round(toY(low[at])) - bottom);
      if (isUp && wide > 4 * px) {
        ctx.lineWidth = px;
        ctx.strokeRect(left + px / 2, top + px / 2, wide - px, Math.max(bottom - top - px, 0));
      } else ctx.fillRect(left, top, wide, bottom - top);
    }
  }

  // Own fills: a triangle below the price for a purchase, above it for a sale.
  function drawMarks({ ctx, px, toX, toY, range: [from, to] }) {
    const [times, values, sides] = marks;
    const r = 5.5 * px;
    for (let at = 0; at < times.length; at++) {
      if (times[at] < from || times[at] > to) continue;
      const way = sides[at] > 0 ? 1 : -1;
      const x = toX(times[at]);
      const y = toY(values[at]);
      ctx.beginPath();
      ctx.moveTo(x, y + way * 3 * px);
      ctx.lineTo(x - r, y + way * (3 * px + 1.7 * r));
      ctx.lineTo(x + r, y + way * (3 * px + 1.7 * r));
      ctx.closePath();
      ctx.fillStyle = way > 0 ? colours.up : colours.down;
      ctx.strokeStyle = colours.back;
      ctx.lineWidth = 1.5 * px;
      ctx.stroke();
      ctx.fill();
    }
  }

  function lastOf(values) {
    for (let at = values.length - 1; at >= 0; at--) if (Number.isFinite(values[at])) return values[at];
    return NaN;
  }

  // The newest price of each line: a dotted line, and a tag on the axis. Tags that would cover each other move apart.
  function drawTags(chart) {
    const { ctx, bbox } = chart;
    const px = uPlot.pxRatio;
    const tall = 17 * px;
    const [low, high] = extents.y;
    const tags = [];
    const add = (value, colour) => {
      const at = bbox.top + ((high - value) / (high - low)) * bbox.height;
      if (at >= bbox.top && at <= bbox.top + bbox.height) tags.push({ value, at, y: at, colour });
    };
    if (isCandles()) {
      const [, open, , , close] = lines[0];
      const k = close.length - 1;
      if (k >= 0) add(close[k], close[k] >= open[k] ? colours.up : colours.down);
    } else lines.forEach(([, y], k) => description.lines[k].isSize || add(lastOf(y), description.lines[k].colour));
    tags.sort((a, b) => a.at - b.at);
    for (let round = 0; round < 8; round++) {
      for (let k = 1; k < tags.length; k++) {
        const over = tags[k - 1].y + tall - tags[k].y;
        if (over <= 0) continue;
        tags[k - 1].y -= over / 2;
        tags[k].y += over / 2;
      }
    }
    const left = bbox.left + bbox.width;
    ctx.save();
    ctx.font = `${11 * px}px -apple-system, 'Segoe UI', Roboto, Ubuntu, sans-serif`;
    ctx.textBaseline = "middle";
    ctx.textAlign = "left";
    // A label of the axis that a tag covers in part cannot be read: it is left out.
    for (const value of chart.axes[1]._splits ?? []) {
      const at = bbox.top + ((high - value) / (high - low)) * bbox.height;
      const isCovered = tags.some((tag) => Math.abs(tag.y - at) < tall / 2 + LABEL_HALF * px);
      if (isCovered) ctx.clearRect(left + px, at - LABEL_HALF * px, ctx.canvas.width - left - px, 2 * LABEL_HALF * px);
    }
    for (const tag of tags) {
      ctx.strokeStyle = ctx.fillStyle = tag.colour;
      ctx.lineWidth = px;
      ctx.globalAlpha = 0.8;
      ctx.setLineDash([px, 3 * px]);
      ctx.beginPath();
      ctx.moveTo(bbox.left, Math.round(tag.at) + px / 2);
      ctx.lineTo(left, Math.round(tag.at) + px / 2);
      ctx.stroke();
      ctx.globalAlpha = 1;
      ctx.beginPath();
      ctx.roundRect(left + px, tag.y - tall / 2, ctx.canvas.width - left - px, tall, 2 * px);
      ctx.fill();
      ctx.fillStyle = textOn(tag.colour);
      ctx.fillText(grouped(tag.value, description.decimals), left + 6 * px, tag.y + px / 2);
    }
    ctx.restore();
  }

  function drawAll(chart) {
    inPlot(chart, (pen) => {
      if (isCandles()) drawCandles(pen);
      else drawLines(pen);
      drawMarks(pen);
    });
    drawTags(chart);
  }

  // The values at a time: of a line the newest one until then, of candles the one around it.
  function parts(ms) {
    const decimals = description.decimals;
    if (isCandles()) {
      const [x, open, high, low, close, volume] = lines[0];
      const at = ms === null ? x.length - 1 : Math.max(0, countUpTo(x, ms) - 1);
      if (at < 0 || !x.length) return [];
      const shownParts = [["O", open], ["H", high], ["L", low], ["C", close]].map(([name, list]) => [name, grouped(list[at], decimals), ""]);
      return volume ? [...shownParts, ["Vol", grouped(volume[at], description.sizeDecimals), ""]] : shownParts;
    }
    return description.lines.flatMap((line, k) => {
      const [x, y] = lines[k];
      if (line.isSpare && !x.length) return [];
      const at = ms === null ? x.length : countUpTo(x, ms);
      const value = ms === null ? lastOf(y) : y[at - 1];
      return [[line.label, grouped(value, line.isSize ? description.sizeDecimals : decimals), line.colour]];
    });
  }

  function showValues(ms) {
    const shownParts = parts(ms);
    while (readout.children.length > shownParts.length) readout.lastChild.remove();
    shownParts.forEach(([name, value, colour], k) => {
      let node = readout.children[k];
      if (!node) {
        node = make("span", "anb-value");
        node.append(make("i"), make("span"), make("b"));
        readout.append(node);
      }
      if (node.dataset.colour !== colour) {
        node.dataset.colour = colour;
        node.children[0].style.background = colour;
        node.children[0].hidden = !colour;
      }
      put(node.children[1], name);
      put(node.children[2], value);
    });
  }

  function markAt(chart, left, top) {
    const [times, values, sides, quantities] = marks;
    for (let at = times.length - 1; at >= 0; at--) {
      const dx = chart.valToPos(times[at], "x") - left;
      const dy = chart.valToPos(values[at], "y") - top;
      if (Math.abs(dx) > 7 || Math.abs(dy) > 16) continue;
      const what = sides[at] > 0 ? "bought" : "sold";
      return `${what} ${grouped(quantities[at], decimalsOf(quantities[at]))} at ${grouped(values[at], description.decimals)}`;
    }
    return "";
  }

  function moved(chart) {
    const { left, top } = chart.cursor;
    const isIn = left >= 0;
    const isMine = isIn && linkedMs === null;
    timeTag.hidden = !isIn;
    priceTag.hidden = !isMine || top < 0;
    flag(plot, "anb-linked", isIn && !isMine);
    if (!isIn) {
      showValues(null);
      if (linkedMs === null) group.move(api, null);
      return;
    }
    const ms = isMine ? chart.posToVal(left, "x") : linkedMs;
    const date = new Date(ms + offsetOf(description.zone, ms));
    const step = chart.scales.x.max - chart.scales.x.min < 20 * SECOND ? 1 : SECOND;
    put(timeTag, isMine ? `${dayText(date)} ${clockText(description.zone, ms, step)}` : clockText(description.zone, ms, step));
    timeTag.style.left = `${Math.min(Math.max(left, 40), chart.over.offsetWidth - 40)}px`;
    if (isMine && top >= 0) {
      const fill = markAt(chart, left, top);
      put(priceTag, fill || grouped(chart.posToVal(top, "y"), description.decimals));
      // A fill's text is wider than the axis: it ends where the chart does.
      const axis = chart.root.offsetWidth - chart.over.offsetLeft - chart.over.offsetWidth;
      Object.assign(priceTag.style, { top: `${top}px`, left: fill && "auto", right: fill && `${-axis}px` });
    }
    showValues(ms);
    if (isMine) group.move(api, ms);
  }

  function link(ms) {
    if (!u || (ms === null && linkedMs === null)) return;
    linkedMs = ms;
    if (ms === null) {
      u.setCursor({ left: -10, top: -10 });
      return;
    }
    const left = u.valToPos(ms, "x");
    u.setCursor({ left: left <= u.over.offsetWidth ? left : -10, top: -10 });
  }

  function draw() {
    const data = table();
    u.batch(() => {
      u.setData(data, false);
      u.setScale("x", { min: data[0][0], max: data[0][1] });
    });
    put(waiting, isEmpty() ? description.waiting : "");
    live.hidden = end === null && width === null && !prices;
    if (linkedMs !== null) link(linkedMs);
    else if (!(u.cursor.left >= 0)) showValues(null);
    root.dataset.frames = String(++frames);
  }

  function follow() {
    width = end = prices = null;
    draw();
  }
  live.addEventListener("click", follow);

  function zoom(factor, centre = null) {
    const [from, to] = shown();
    const span = to - from;
    const least = isCandles() ? 4 * description.step : 200;
    const wide = Math.min(Math.max(span * factor, least), whole() * 1.5);
    // At the newest point, or near it, the chart goes on following.
    if (end !== null || (centre !== null && (to - centre) / span > 0.15)) {
      const at = centre ?? to;
      end = at + ((to - at) / span) * wide;
    }
    width = wide;
    draw();
  }

  function pan(ms, from = shown()) {
    const right = from[1] + ms;
    width = from[1] - from[0];
    const least = isEmpty() ? right : first() + width * 0.1;
    end = Math.max(right, least);
    if (end >= newest() + width * (MARGIN / (1 + MARGIN))) end = null;
    draw();
  }

  function zoomPrices(factor, [low, high] = extents.y) {
    const middle = (low + high) / 2;
    const half = ((high - low) / 2) * factor;
    prices = [middle - half, middle + half];
    draw();
  }

  // `start()` is taken when the drag begins, `move(start, dx, dy)` called with the pixels since then.
  function addDrag(node, start, move) {
    node.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      const begun = { x: event.clientX, y: event.clientY, at: start() };
      node.setPointerCapture(event.pointerId);
      plot.focus({ preventScroll: true });
      const go = (next) => move(begun.at, next.clientX - begun.x, next.clientY - begun.y);
      const stop = () => node.removeEventListener("pointermove", go);
      node.addEventListener("pointermove", go);
      node.addEventListener("pointerup", stop, { once: true });
      node.addEventListener("pointercancel", stop, { once: true });
    });
    node.addEventListener("dblclick", follow);
  }

  function addGrips() {
    const now = () => ({ time: shown(), prices: [...extents.y], isHeld: Boolean(prices) });
    addDrag(u.over, now, (at, dx, dy) => {
      if (!dx && !dy) return;
      if (at.isHeld) {
        const shift = (dy / u.over.offsetHeight) * (at.prices[1] - at.prices[0]);
        prices = at.prices.map((value) => value + shift);
      }
      pan((-dx / u.over.offsetWidth) * (at.time[1] - at.time[0]), at.time);
    });
    const [timeAxis, priceAxis] = u.root.querySelectorAll(".u-axis");
    for (const [node, cursor] of [[timeAxis, "ew-resize"], [priceAxis, "ns-resize"]]) {
      node.style.pointerEvents = "auto";
      node.style.cursor = cursor;
      node.style.touchAction = "none";
    }
    addDrag(timeAxis, now, (at, dx) => {
      width = Math.max((at.time[1] - at.time[0]) * Math.exp(-dx / 200), isCandles() ? 4 * description.step : 200);
      draw();
    });
    addDrag(priceAxis, now, (at, _, dy) => zoomPrices(Math.exp(dy / 150), at.prices));
    u.over.addEventListener("wheel", (event) => {
      // The page must still scroll: only the chart that has the focus zooms, or any with Ctrl.
      if (!event.ctrlKey && (plot.getRootNode().activeElement ?? document.activeElement) !== plot) return;
      event.preventDefault();
      const box = u.over.getBoundingClientRect();
      const [from, to] = shown();
      if (Math.abs(event.deltaX) > Math.abs(event.deltaY)) pan((event.deltaX / box.width) * (to - from));
      else zoom(Math.exp(event.deltaY / 400), u.posToVal(event.clientX - box.left, "x"));
    }, { passive: false });
  }

  const span = () => shown()[1] - shown()[0];
  const KEYS = {
    ArrowLeft: () => pan(-0.1 * span()),
    ArrowRight: () => pan(0.1 * span()),
    ArrowUp: () => zoomPrices(0.85),
    ArrowDown: () => zoomPrices(1.18),
    "+": () => zoom(0.8),
    "=": () => zoom(0.8),
    "-": () => zoom(1.25),
    Home: () => !isEmpty() && pan(first() + span() - shown()[1]),
    End: () => {
      end = null;
      draw();
    },
    Escape: follow,
  };
  plot.addEventListener("keydown", (event) => {
    if (!KEYS[event.key] || !u || event.ctrlKey || event.metaKey || event.altKey) return;
    KEYS[event.key]();
    event.preventDefault();
    event.stopPropagation(); // not the notebook's command mode
  });

  const sizes = new ResizeObserver(() => {
    if (u && plot.clientWidth && (u.width !== size().width || u.height !== size().height)) u.setSize(size());
  });
  sizes.observe(plot);

  const api = {
    link,
    paint(blocks, sent) {
      const next = { ...sent, zone: zoneOf(sent.zone) };
      description = next;
      marks = blocks[blocks.length - 1];
      lines = blocks.slice(0, -1);
      const nextLooks = JSON.stringify([next.kind, next.lines, next.zone, next.height]);
      put(title, next.title);
      put(note, next.note);
      put(zoneName, next.zone.split("/").at(-1).replaceAll("_", " "));
      if (zoneName.title !== next.zone) zoneName.title = next.zone;
      if (nextLooks !== looks) {
        looks = nextLooks;
        build();
      }
      draw();
      if (!plot.hasAttribute("aria-label")) api.tick();
    },
    // Once a second; the label is for readers who do not see the chart, and is not announced: prices never rest.
    tick() {
      if (!u) return;
      if (readColours()) u.redraw(false, true);
      const values = parts(null).map(([name, value]) => `${name} ${value}`).join(", ");
      const [from, to] = shown().map((ms) => clockText(description.zone, ms, SECOND));
      const text = `${description.title}: ${values || description.waiting}; ${from} to ${to} ${description.zone}`;
      if (plot.getAttribute("aria-label") !== text) plot.setAttribute("aria-label", text);
    },
    recolour() {
      if (u && readColours()) u.redraw(false, true);
    },
    end() {
      sizes.disconnect();
      u?.destroy();
      u = null;
    },
  };
  return api;
}
