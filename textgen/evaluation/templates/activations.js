// The page of a network's units: the text coloured by one of them.

const controls = document.getElementById("controls");
const bytes = Uint8Array.from(atob(data.values), (x) => x.charCodeAt(0));
const values = new Int8Array(bytes.buffer); // a row of characters for each unit
let unit = 0; // which row
let refresh = () => {};

// A unit's activation at a character; each unit has a scale of its own.
const activation = (i) => (values[unit * symbols.length + i] / 127) * data.scales[unit];
const nameOf = (row) => `layer ${data.units[row][0]}, unit ${data.units[row][1]}`;

const signed = (x) => (x < 0 ? "−" : "+") + Math.abs(x).toFixed(2);
const body = document.createElement("tbody");
const rows = data.followers.map(({ feature, row, found, checked }) => {
  const button = make("button", { type: "button" }, feature);
  button.addEventListener("click", () => choose(row));
  const line = make("tr", {}, make("th", { scope: "row" }, button), make("td", {}, wide("layer "), `${data.units[row][0]}, `, wide("unit "), data.units[row][1]),
    make("td", {}, signed(found)), make("td", {}, signed(checked)));
  line.classList.toggle("not", found * checked < 0 || Math.abs(checked) < 0.3);
  body.append(line);
  return { line, row };
});
if (rows.length) {
  const heads = ["what it follows", "unit", "first half", "second half"];
  const head = make("thead", {}, make("tr", {}, ...heads.map((x) => make("th", { scope: "col" }, x))));
  const caption = "Correlations. Each unit was chosen on the first half of the text and measured again on the second. " +
    "Grey: what held there is weak, or turned round.";
  controls.append(make("table", {}, make("caption", {}, caption), head, body));
}

const list = make("select", {}, ...data.units.map((_, row) => make("option", { value: row }, nameOf(row))));
list.addEventListener("change", () => choose(Number(list.value)));
controls.append(make("fieldset", {}, make("label", {}, "The colour is ", list)));
const key = controls.appendChild(document.createElement("div"));

function choose(row) {
  unit = row;
  const highest = data.scales[row];
  paint((i) => activation(i) / (highest || 1), "unit");
  list.value = row;
  for (const each of rows) each.line.classList.toggle("chosen", each.row === row);
  key.replaceChildren(scale("diverging", `−${highest.toFixed(2)}`, `+${highest.toFixed(2)}`));
  refresh();
}

function show(i) {
  const facts = make("dl", { className: "facts" });
  fact(facts, "activation", signed(activation(i)));
  fact(facts, "of", nameOf(unit));
  return [heading(i), facts];
}

choose(data.followers.length ? data.followers[0].row : 0);
refresh = follow(show, 0);
