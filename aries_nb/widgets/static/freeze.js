// Freezing of one display of a view. The page does it by itself; the kernel may ask for it by the trait `frozen`:
// { at, said } in epoch ms, or {}. With `isMoved` the kernel draws that past moment, so pictures go on, and the badge says
// how many of `unit` it is `behind`, or that its data are not held (`isHeld`). `display` is { root, now(), shownAt(), stamp(ms), hold(isHeld), isHead }: `hold` stops
// the picture, or lets it go on with the newest. The button of a head, the first view of a dashboard, acts on all its views.
function makeFreeze(model, display) {
  const { root } = display;
  const button = document.createElement("button");
  button.className = "anb-button anb-freeze";
  button.type = "button";
  const own = document.createElement("span");
  own.className = "anb-badge";
  own.setAttribute("role", "status");
  let badge = own;
  let at = null;
  let behind = 0;
  let timer = 0;
  let moved = null; // what the kernel says that draws a past moment

  function exactStamp(ms) {
    const [time, ...zone] = display.stamp(ms).split(" ");
    return [`${time}.${String(Math.floor(ms) % 1000).padStart(3, "0")}`, ...zone].join(" ");
  }

  function show() {
    const isHeld = at !== null;
    button.textContent = isHeld ? "Resume" : "Freeze";
    button.setAttribute("aria-pressed", String(isHeld));
    const unit = moved?.unit ?? "frame";
    const count = behind ? `, ${behind.toLocaleString("en-US")} ${unit}${behind === 1 ? "" : "s"} behind` : "";
    const lost = moved && !moved.isHeld ? ", no longer in memory" : "";
    const text = isHeld ? `frozen at ${exactStamp(at)}${lost || count}` : "";
    if (badge.textContent !== text) badge.textContent = text;
  }

  // No page keeps pictures of the past: one of a time before it stays, with its own time.
  function set(wanted) {
    clearTimeout(timer);
    if (moved) return model.send({ resume: true });
    if ((wanted === null) === (at === null)) return;
    behind = 0;
    if (wanted === null) {
      at = null;
      show();
      display.hold(false);
    } else {
      display.hold(true);
      at = Math.max(wanted, display.shownAt());
      show();
    }
  }

  function follow() {
    const told = model.get("frozen") || {};
    const { at: wanted = null, said } = told;
    if (told.isMoved) {
      clearTimeout(timer);
      if (at !== null && !moved) display.hold(false);
      [moved, at, behind] = [told, wanted, told.behind];
      return show();
    }
    if (moved) {
      [moved, at, behind] = [null, null, 0];
      show();
    }
    if (wanted === null || wanted <= said) return set(wanted);
    clearTimeout(timer);
    timer = setTimeout(() => set(wanted), Math.min(Math.max(0, wanted - display.now()), 2 ** 31 - 1));
  }

  const receive = (event) => set(event.detail);
  button.addEventListener("click", () => {
    const all = display.isHead && root.closest(".anb-dashboard")?.querySelectorAll(".anb-freezable");
    const detail = at === null ? display.now() : null;
    for (const node of all || [root]) node.dispatchEvent(new CustomEvent("anb-freeze", { detail }));
  });
  root.classList.add("anb-freezable");
  root.addEventListener("anb-freeze", receive);
  model.on("change:frozen", follow);
  show();

  return {
    isHeld: () => at !== null && !moved,
    follow,
    // After the view has drawn, which may have said something in its badge.
    drawn: () => moved && show(),
    // Put the button into this bar, and the state into its badge if it has one.
    place(bar) {
      if (!bar || button.isConnected) return;
      badge = bar.querySelector(".anb-badge") ?? own;
      const space = bar.querySelector(".anb-space") ?? bar.appendChild(document.createElement("span"));
      space.classList.add("anb-space");
      if (badge === own) space.before(own);
      bar.appendChild(button);
    },
    passed(frames) {
      behind = frames;
      show();
    },
    end() {
      clearTimeout(timer);
      model.off("change:frozen", follow);
      root.removeEventListener("anb-freeze", receive);
    },
  };
}

