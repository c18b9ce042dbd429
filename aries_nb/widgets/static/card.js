// Status card. Frame: number, kernel clock in ms, streams, messages, messages/s, gaps, unreadable, silence in s, then
// in ms the median and the 99th percentile of lag and of painted; NaN is unknown.

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
    known: "Latency from the exchange to receipt, by both clocks as they are",
    unknown: "Latency from the exchange to receipt: no data yet",
  },
  painted: {
    known: "Latency from receipt to pixels, of the views displayed in the last minute",
    unknown: "Latency from receipt to pixels: no view is displayed, or a running cell delays the browser's answers",
  },
};

const short = (ms) => grouped(ms, Math.abs(ms) < 9.95 ? 1 : 0);

// One figure of the latency line: its median and its 99th percentile.
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
    const { known, unknown } = LAGS[name];
    const text = isKnown ? `${known}: median ${short(half)} ms, 99th percentile ${short(most)} ms` : unknown;
    if (node.title !== text) node.title = text;
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
  const showLag = makeLag(lags, "lag");
  lags.append(make("span", "anb-between", "·"));
  const showPainted = makeLag(lags, "painted");
  const limits = make("span", "anb-limits");
  limits.title = "In use of what the broker allows; connections of all feeds with this address";
  lags.append(limits);
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
    showLag(data[8], data[9]);
    showPainted(data[10], data[11]);
    put(limits, next.limits);
    flag(limits, "anb-warned", next.is_full);
    put(error, next.error ? `Last error: ${next.error}` : "");
    tick();
  }

  function tick() {
    if (!description) return;
    const isOver = ["closed", "failed"].includes(description.state);
    const seconds = silence + (isOver ? 0 : Math.max(0, clock.now() - at) / 1000);
    // The light must not be green while no message comes in,
    const isSilent = description.state === "live" && seconds >= description.quiet_s;
    // nor while messages come late: the warning is shown before any is lost.
    const isBehind = description.state === "live" && !isSilent && description.behind_s > 0;
    const look = isSilent ? "silent" : isBehind ? "behind" : description.state;
    if (root.dataset.state !== look) root.dataset.state = look;
    const text = isSilent ? "live, but silent" : WORDS[description.state] || description.state;
    put(word, isBehind ? `live, but ${grouped(description.behind_s, 1)} s behind` : text);
    flag(lags.firstChild, "anb-warned", isBehind);
    // Some streams are silent while others are not.
    const some = description.state === "live" && !isSilent ? description.silent || 0 : 0;
    const length = seconds < 1.5 ? "none" : spanOfTime(seconds);
    put(facts[5], some ? `${grouped(some, 0)} ${some === 1 ? "stream" : "streams"}` : length);
    flag(facts[5], "anb-warned", isSilent || some > 0);
  }
  return { paint, tick, canFreeze: false }; // a light that says "live" is of now
}

export default () => panel(makeCard);
