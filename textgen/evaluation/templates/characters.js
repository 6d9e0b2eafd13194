"use strict";
// Characters for people to see, and elements made of them. Whatever comes from a text or
// a model becomes text nodes, never markup.

const NAMES = { "\n": "newline", " ": "space", "\t": "tab", "\0": "end of text" };
const GLYPHS = { " ": " ", "\n": "↵", "\t": "⇥\t", "\0": "␄" };

// Makes an element: its properties, then what it holds, strings as text.
function make(tag, properties, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

// Characters that can't be seen have a name or their number.
function named(symbol) {
  if (symbol in NAMES) return NAMES[symbol];
  if (!/[\p{C}\p{Z}\p{M}]/u.test(symbol)) return symbol;
  return "U+" + symbol.codePointAt(0).toString(16).toUpperCase().padStart(4, "0");
}

function glyph(symbol) {
  return GLYPHS[symbol] ?? (/[\p{C}\p{Z}]/u.test(symbol) ? "◌" : symbol);
}

function quoted(symbol) {
  const name = named(symbol);
  return name === symbol ? `“${symbol}”` : name;
}

function fact(list, name, ...value) {
  list.append(make("dt", {}, name), make("dd", {}, ...value));
}

// What there is no room for on a narrow screen.
function wide(words) {
  return make("span", { className: "wide" }, words);
}

function scale(kind, low, high) {
  return make("div", { className: "scale" }, low, make("i", { className: kind }), high);
}

const percent = (chance) =>
  chance < 0.0001 ? "< 0.01 %" : `${(100 * chance).toFixed(chance < 0.01 ? 2 : 1)} %`;
const both = (nats) => [`${nats.toFixed(2)} nats`, wide(`, ${(nats / Math.LN2).toFixed(2)} bits`)];

function bar(symbol, chance, came) {
  const filled = document.createElement("i");
  filled.style.width = `${(100 * chance).toFixed(1)}%`;
  const row = make("li", {}, make("b", {}, named(symbol)), filled, make("span", {}, percent(chance)));
  row.classList.toggle("came", came);
  return row;
}
