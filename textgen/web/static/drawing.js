// What stands before and after the network: a text in symbols that it knows, and the
// next symbol out of logits.

// Returns a function of evenly distributed numbers, 0 to below 1, that a seed of 32 bits
// repeats: the generator mulberry32 by Tommy Ettinger, which is in the public domain.
function seeded(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

// Draws an id as `textgen/generation/sampling.py` does: logits are divided by the
// temperature, of which 0 takes the likeliest; of the likeliest symbols only the fewest
// stay that together have the probability top-p.
function draw(logits, temperature, topP, random) {
  const ranked = Array.from(logits.keys()).sort((one, other) => logits[other] - logits[one]);
  if (temperature === 0) return ranked[0];
  const highest = logits[ranked[0]];
  const weights = ranked.map((id) => Math.exp((logits[id] - highest) / temperature));
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  const enough = topP * (1 - 1e-12) * total; // rounding is to leave no symbol in
  let kept = 0;
  let share = 0;
  while (kept < weights.length && (topP === 1 || share < enough)) share += weights[kept++];
  let point = random() * share;
  for (let k = 0; k < kept; k++) {
    point -= weights[k];
    if (point < 0) return ranked[k];
  }
  return ranked[kept - 1]; // the sum, taken in another order, was rounded up
}

// Yields what may stand for a symbol, best first, as `textgen/data/vocabulary.py` does.
function* standIns(symbol, forms) {
  const inOtherCase = (text) => Array.from(text, (x) => (x === x.toLowerCase() ? x.toUpperCase() : x.toLowerCase())).join("");
  const own = forms[symbol] ?? [];
  yield* own;
  yield inOtherCase(symbol);
  const bare = symbol.normalize("NFKD").replace(/\p{M}/gu, "");
  yield bare;
  yield inOtherCase(bare);
  yield* own.map(inOtherCase);
}

// Returns a text's ids, and a line about what was folded or skipped for it, if any was.
function fit(text, idOf, forms) {
  const changed = new Map();
  const ids = [];
  for (const symbol of text) {
    if (!idOf.has(symbol) && !changed.has(symbol)) {
      const known = [...standIns(symbol, forms)].find((each) => Array.from(each).every((x) => idOf.has(x)));
      changed.set(symbol, known ?? "");
    }
    for (const each of changed.get(symbol) ?? symbol) ids.push(idOf.get(each));
  }
  const told = Array.from(changed, ([old, other]) => `${quoted(old)} (${other ? `folded to ${quoted(other)}` : "skipped"})`);
  const more = told.length > 5 ? ` and ${told.length - 5} more` : "";
  return { ids, note: told.length ? `The model has never seen ${told.slice(0, 5).join(", ")}${more}.` : "" };
}
