"use strict";
// The page: what is asked for, what has come, and going back.

const $ = (id) => document.getElementById(id);
const SLIDERS = ["temperature", "top_p", "length"];
const KEPT = [...SLIDERS, "model", "form", "seed", "draft"]; // over a reload
const NAMES_AT_ONCE = 16;
const MOST_SEED = 2 ** 32;
const STORE = "textgen page";
const FIRST_SEED = "1";
const BEGINNING = /^(.{1,24}(?<=\s)|.{0,12})/u; // of a first text, as on exported pages

let facts = { models: [] }; // what `/v1/page` tells
let running = null; // what aborts the request under way
let names = []; // rows of {places, row}
let lastRun = null; // what `Again` does
const before = []; // what `Undo` goes back to

const model = () => facts.models.find((each) => each.id === $("model").value);
const mode = () => document.querySelector("[name=mode]:checked").value;
const mayFollow = (symbol) => symbol !== model()?.end;
const reading = new Reading($("text"), $("panel"), goOnWith, mayFollow);

// What is told

function say(words) {
  $("status").textContent = words;
}

function fail(words) {
  $("error").textContent = words.replaceAll("`", ""); // which name a request's fields
}

function showSliders() {
  for (const id of SLIDERS) document.querySelector(`[for=${id}]:is(output)`).value = $(id).value;
}

// Shows what can be done just now.
function refresh() {
  const busy = running !== null;
  const isNames = mode() === "names";
  const has = isNames ? names.length > 0 : reading.places.length > 0;
  $("go-on").textContent = isNames ? "More" : "Go on";
  const can = {
    write: !busy && model(), colour: !busy && model(), stop: busy, undo: !busy && before.length,
    again: !busy && lastRun, "go-on": !busy && has && mode() !== "form", edit: !busy && reading.places.length,
    copy: has, download: has,
  };
  for (const id in can) $(id).disabled = !can[id];
  $("text").setAttribute("aria-busy", busy);
  $("form-choice").hidden = mode() !== "form";
  $("length-choice").hidden = mode() !== "text";
  $("names").hidden = !isNames || !names.length;
  $("text").hidden = $("key").hidden = isNames && !reading.places.length;
  $("draft-hint").textContent = isNames ? "How all names begin; it may be empty. Ctrl+Enter writes, Escape stops."
    : mode() === "form" ? "The first lines, or the beginning of the first. Ctrl+Enter writes, Escape stops."
      : "It may be empty. Ctrl+Enter writes, Escape stops.";
}

// Lets only those modes be chosen that the model has, and says why.
function offerModes(wanted = mode()) {
  const own = model();
  if (!own) return;
  const reasons = { form: own.no_forms, names: own.lines ? null : "Names need a model of lines, such as dinos." };
  for (const name in reasons) {
    document.querySelector(`[value=${name}]`).disabled = reasons[name] !== null;
    const line = $(`${name}-reason`);
    line.hidden = reasons[name] === null;
    line.textContent = (reasons[name] ?? "").replace("`form`", "A form");
  }
  const button = document.querySelector(`[value=${wanted}]`);
  (button.disabled ? document.querySelector("[value=text]") : button).checked = true;
  refresh();
}

// Runs what takes a while, one at a time.
async function run(words, work) {
  if (running) return;
  running = new AbortController();
  say(words);
  fail("");
  refresh();
  try {
    say((await work(running.signal)) ?? "");
  } catch (error) {
    if (error.name === "AbortError") {
      say("Stopped.");
    } else {
      say("");
      fail(error.message);
      if (error.status === 401) askToken();
      else if (!(error instanceof ServerError)) console.error(error);
    }
  }
  running = null;
  refresh();
  remember();
}

function drawing(seed = $("seed").value.trim()) {
  const given = { model: $("model").value, temperature: Number($("temperature").value), top_p: Number($("top_p").value) };
  if (seed) given.seed = /^-?\d+$/.test(seed) ? Number(seed) : seed; // the server says what is wrong with it
  return given;
}

// A text

// Asks for the surprise of each character, which only models of characters tell.
function scored(model) {
  return facts.models.find((each) => each.id === model).level === "character" ? { logprobs: 5 } : {};
}

function placesIn(choice, model) {
  return choice.logprobs ? placesOf(choice.logprobs, model) : unread(choice.text);
}

function write(places, words = "Writing…", seed = undefined) {
  lastRun = () => write(places, words);
  return run(words, (signal) => complete(places, signal, seed));
}

