// Freezing of one display of a view. The page does it by itself; the kernel may ask for it by the trait `frozen`:
// { at, said } in epoch ms, or {}. With a `text` for the badge the kernel draws that past moment, so pictures go on.
// `display` is { root, now(), shownAt(), stamp(ms), hold(isHeld), isHead }: `hold` stops the picture, or lets it go on with
// the newest. The button of a head, the first view of a dashboard, acts on all its views.
function makeFreeze(model, display) {
  const { root } = display;
  const button = document.createElement("button");
  button.className = "anb-button anb-freeze";
  button.type = "button";
  const own = document.createElement("span");
  own.className = "anb-badge";
  own.role = "status";
  let badge = own;
  let at = null;
  let behind = 0;
  let timer = 0;
  let moved = ""; // what the kernel says that draws a past moment

  function show() {
    button.textContent = at ? "Resume" : "Freeze";
    button.ariaPressed = String(!!at);
    const count = behind ? `, ${behind.toLocaleString("en-US")} frame${behind === 1 ? "" : "s"} behind` : "";
    const text = at ? moved || `frozen at ${display.stamp(at)}${count}` : "";
    if (badge.textContent !== text) badge.textContent = text;
  }

  // No page keeps pictures of the past: one of a time before it stays, with its own time.
  function set(wanted) {
    clearTimeout(timer);
    if (moved) return model.send({ resume: true });
    if (!wanted === !at) return;
    behind = 0;
    if (wanted) display.hold(true);
    at = wanted && Math.max(wanted, display.shownAt());
    show();
    if (!at) display.hold(false);
  }

  function follow() {
    const { at: wanted = null, said, text = "" } = model.get("frozen") || {};
    clearTimeout(timer);
    if (text && !moved) set(null);
    if (text || moved) {
      [moved, at] = [text, text ? wanted : null];
      return show();
    }
    if (!wanted || wanted <= said) return set(wanted);
    timer = setTimeout(() => set(wanted), Math.min(wanted - display.now(), 2 ** 31 - 1));
  }

  const receive = (event) => set(event.detail);
  button.addEventListener("click", () => {
    const all = display.isHead && root.closest(".anb-dashboard")?.querySelectorAll(".anb-freezable");
    const detail = at ? null : display.now();
    for (const node of all || [root]) node.dispatchEvent(new CustomEvent("anb-freeze", { detail }));
  });
  root.classList.add("anb-freezable");
  root.addEventListener("anb-freeze", receive);
  model.on("change:frozen", follow);
  show();

  return {
    isHeld: () => at && !moved,
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

