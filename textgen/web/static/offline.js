// The page that needs no server: it completes a text by the network in its own file.

const $ = (id) => document.getElementById(id);
const data = JSON.parse($("data").textContent);
const decoder = new Decoder(data, $("weights").textContent);
const idOf = new Map(data.symbols.map((symbol, id) => [symbol, id]));
const BURST_MS = 30; // of work, before the browser may show it and hear of keys

let stopped = true; // whether nothing is being written, or it was asked to end

const pause = () => new Promise((resume) => setTimeout(resume));

// Calls `work` until it returns false or someone stops it, and `show` after each burst.
async function inBursts(work, show) {
  for (let more = true; more && !stopped; await pause()) {
    const end = performance.now() + BURST_MS;
    while (more && performance.now() < end) more = work();
    show();
  }
}

function idsToRead(prompt) {
  const { ids, note } = fit(prompt, idOf, data.forms);
  if (data.end !== null) ids.unshift(data.end);
  else if (!ids.length) ids.push(data.start);
  return { ids, note };
}

// Shows a text's given beginning, and returns the node for what is written after it.
function begun(prompt, text) {
  const written = document.createTextNode(text);
  $("text").replaceChildren(make("span", { className: "given" }, prompt), written);
  return written;
}

function showFirst() {
  const { prompt, text } = data;
  $("draft").value = prompt;
  begun(prompt, text.slice(prompt.length));
  $("status").textContent = "A first text, which was written with this page.";
}

async function write(prompt, length, temperature, topP, seed) {
  const { ids, note } = idsToRead(prompt);
  const random = seeded(seed);
  const written = begun(prompt, "");
  decoder.reset();
  let read = 0;
  await inBursts(() => {
    decoder.push(ids[read++]);
    return read < ids.length;
  }, () => {});
  const began = performance.now();
  let text = "";
  let count = 0;
  await inBursts(() => {
    const id = draw(decoder.logits(), temperature, topP, random);
    if (id === data.end) return false;
    text += data.symbols[id];
    decoder.push(id);
    return ++count < length;
  }, () => {
    written.appendData(text);
    text = "";
  });
  const perSecond = Math.round((1000 * count) / (performance.now() - began));
  const noun = count === 1 ? "character" : "characters";
  const told = `${count.toLocaleString("en")} ${noun}, ${perSecond.toLocaleString("en")} a second, seed ${seed}.`;
  $("status").textContent = [stopped ? "Stopped." : "", told, note].filter(Boolean).join(" ");
}

function showBusy(busy) {
  stopped = !busy;
  $("write").disabled = busy;
  $("stop").disabled = !busy;
  $("text").setAttribute("aria-busy", busy);
}

async function begin() {
  const seed = $("seed").value === "" ? crypto.getRandomValues(new Uint32Array(1))[0] : Number($("seed").value);
  const [length, temperature, topP] = ["length", "temperature", "top_p"].map((id) => Number($(id).value));
  showBusy(true);
  $("status").textContent = "Writing…";
  await write($("draft").value, length, temperature, topP, seed);
  showBusy(false);
}

function showSliders() {
  for (const id of ["temperature", "top_p"]) document.querySelector(`output[for=${id}]`).value = $(id).value;
}

function stop() {
  stopped = true;
}

$("compose").addEventListener("submit", (event) => {
  event.preventDefault();
  if (stopped) begin();
});
$("stop").addEventListener("click", stop);
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") stop();
});
$("draft").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) $("compose").requestSubmit();
});
for (const id of ["temperature", "top_p"]) $(id).addEventListener("input", showSliders);
showSliders();
showFirst();
showBusy(false);