async function complete(places, signal, givenSeed) {
  const model = $("model").value;
  const prompt = places.slice(-facts.max_prompt); // what is read of a long text
  // What this model hasn't read yet comes again, with its surprise.
  const echo = !prompt.every((place) => place.model === model);
  const length = Number($("length").value);
  const body = { ...drawing(givenSeed), prompt: textOf(prompt), max_tokens: length, ...scored(model), echo };
  let seed, reason, warnings = [], made = 0;
  for await (const event of stream("/v1/completions", body, signal)) {
    const [choice] = event.choices;
    if (seed === undefined) {
      snapshot();
      reading.show(echo ? places.slice(0, -facts.max_prompt) : places);
      made = echo ? -prompt.length : 0;
    }
    reading.append(placesIn(choice, model));
    made += Array.from(choice.text).length;
    warnings = event.warnings ?? warnings;
    ({ seed, finish_reason: reason } = choice);
  }
  const ended = reason === "stop" ? " It came to its end." : "";
  return [`${made.toLocaleString("en")} characters, seed ${seed}.${ended}`, ...warnings].join(" ");
}

function goOnWith(i, symbol) {
  if (!running) write([...reading.places.slice(0, i), ...unread(symbol)], "Going on from there…");
}

// Colours a text that is there already.
async function judge(text, signal) {
  const body = { model: $("model").value, prompt: text, max_tokens: 0, echo: true, logprobs: 5 };
  const { choices: [choice], warnings = [] } = await (await ask("/v1/completions", body, signal)).json();
  const places = placesOf(choice.logprobs, body.model);
  const nats = places.map((place) => place.nats).filter((x) => x !== null);
  const mean = nats.reduce((sum, x) => sum + x, 0) / (nats.length || 1);
  return { places, mean, warnings };
}

function colour() {
  const text = $("draft").value;
  if (!text) {
    fail("There is nothing to colour: type or paste a text first.");
    $("draft").focus();
    return;
  }
  run("Reading…", async (signal) => {
    const { places, mean, warnings } = await judge(text, signal);
    snapshot();
    reading.show(places);
    return [`${mean.toFixed(2)} nats per character.`, ...warnings].join(" ");
  });
}

// A poem of a form

function writePoem() {
  const text = $("draft").value;
  lastRun = writePoem;
  return run("Looking for lines that keep to the form…", async (signal) => {
    let poem = "", seed, lines = 0, warnings = [];
    for await (const event of stream("/v1/forms", { ...drawing(), form: $("form").value, prompt: text }, signal)) {
      if (event.seed !== undefined) {
        ({ seed, warnings = [] } = event);
        snapshot();
      } else {
        say(`Line ${++lines} is found.`);
      }
      poem += event.text;
      reading.show(poem ? (await judge(poem, signal)).places : []);
    }
    return [`A ${$("form").value}, seed ${seed}.`, ...warnings].join(" ");
  });
}

// Names

function showNames() {
  $("names").tBodies[0].replaceChildren(...names.map((each) => each.row));
}

function nameRow() {
  const each = { places: [], row: make("tr", {}) };
  const button = make("button", { type: "button", className: "surprise" });
  button.addEventListener("click", () => {
    reading.show(each.places);
    reading.pin(0);
    refresh();
  });
  const mean = make("td", {});
  each.row.append(make("th", { scope: "row" }, button), mean);
  each.add = (places) => {
    each.places.push(...places);
    button.append(...places.map(colouredSpan));
    const nats = each.places.map((place) => place.nats).filter((x) => x !== null);
    mean.textContent = nats.length ? (nats.reduce((sum, x) => sum + x, 0) / nats.length).toFixed(2) : "–";
  };
  return each;
}

function writeNames(isMore = false, givenSeed = undefined) {
  lastRun = () => writeNames();
  return run("Writing names…", async (signal) => {
    const rows = Array.from({ length: NAMES_AT_ONCE }, nameRow);
    const own = drawing(givenSeed);
    const body = { ...own, prompt: $("draft").value, n: NAMES_AT_ONCE, ...scored(own.model), echo: true };
    let seed, warnings = [];
    for await (const event of stream("/v1/completions", body, signal)) {
      const [choice] = event.choices;
      if (!names.includes(rows[0])) {
        snapshot();
        names = [...(isMore ? names : []), ...rows];
        reading.show([]);
        showNames();
        refresh();
      }
      if (choice.index === 0) seed = choice.seed;
      rows[choice.index].add(placesIn(choice, own.model));
      warnings = event.warnings ?? warnings;
    }
    const repeated = names.length - new Set(names.map((each) => textOf(each.places))).size;
    return [`${rows.length} names, seed ${seed}. Repetitions: ${repeated} of ${names.length}.`, ...warnings].join(" ");
  });
}

