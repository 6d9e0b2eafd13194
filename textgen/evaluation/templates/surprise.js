// The page of a text's surprise: two layers of colour, and the likeliest characters.

const LAYERS = {
  surprise: { name: "surprise", values: data.nats, highest: 5 },
  entropy: { name: "entropy", values: data.entropy, highest: 3 },
};

const controls = document.getElementById("controls");
const key = controls.appendChild(document.createElement("div"));

function choose(layer) {
  const { values, highest } = LAYERS[layer];
  paint((i) => (values[i] ?? 0) / highest, layer);
  key.className = layer;
  key.replaceChildren(scale("rising", "0", `${highest} nats and more`));
}

const choice = make("fieldset", {}, make("legend", {}, "The colour is"));
for (const layer in LAYERS) {
  const button = make("input", { type: "radio", name: "layer", checked: layer === "surprise" });
  button.addEventListener("change", () => choose(layer));
  const told = layer === "surprise" ? "surprise: how unexpected it was" : "entropy: how open it was before";
  choice.append(make("label", {}, button, told));
}
controls.prepend(choice);

function show(i) {
  const title = heading(i);
  if (data.nats[i] === null) {
    return [title, make("p", {}, "The model only began to read here, so nothing was predicted.")];
  }
  const chance = Math.exp(-data.nats[i]);
  const facts = make("dl", { className: "facts" });
  fact(facts, "surprise", ...both(data.nats[i]));
  fact(facts, "entropy", ...both(data.entropy[i]));
  const bars = make("ol", { className: "bars" });
  let among = false;
  for (let k = i * data.width; k < (i + 1) * data.width; k++) {
    const symbol = data.symbols[data.likeliest[k]];
    among ||= symbol === symbols[i];
    bars.append(bar(symbol, data.chances[k] / 10000, symbol === symbols[i]));
  }
  if (!among) bars.append(bar(symbols[i], chance, true));
  return [title, facts, bars];
}

choose("surprise");
follow(show, data.nats.reduce((best, x, i) => ((x ?? -1) > (data.nats[best] ?? -1) ? i : best), 0));
