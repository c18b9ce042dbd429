// Displays of light charts, one alone or many in a sheet: one message for all of them, one crosshair, one set of styles.

// Calls `onChange` after each change of the page's theme. Returns a function that ends the calls.
function watchTheme(onChange) {
  const later = () => requestAnimationFrame(onChange);
  const observer = new MutationObserver(later);
  const attributes = ["class", "data-jp-theme-light", "data-vscode-theme-kind", "data-theme"];
  for (const node of [document.body, document.documentElement]) observer.observe(node, { attributeFilter: attributes });
  const scheme = matchMedia("(prefers-color-scheme: dark)");
  scheme.addEventListener("change", later);
  return () => {
    observer.disconnect();
    scheme.removeEventListener("change", later);
  };
}

function makeLight(root, store, onEnd) {
  const charts = [];
  let shown = store; // of a frozen view what it held then
  const group = { move: (mover, ms) => charts.forEach(({ chart }) => chart === mover || chart.link(ms)) };
  const seen = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      const place = charts.findIndex(({ node }) => node === target);
      if (place < 0) continue;
      charts[place].isSeen = isIntersecting;
      if (isIntersecting) paintOne(place);
    }
  });
  const unwatch = watchTheme(() => charts.forEach(({ chart }) => chart.recolour()));
  onEnd(() => {
    unwatch();
    seen.disconnect();
    charts.forEach(({ chart }) => chart.end());
  });

  function arrange(count, across) {
    if (across) {
      if (!charts.length) root.prepend(make("div", "anb-bar"));
      root.classList.add("anb-sheet");
      const share = `calc((100% - ${(across - 1) * 4}px) / ${across})`;
      root.style.gridTemplateColumns = `repeat(auto-fill, minmax(max(230px, ${share}), 1fr))`;
    }
    while (charts.length > count) {
      const { chart, node } = charts.pop();
      chart.end();
      node.remove();
    }
    while (charts.length < count) {
      const node = across ? make("div", "aries-nb") : root;
      if (across) root.insertBefore(node, root.querySelector(":scope > .anb-problem"));
      charts.push({ chart: makeChart(node, group), node, isSeen: true });
      if (across) seen.observe(node);
    }
  }

  function paintOne(place) {
    const each = shown.description.charts[place];
    if (each) charts[place].chart.paint(shown.blocks.slice(each.at, each.at + each.blocks), each);
  }

  function paint(_, description) {
    arrange(description.charts.length, description.across);
    charts.forEach(({ isSeen }, place) => isSeen && paintOne(place));
  }

  function tick() {
    for (const { chart, isSeen } of charts) if (isSeen) chart.tick();
  }
  const freeze = (isHeld) => (shown = isHeld ? { description: store.description, blocks: store.blocks } : store);
  return { paint, tick, freeze };
}

// A style sheet reaches no further than the shadow tree that it is in.
function addStyle(el) {
  const tree = el.getRootNode();
  const place = tree instanceof ShadowRoot ? tree : document.head;
  if (place.querySelector("style[data-anb-light]")) return;
  const style = make("style", "", STYLE);
  style.dataset.anbLight = "";
  place.appendChild(style);
}

export function display(store, el, connection) {
  addStyle(el);
  const ends = [];
  const makeView = (root) => makeLight(root, store, (end) => ends.push(end));
  const remove = show({ model: store.model, el }, makeView, connection);
  return () => {
    remove();
    ends.forEach((end) => end());
  };
}