// Going back, and what is kept

function snapshot() {
  before.push({ mode: mode(), places: reading.places, names });
  if (before.length > 50) before.shift();
}

function undo() {
  const old = before.pop();
  names = old.names;
  showNames();
  reading.show(old.places);
  document.querySelector(`[value=${old.mode}]`).checked = true;
  offerModes();
  say("Undone.");
  fail("");
  remember();
}

function remember() {
  const kept = { mode: mode(), places: reading.places };
  for (const id of KEPT) kept[id] = $(id).value;
  try {
    sessionStorage.setItem(STORE, JSON.stringify(kept));
  } catch {
    sessionStorage.removeItem(STORE); // there is no room for it
  }
}

function recall() {
  const kept = JSON.parse(sessionStorage.getItem(STORE) ?? "{}");
  for (const id of KEPT) if (id in kept) $(id).value = kept[id];
  if (!model()) $("model").selectedIndex = 0;
  if (kept.places) reading.show(kept.places);
  showSliders();
  offerModes(kept.mode ?? (model()?.lines ? "names" : "text"));
  showTitle();
}

function wholeText() {
  return mode() === "names" ? names.map((each) => `${textOf(each.places)}\n`).join("") : textOf(reading.places);
}

async function copy() {
  try {
    await navigator.clipboard.writeText(wholeText());
    say("Copied.");
  } catch {
    fail("The browser doesn't let the page copy: use Download, or mark the text.");
  }
}

function download() {
  const address = URL.createObjectURL(new Blob([wholeText()], { type: "text/plain" }));
  make("a", { href: address, download: mode() === "names" ? "names.txt" : "text.txt" }).click();
  setTimeout(() => URL.revokeObjectURL(address), 1000);
}

function begin() {
  if (mode() === "names") writeNames();
  else if (mode() === "form") writePoem();
  else write(unread($("draft").value));
}

// So that a page on which nothing was written isn't empty.
async function writeFirst() {
  if (mode() === "names") {
    await writeNames(false, FIRST_SEED);
    return;
  }
  await write([], "Writing a first text…", FIRST_SEED);
  if (!$("draft").value) [$("draft").value] = BEGINNING.exec(textOf(reading.places).trimStart());
}

// Another one: by the next seed if one is given, else by a fresh one.
function again() {
  const seed = $("seed").value.trim();
  if (/^\d+$/.test(seed)) $("seed").value = (Number(seed) + 1) % MOST_SEED;
  lastRun();
}

function goOn() {
  if (mode() === "names") writeNames(true);
  else write(reading.places, "Going on…");
}

function showTitle() {
  if (model()) document.title = $("title").textContent = model().title;
}

function askToken() {
  $("token-form").hidden = false;
  $("token").focus();
}

// The beginning

async function start() {
  await run("", async (signal) => {
    facts = await (await ask("/v1/page", null, signal)).json();
    $("model").replaceChildren(...facts.models.map(({ id }) => make("option", { value: id }, id)));
    $("form").replaceChildren(...facts.forms.map((each) => make("option", { value: each }, each)));
    Object.assign($("length"), { max: facts.max_length, min: Math.min(20, facts.max_length), value: facts.length });
    $("temperature").value = facts.temperature;
    recall();
  });
  if (model() && mode() !== "form" && !reading.places.length && !$("draft").value) writeFirst();
}

function whenClicked(id, act) {
  $(id).addEventListener("click", () => act());
}

$("compose").addEventListener("submit", (event) => {
  event.preventDefault();
  if (!$("write").disabled) begin();
});
$("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  token = $("token").value;
  sessionStorage.setItem("textgen token", token);
  $("token-form").hidden = true;
  start();
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") running?.abort();
});
$("draft").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) $("compose").requestSubmit();
});
for (const id of SLIDERS) $(id).addEventListener("input", showSliders);
for (const button of document.querySelectorAll("[name=mode]")) button.addEventListener("change", refresh);
$("model").addEventListener("change", () => {
  offerModes(model().lines ? "names" : mode() === "names" ? "text" : mode());
  showTitle();
});
addEventListener("pagehide", remember);
whenClicked("colour", colour);
whenClicked("go-on", goOn);
whenClicked("again", again);
whenClicked("stop", () => running?.abort());
whenClicked("undo", undo);
whenClicked("edit", () => {
  $("draft").value = textOf(reading.places);
  $("draft").focus();
});
whenClicked("copy", copy);
whenClicked("download", download);
$("key").append(scale("rising", "expected", `surprising: ${HIGHEST} nats and more`));
showSliders();
refresh();
start();
