
// Transport bar of a replay, or (`hasLive`) of the views of a live feed. Frame: number, kernel clock in ms, the time that
// it shows in epoch ms, whether it plays, is at the end, is on its way to that time (0 or 1), how many times faster than
// recorded it plays (Infinity: as fast as possible), the number of the newest request that this picture follows, and
// whether views show what is new. What the page asks for is shown at once:
// { move: [what, value, number] }, on the model's own line and not on that of the page, which may wait for a cell.

const SPEEDS = [1, 2, 5, 10, 60, Infinity];
const SEEK_EVERY_MS = 100; // at most ten a second, of which the newest counts
const WAIT_MS = 1500;
const LOST_MS = 4000; // what an idle kernel does not follow by then, it never got
const SAID_EVERY_MS = 5000; // of a slider that plays, to those who have it read
const SECOND = 1000;
const STEPS = { ArrowLeft: -SECOND, ArrowDown: -SECOND, ArrowRight: SECOND, ArrowUp: SECOND, PageDown: -60 * SECOND, PageUp: 60 * SECOND };
const KINDS = { gap: "gap", fill: "fill", halt: "halt", note: "note" };

const speedText = (speed) => (speed === Infinity ? "max" : `× ${speed}`);

function makePlayback(root, clock, connection) {
  root.classList.add("anb-playback");
  const { model } = connection;
  const bar = make("div", "anb-bar");
  const button = (text, title, act) => {
    const node = make("button", "anb-button", text);
    node.type = "button";
    node.title = title;
    node.addEventListener("click", act);
    return node;
  };
  const play = button("", "Play or pause (space)", () => toggle());
  play.classList.add("anb-play");
  const icon = make("i", "anb-icon");
  icon.setAttribute("aria-hidden", "true");
  const playText = make("span");
  play.append(icon, playText);
  const second = button("Step 1 s", "Go on by one second, and pause", () => ask("step", SECOND, { isPlaying: false, isLive: false }));
  const message = button("Step 1 message", "Go on by one received message, and pause", () => ask("events", 1, { isPlaying: false }));
  const live = button("Live", "Back to what is new (End)", () => ask("live", 0, { now: description.last, isLive: true, isPlaying: true }));
  live.hidden = true;
  const speed = make("select", "anb-button");
  speed.setAttribute("aria-label", "Speed");
  speed.title = "How many times faster than recorded";
  speed.addEventListener("change", () => {
    const wanted = Number(speed.value);
    ask("speed", wanted === Infinity ? "max" : wanted, { speed: wanted });
  });
  const state = make("span", "anb-badge");
  state.setAttribute("role", "status");
  const day = make("span", "anb-soft");
  const time = make("span", "anb-title anb-now");
  const legend = make("span", "anb-soft");
  bar.append(play, second, message, live, speed, legend, make("span", "anb-space"), state, day, time);

  const axis = make("div", "anb-axis");
  const first = make("span", "anb-soft");
  const last = make("span", "anb-soft");
  const slider = make("div", "anb-slider");
  slider.tabIndex = 0;
  slider.setAttribute("role", "slider");
  slider.setAttribute("aria-label", "Time of the replay")
  slider.setAttribute("aria-valuemin", "0");
  const rail = make("div", "anb-rail");
  const done = make("div", "anb-done");
  const marks = make("div", "anb-marks");
  const thumb = make("div", "anb-thumb");
  rail.append(done, marks, thumb);
  slider.appendChild(rail);
  axis.append(first, slider, last);
  const problem = make("div", "anb-wrong");
  problem.setAttribute("role", "alert");
  root.append(bar, axis, problem);

  const isCalm = matchMedia("(prefers-reduced-motion: reduce)");
  let description = { first: 0, last: 0, marks: [], problem: "", hasLive: false };
  let known = { now: 0, isPlaying: false, isOver: false, isMoving: false, speed: 1, handled: 0, isLive: false };
  let asked = null; // what the kernel does not show yet: values of `known`, the number of the request, and its time
  let shown = known;
  let number = 0;
  let dragged = false;
  let sentAt = -Infinity;
  let timer = 0;
  let saidAt = -Infinity;
  let drawnAt = -Infinity;
  let drawnMarks = "";

  function ask(what, value, expected) {
    number = Math.max(number + 1, Date.now());
    asked = { ...asked, ...expected, number, at: performance.now() };
    send(model, { move: [what, value, number] });
    draw(true);
  }
  function toggle() {
    if (shown.isPlaying) return ask("pause", 0, { isPlaying: false, isLive: false });
    if (shown.isOver) seek(description.first, true);
    ask("play", 0, { isPlaying: true, isOver: false });
  }
  // Go to a time; of many within a moment the newest is sent.
  function seek(ms, isLast) {
    const now = Math.min(Math.max(ms, description.first), description.last);
    const wait = isLast ? 0 : sentAt + SEEK_EVERY_MS - performance.now();
    clearTimeout(timer);
    const leave = () => {
      sentAt = performance.now();
      ask("seek", now, { now, isOver: false, isLive: false, ...(description.hasLive && { isPlaying: false }) });
    };
    if (wait <= 0) return leave();
    timer = setTimeout(leave, wait);
    asked = { ...asked, now, number: Infinity, at: performance.now() };
    draw(true);
  }

  const timeAt = (event) => {
    const { left, width } = rail.getBoundingClientRect();
    return description.first + ((event.clientX - left) / (width || 1)) * (description.last - description.first);
  };
  slider.addEventListener("pointerdown", (event) => {
    if (event.button || slider.ariaDisabled === "true") return;
    slider.setPointerCapture(event.pointerId);
    dragged = true;
    seek(timeAt(event));
  });
  slider.addEventListener("pointermove", (event) => dragged && seek(timeAt(event)));
  slider.addEventListener("pointerup", (event) => dragged && seek(timeAt(event), true));
  slider.addEventListener("lostpointercapture", () => (dragged = false)); // after each end of a drag
  slider.addEventListener("focus", () => say());
  // A notebook binds keys to actions on cells, which these must not reach.
  root.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const { key, target } = event;
    const isSpace = key === " ";
    const to = { Home: description.first, End: description.last }[key];
    if (!isSpace && to === undefined && !(key in STEPS) && key !== "Enter") return;
    event.stopPropagation();
    if (target === speed || key === "Enter" || (isSpace && target !== slider)) return; // as the browser does
    event.preventDefault();
    if (slider.ariaDisabled === "true") return;
    if (isSpace) toggle();
    else if (key === "End" && description.hasLive) live.click();
    else seek(to ?? shown.now + STEPS[key] * (event.shiftKey && key.startsWith("Arrow") ? 10 : 1));
  });

  const part = (ms) => clock.stamp(ms, true).split(" "); // day, time, zone
  const fraction = (ms, digits) => String(Math.floor((((ms % SECOND) + SECOND) % SECOND) / 10 ** (3 - digits))).padStart(digits, "0");
  const share = (ms) => (100 * (ms - description.first)) / (description.last - description.first || 1);
  const markAt = (ms) => description.marks.find(([, from, until]) => from <= ms && ms < (until ?? Infinity));

  const isBusy = () => connection.raw?.widget_manager?.kernel?.status === "busy";

  function stateText() {
    if (shown.isMoving) return "on its way";
    if (asked && performance.now() - asked.at > WAIT_MS) return `waiting for the ${isBusy() ? "running cell" : "kernel"}`;
    if (shown.isLive) return "live";
    if (description.hasLive) return shown.isPlaying ? "the past" : "the past, paused";
    return shown.isPlaying ? "" : shown.isOver ? "at the end" : "paused";
  }

  function say() {
    saidAt = performance.now();
    const [date, ofDay, zone] = part(shown.now);
    const mark = markAt(shown.now);
    const texts = [`${date} ${ofDay} ${zone}`, shown.isPlaying ? `playing ${speedText(shown.speed)}` : stateText(), mark?.[3]];
    slider.setAttribute("aria-valuetext", texts.filter(Boolean).join(", "));
    slider.setAttribute("aria-valuenow", ((shown.now - description.first) / SECOND).toFixed(1));
    slider.setAttribute("aria-valuemax", ((description.last - description.first) / SECOND).toFixed(1));
  }

  function drawMarks() {
    const text = JSON.stringify([description, ...part(description.first)]);
    if (text === drawnMarks) return;
    drawnMarks = text;
    marks.replaceChildren(
      ...description.marks.map(([kind, from, until, what]) => {
        const node = make("i", `anb-mark anb-mark-${kind}`);
        node.title = `${part(from)[1]}: ${what}`;
        node.style.left = `${share(from)}%`;
        if (until !== from) node.style.width = `${share(until ?? description.last) - share(from)}%`;
        return node;
      }),
    );
    const counts = Object.entries(KINDS).map(([kind, name]) => [name, description.marks.filter((each) => each[0] === kind).length]);
    const some = counts.filter(([, count]) => count).map(([name, count]) => `${grouped(count, 0)} ${name}${count === 1 ? "" : "s"}`);
    put(legend, some.join(" · "));
    const [from, to] = [part(description.first), part(description.last)];
    put(first, from[0] === to[0] ? from[1] : `${from[0]} ${from[1]}`);
    put(last, from[0] === to[0] ? to[1] : `${to[0]} ${to[1]}`);
    put(problem, description.problem);
  }

  function draw(isOwn) {
    const wasPlaying = shown.isPlaying;
    shown = { ...known, ...asked };
    showPending(root, asked !== null || known.isMoving || known.handled < number);
    const isMoved = isOwn || wasPlaying !== shown.isPlaying;
    // Once a second is motion enough for those who want little of it.
    if (isCalm.matches && shown.isPlaying && !isMoved && performance.now() - drawnAt < SECOND) return;
    drawnAt = performance.now();
    const [date, ofDay, zone] = part(shown.now);
    put(day, date);
    put(time, `${ofDay}.${fraction(shown.now, shown.isPlaying ? 1 : 3)} ${zone}`);
    put(state, stateText());
    put(playText, shown.isPlaying ? "Pause" : shown.isOver ? "Again" : "Play");
    flag(play, "anb-plays", shown.isPlaying);
    flag(state, "anb-is-past", description.hasLive && !shown.isLive);
    const text = speedText(shown.speed);
    if (![...speed.options].some((option) => option.textContent === text)) {
      const speeds = [...new Set([...SPEEDS, shown.speed])].sort((a, b) => a - b);
      speed.replaceChildren(...speeds.map((each) => new Option(speedText(each), each)));
    }
    if (document.activeElement !== speed || isOwn) speed.value = String(shown.speed);
    const place = `${share(shown.now)}%`;
    thumb.style.left = done.style.width = place;
    if (isMoved || !shown.isPlaying || performance.now() - saidAt > SAID_EVERY_MS) say();
  }

  function paint(data, next) {
    if (next.hasLive !== description.hasLive) {
      [message.hidden, live.hidden] = [next.hasLive, !next.hasLive];
      slider.setAttribute("aria-label", next.hasLive ? "Time of the views" : "Time of the replay");
      second.title = next.hasLive ? "Go on by one second in the past" : second.title;
      speed.title = next.hasLive ? "How many times faster the past plays" : speed.title;
    }
    description = next;
    const [, , now, isPlaying, isOver, isMoving, pace, handled, isLive] = data;
    const flags = { isPlaying: isPlaying === 1, isOver: isOver === 1, isMoving: isMoving === 1, isLive: isLive === 1 };
    known = { now, ...flags, speed: pace, handled };
    if (asked && handled >= asked.number && !dragged) asked = null;
    drawMarks();
    draw(false);
  }

  function tick() {
    if (asked && !dragged && performance.now() - asked.at > LOST_MS && !isBusy()) {
      asked = null;
      draw(true);
    }
    const isGone = hasEnded(connection) || connection.ofFile !== undefined;
    for (const node of [play, second, message, live, speed]) node.disabled = isGone;
    slider.ariaDisabled = String(isGone);
    slider.tabIndex = isGone ? -1 : 0;
    put(state, isGone ? "" : stateText());
  }
  return { paint, tick, canFreeze: false }; // it says where the replay is
}

export default () => panel(makePlayback, (model, connection) => connection);
