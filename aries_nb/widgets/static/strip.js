// Strip. Frame: number, kernel clock in ms, is stale, then the numbers of the one row; its texts are in the
// description.

const HEAD = 3;

function makeStrip(root) {
  root.classList.add("anb-strip");
  const bar = make("div", "anb-bar");
  const title = make("span", "anb-title");
  const badge = make("span", "anb-badge");
  badge.setAttribute("role", "status");
  const note = make("span", "anb-soft anb-note");
  bar.append(title, badge, note);
  const list = make("dl", "anb-facts");
  const empty = make("div", "anb-empty");
  root.append(bar, list, empty);
  let shape = "";
  let facts = [];
  let values = null;

  function build(columns) {
    facts = columns.map((column) => {
      const pair = make("div");
      const value = make("dd");
      pair.append(make("dt", "", column.label), value);
      return { pair, value };
    });
    list.replaceChildren(...facts.map((fact) => fact.pair));
    values = null;
  }

  function paint(data, next) {
    const nextShape = JSON.stringify(next.columns);
    if (nextShape !== shape) {
      shape = nextShape;
      build(next.columns);
    }
    put(title, next.title);
    put(note, next.note);
    const isStale = data[2] === 1;
    put(badge, isStale ? "stale" : "");
    flag(root, "anb-stale", isStale);
    const texts = next.texts[0];
    list.hidden = !texts;
    put(empty, texts ? "" : next.empty);
    if (!texts) return;
    texts.forEach((text, place) => {
      const node = facts[place].value;
      if (node.textContent === text) return;
      node.textContent = text;
      node.title = text;
      const isSigned = next.columns[place].kind === "signed";
      flag(node, "anb-up", isSigned && text.startsWith("+"));
      flag(node, "anb-down", isSigned && text.startsWith("−"));
      const [before, now] = [values ? values[HEAD + place] : NaN, data[HEAD + place]];
      if (values) flash(node, now > before ? "up" : now < before ? "down" : "note");
    });
    values = data;
  }
  return { paint, isHead: true };
}

export default () => panel(makeStrip);
