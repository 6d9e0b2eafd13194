// What both pages share: the text, a span for each character, and moving about in it.

const data = JSON.parse(document.getElementById("data").textContent);
const symbols = Array.from(data.text);
const text = document.getElementById("text");
const panel = document.getElementById("panel");
const spans = [];
const lineOf = []; // of each character
const lines = []; // the first character of each

for (let i = 0, line = null; i < symbols.length; i++) {
  const ends = symbols[i] === "\n" || symbols[i] === "\0";
  if (!line) {
    line = text.appendChild(document.createElement("div"));
    lines.push(i);
  }
  const span = make("span", { className: ends ? "c end" : "c" }, glyph(symbols[i]));
  span.place = i;
  spans.push(line.appendChild(span));
  lineOf.push(lines.length - 1);
  if (ends) line = null;
}

// Colours each character: `value` gives 0 to 1, or below 0 for the other colour.
function paint(value, layer) {
  text.className = layer;
  spans.forEach((span, i) => {
    const level = value(i);
    span.style.setProperty("--level", Math.min(1, Math.abs(level)).toFixed(2));
    span.classList.toggle("negative", level < 0);
    span.classList.toggle("positive", level >= 0 && layer === "unit");
  });
}

// Lets the pointer and the keys choose a character; `show(i)` fills the panel.
function follow(show, first) {
  let pinned = first;
  let shown = -1;
  function look(i) {
    if (i === shown) return;
    spans[shown]?.classList.remove("here");
    spans[i].classList.add("here");
    shown = i;
    panel.replaceChildren(
      ...show(i),
      make("p", { className: "hint" }, "Point at a character, or Tab to the text and use the arrow keys."),
    );
  }
  function pin(i) {
    pinned = Math.max(0, Math.min(spans.length - 1, i));
    look(pinned);
    const box = spans[pinned].getBoundingClientRect();
    const below = panel.getBoundingClientRect();
    const covered = getComputedStyle(panel).bottom === "0px" ? below.height : 0;
    if (box.top < 0 || box.bottom > innerHeight - covered) {
      spans[pinned].scrollIntoView({ block: "center" });
    }
  }
  function inLine(number) {
    const line = Math.max(0, Math.min(lines.length - 1, number));
    const last = (lines[line + 1] ?? spans.length) - 1;
    return Math.min(last, lines[line] + pinned - lines[lineOf[pinned]]);
  }
  text.addEventListener("pointerover", (event) => {
    if (event.target.place !== undefined) look(event.target.place);
  });
  text.addEventListener("pointerleave", () => look(pinned));
  text.addEventListener("click", (event) => {
    if (event.target.place !== undefined) pin(event.target.place);
  });
  text.addEventListener("focus", () => look(pinned));
  text.addEventListener("keydown", (event) => {
    const line = lineOf[pinned];
    const places = {
      ArrowLeft: () => pinned - 1,
      ArrowRight: () => pinned + 1,
      ArrowUp: () => inLine(line - 1),
      ArrowDown: () => inLine(line + 1),
      Home: () => lines[line],
      End: () => (lines[line + 1] ?? spans.length) - 1,
    };
    if (!(event.key in places) || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    pin(places[event.key]());
  });
  look(pinned);
  return () => {
    const again = shown;
    shown = -1;
    look(again);
  };
}

// The heading of the panel: a character, and what stands before it in its line.
function heading(i) {
  const before = symbols.slice(Math.max(lines[lineOf[i]], i - 24), i).map(glyph).join("");
  const place = make("bdi", {}, before, make("b", {}, glyph(symbols[i])));
  const context = make("p", { className: "context" }, place);
  return make("div", { className: "head" }, make("h2", {}, quoted(symbols[i])), context);
}
