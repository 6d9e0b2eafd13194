"use strict";
// A text as its model reads it: each character coloured by how unexpected it was, and a
// panel with what was expected there. A place is {symbol, nats, top, model}: `nats` is
// null where nothing was predicted, and `top` the likeliest, as pairs of symbol and nats.

const HIGHEST = 5; // nats that have the full colour

const textOf = (places) => places.map((place) => place.symbol).join("");
const unread = (text) => Array.from(text, (symbol) => ({ symbol, nats: null, top: [] }));

// Returns the places of a choice's `logprobs`.
function placesOf(logprobs, model) {
  return logprobs.tokens.map((symbol, i) => {
    const top = Object.entries(logprobs.top_logprobs[i] ?? {}).map(([each, nats]) => [each, -nats]);
    top.sort((one, other) => one[1] - other[1]);
    const nats = logprobs.token_logprobs[i];
    return { symbol, nats: nats === null ? null : -nats, top, model };
  });
}

function colouredSpan(place) {
  const span = make("span", { className: place.symbol === "\n" ? "c end" : "c" }, place.symbol);
  if (place.nats !== null) {
    span.style.setProperty("--level", Math.min(1, place.nats / HIGHEST).toFixed(2));
  }
  return span;
}

class Reading {
  // `goOn(i, symbol)` is called for a symbol that is to stand at place i.
  constructor(text, panel, goOn, mayFollow) {
    Object.assign(this, { text, panel, goOn, mayFollow, places: [], spans: [] });
    this.pinned = this.shown = -1;
    text.addEventListener("pointerover", (event) => this.look(this.spans.indexOf(event.target)));
    text.addEventListener("pointerleave", () => this.look(this.pinned));
    text.addEventListener("click", (event) => this.pin(this.spans.indexOf(event.target)));
    text.addEventListener("focus", () => this.look(this.pinned < 0 ? this.places.length - 1 : this.pinned));
    text.addEventListener("keydown", (event) => this.move(event));
    this.look(-1);
  }

  show(places) {
    this.text.replaceChildren();
    this.places = [];
    this.spans = [];
    this.pinned = this.shown = -1;
    this.append(places);
    this.hint();
  }

  append(places) {
    const spans = places.map(colouredSpan);
    this.places.push(...places);
    this.spans.push(...spans);
    this.text.append(...spans);
  }

  look(i) {
    if (i === this.shown) return;
    this.spans[this.shown]?.classList.remove("here");
    if (!this.places[i]) return;
    this.spans[i].classList.add("here");
    this.shown = i;
    this.panel.replaceChildren(...this.facts(i));
  }

  pin(i) {
    if (!this.places[i]) return;
    this.pinned = i;
    this.look(i);
    this.spans[i].scrollIntoView({ block: "nearest" });
  }

  hint() {
    const how = "Point at a character of the text, or move to it by the arrow keys, to see what the model expected there.";
    this.panel.replaceChildren(make("p", { className: "hint" }, how));
  }

  move(event) {
    if (event.ctrlKey || event.altKey || event.metaKey || !this.places.length) return;
    const at = this.pinned < 0 ? this.places.length - 1 : this.pinned;
    const start = (i) => this.places.findLastIndex((place, k) => k < i && place.symbol === "\n") + 1;
    const end = (i) => {
      const found = this.places.findIndex((place, k) => k >= i && place.symbol === "\n");
      return found < 0 ? this.places.length - 1 : found;
    };
    const column = at - start(at);
    const targets = {
      ArrowLeft: () => at - 1,
      ArrowRight: () => at + 1,
      ArrowUp: () => (start(at) ? Math.min(start(start(at) - 1) + column, start(at) - 1) : 0),
      ArrowDown: () => Math.min(end(at) + 1 + column, end(end(at) + 1)),
      Home: () => start(at),
      End: () => end(at),
    };
    if (event.key in targets) {
      event.preventDefault();
      this.pin(Math.max(0, Math.min(this.places.length - 1, targets[event.key]())));
    } else if (/^[1-5]$/.test(event.key) && this.places[at].top[event.key - 1]) {
      event.preventDefault();
      this.choose(at, this.places[at].top[event.key - 1][0]);
    }
  }

  choose(i, symbol) {
    if (this.mayFollow(symbol)) this.goOn(i, symbol);
  }

  facts(i) {
    const { symbol, nats, top } = this.places[i];
    const before = textOf(this.places.slice(Math.max(0, i - 24), i)).split("\n").pop();
    const place = make("bdi", {}, before, make("b", {}, glyph(symbol)));
    const head = make("div", { className: "head" }, make("h2", {}, quoted(symbol)), make("p", { className: "context" }, place));
    if (nats === null) {
      const why = this.places[i].model ? "The model only began to read here, so nothing was predicted." : "The model hasn't read this yet.";
      return [head, make("p", {}, why)];
    }
    const facts = make("dl", { className: "facts" });
    fact(facts, "surprise", ...both(nats));
    const bars = make("ol", { className: "bars" });
    for (const [each, own] of top) {
      const row = bar(each, Math.exp(-own), each === symbol);
      if (this.mayFollow(each)) {
        const button = make("button", { type: "button", title: "go on with this" }, named(each));
        button.setAttribute("aria-label", `Go on with ${quoted(each)}`);
        button.addEventListener("click", () => this.choose(i, each));
        row.firstChild.replaceChildren(button);
      }
      bars.append(row);
    }
    if (!top.some(([each]) => each === symbol)) bars.append(bar(symbol, Math.exp(-nats), true));
    return [head, facts, bars];
  }
}
