"use strict";
// A model's card, and its learning curve as a drawing.

const WIDTH = 320, HEIGHT = 150, LEFT = 34, BOTTOM = 20;

function drawn(tag, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const name in attributes) element.setAttribute(name, attributes[name]);
  element.append(...children);
  return element;
}

// `points` are [step, loss, val_loss], the last null where it wasn't measured.
function curve(points) {
  const losses = points.flatMap(([, ...both]) => both.filter((x) => x !== null));
  const low = Math.min(...losses), high = Math.max(...losses);
  const first = points[0][0], last = points.at(-1)[0];
  const x = (step) => LEFT + ((step - first) / (last - first || 1)) * (WIDTH - LEFT - 4);
  const y = (loss) => 6 + ((high - loss) / (high - low || 1)) * (HEIGHT - BOTTOM - 12);
  const line = (k) => points.filter((p) => p[k] !== null).map((p) => `${x(p[0]).toFixed(1)},${y(p[k]).toFixed(1)}`).join(" ");
  const [, loss, valLoss] = points.at(-1);
  const told = `The learning curve: loss from ${points[0][1].toFixed(3)} to ${loss.toFixed(3)} nats per character` +
    (valLoss === null ? "." : `, on text not trained on ${valLoss.toFixed(3)} at the end.`);
  const label = (left, top, anchor, words) => drawn("text", { x: left, y: top, "text-anchor": anchor }, words);
  const svg = drawn("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": told, class: "curve" },
    drawn("path", { d: `M${LEFT} 4V${HEIGHT - BOTTOM}H${WIDTH}`, class: "axes" }),
    label(LEFT - 4, 12, "end", high.toFixed(2)), label(LEFT - 4, HEIGHT - BOTTOM - 2, "end", low.toFixed(2)),
    label(LEFT, HEIGHT - 6, "start", `step ${first.toLocaleString("en")}`), label(WIDTH, HEIGHT - 6, "end", last.toLocaleString("en")),
    drawn("polyline", { points: line(1), class: "loss" }), drawn("polyline", { points: line(2), class: "val-loss" }));
  const key = "Loss in nats per character: solid, of the text trained on; dashed, of a part that wasn't.";
  return make("figure", {}, svg, make("figcaption", {}, key));
}

function cardOf({ model, card, curve: points }) {
  const list = make("dl", { className: "card" });
  for (const [label, lines] of card) fact(list, label, ...lines.map((line) => make("p", {}, line)));
  const drawing = points.length > 1 ? curve(points) : make("p", { className: "hint" }, "Its file has no learning curve.");
  return [make("h2", {}, model), list, drawing];
}
