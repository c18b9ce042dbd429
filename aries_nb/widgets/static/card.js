// The status card. Frame: number, kernel ms, streams, messages, messages/s, gaps, unreadable, silence s, then in ms the
// median and the 99th percentile of lag and of painted; NaN is unknown.

const WORDS = {
  connecting: "connecting",
  live: "live",
  reconnecting: "reconnecting",
  failed: "failed",
  closed: "closed",
};
const LABELS = ["Messages/s", "Streams", "Messages", "Gaps", "Unreadable", "Silence"];
const LAGS = {
  lag: {
    told: "From the exchange to here, by the two clocks as they are",
    unknown: "From the exchange to here: nothing has come yet",
  },
  painted: {
    told: "From here to pixels, of the views on display in the last minute",
    unknown: "From here to pixels: no view is on display, or a cell keeps the browser's answers waiting",
  },
};

const short = (ms) => grouped(ms, Math.abs(ms) < 9.95 ? 1 : 0);

// One figure of the line of lags: its median and its 99th percentile.
function makeLag(line, name) {
  const node = make("span", `anb-lag-${name}`, `${name} `);
  const figures = make("b");
  const unit = make("span");
  node.append(figures, unit);
  line.appendChild(node);
  return (half, most) => {
    const isKnown = Number.isFinite(half);
    put(figures, isKnown ? `${short(half)} / ${short(most)}` : "–");
    put(unit, isKnown ? " ms" : "");
    const { told, unknown } = LAGS[name];
    const spoken = isKnown ? `${told}: half within ${short(half)} ms, 99 of 100 within ${short(most)} ms` : unknown;
    if (node.title !== spoken) node.title = spoken;
  };
}

function makeCard(root, clock) {
  root.classList.add("anb-card");
  const bar = make("div", "anb-bar");
  const name = make("span", "anb-title");
  const state = make("span", "anb-state");
  state.setAttribute("role", "status");
  const dot = make("i", "anb-dot");
  dot.setAttribute("aria-hidden", "true");
  const word = make("span");
  state.append(dot, word);
  const url = make("span", "anb-soft anb-url");
  bar.append(name, state, make("span", "anb-space"), url);
  const list = make("dl", "anb-facts");
  const facts = LABELS.map((label) => {
    const pair = make("div");
    const value = make("dd");
    pair.append(make("dt", "", label), value);
    list.appendChild(pair);
    return value;
  });
  const lags = make("div", "anb-lags");
  const tellLag = makeLag(lags, "lag");
  lags.append(make("span", "anb-between", "·"));
  const tellPainted = makeLag(lags, "painted");
  const error = make("div", "anb-error");
  root.append(bar, list, lags, error);
  let at = 0;
  let silence = 0;
  let description = null;

  function paint(data, next) {
    description = next;
    at = data[1];
    silence = data[7];
    put(name, next.name);
    put(url, next.url);
    if (url.title !== next.url) url.title = next.url;
    const [, , streams, messages, rate, gaps, unreadable] = data;
    put(facts[0], grouped(rate, rate < 10 ? 1 : 0));
    [streams, messages, gaps, unreadable].forEach((value, place) => put(facts[place + 1], grouped(value, 0)));
    flag(facts[3], "anb-warned", gaps > 0);
    flag(facts[4], "anb-warned", unreadable > 0);
    tellLag(data[8], data[9]);
    tellPainted(data[10], data[11]);
    put(error, next.error ? `Last error: ${next.error}` : "");
    tick();
  }

  function tick() {
    if (!description) return;
    const isOver = ["closed", "failed"].includes(description.state);
    const seconds = silence + (isOver ? 0 : Math.max(0, clock.now() - at) / 1000);
    // No light says that all is well while nothing comes in.
    const isSilent = description.state === "live" && seconds >= description.quiet_s;
    // Nor while what comes in is late: the warning stands before anything is lost.
    const isBehind = description.state === "live" && !isSilent && description.behind_s > 0;
    const look = isSilent ? "silent" : isBehind ? "behind" : description.state;
    if (root.dataset.state !== look) root.dataset.state = look;
    const spoken = isSilent ? "live, but silent" : WORDS[description.state] || description.state;
    put(word, isBehind ? `live, but ${grouped(description.behind_s, 1)} s behind` : spoken);
    flag(lags.firstChild, "anb-warned", isBehind);
    // Of some streams only, while others talk.
    const some = description.state === "live" && !isSilent ? description.silent || 0 : 0;
    const length = seconds < 1.5 ? "none" : spanOfTime(seconds);
    put(facts[5], some ? `${grouped(some, 0)} ${some === 1 ? "stream" : "streams"}` : length);
    flag(facts[5], "anb-warned", isSilent || some > 0);
  }
  return { paint, tick };
}

export default { render: (context) => show(context, makeCard) };
