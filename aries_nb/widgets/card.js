// The status card. Frame: number, kernel ms, streams, messages, messages/s, lag ms (-1 unknown), gaps, unreadable, silence s.

const WORDS = {
  connecting: "connecting",
  live: "live",
  reconnecting: "reconnecting",
  failed: "failed",
  closed: "closed",
};
const LABELS = ["Messages/s", "Lag", "Streams", "Messages", "Gaps", "Unreadable", "Silence"];

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
  const error = make("div", "anb-error");
  root.append(bar, list, error);
  let at = 0;
  let silence = 0;
  let description = null;

  function paint(data, next) {
    description = next;
    at = data[1];
    silence = data[8];
    put(name, next.name);
    put(url, next.url);
    if (url.title !== next.url) url.title = next.url;
    const [, , streams, messages, rate, lag, gaps, unreadable] = data;
    put(facts[0], grouped(rate, rate < 10 ? 1 : 0));
    put(facts[1], lag < 0 ? "–" : `${grouped(lag, lag < 10 ? 1 : 0)} ms`);
    [streams, messages, gaps, unreadable].forEach((value, place) => put(facts[place + 2], grouped(value, 0)));
    flag(facts[4], "anb-warned", gaps > 0);
    flag(facts[5], "anb-warned", unreadable > 0);
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
    flag(facts[1], "anb-warned", isBehind);
    put(facts[6], seconds < 1.5 ? "none" : spanOfTime(seconds));
    flag(facts[6], "anb-warned", isSilent);
  }
  return { paint, tick };
}

export default { render: (context) => show(context, makeCard) };
