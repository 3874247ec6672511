// The page's behaviour.  Text from elsewhere (class names, attributes, messages) only ever becomes text, never markup.
const at = (id) => document.getElementById(id);
let run = null;

function make(tag, text = "", className = "") {
  const element = document.createElement(tag);
  element.textContent = text;
  if (className) element.className = className;
  return element;
}

// 010.Red_winged_Blackbird and has_belly_color::black, as people would write them
const readable = (name) =>
  name.replace(/^\d+\./, "").replace(/^has_/, "").replace("::", ": ").replaceAll("_", " ").trim() || name;

const number = (value) => value.toFixed(Math.abs(value) >= 10 ? 1 : 3).replace("-", "−");

function say(id, text, isError = false) {
  at(id).textContent = text;
  at(id).classList.toggle("error", isError);
}

async function ask(path, options = {}) {
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Error("the server does not answer; is it still running?");
  }
  const content = await response.json().catch(() => ({ error: `the server answered ${response.status}` }));
  if (!response.ok) throw new Error(content.error);
  return content;
}

// --- the answer -------------------------------------------------------------------------------------------------------

const SPACES = { VS: "visual features", SS: "attributes", SRS: "class representations", calibration: "γ, off seen classes" };

function kindOf(kind) {
  return make("span", kind, `kind ${kind}`);
}

function showBar(choice) {
  const item = make("li");
  const row = make("div", "", "row");
  const name = make("span", choice.shown);
  name.append(kindOf(choice.kind));
  row.append(name, make("span", `${(100 * choice.probability).toFixed(1)} %`));
  const track = make("div", "", "track");
  const fill = make("div", "", "fill");
  fill.style.width = `${100 * choice.probability}%`;
  track.append(fill);
  item.append(row, track);
  return item;
}

function showVote(vote) {
  const row = make("tr");
  const space = make("th", vote.space);
  space.scope = "row";
  space.append(make("small", SPACES[vote.space] ?? ""));
  const lead = `${vote.margin >= 0 ? "+" : "−"}${Math.abs(vote.margin).toFixed(2)}`;
  row.append(space, make("td", vote.top ?? "–"), make("td", lead));
  return row;
}

function showEvidence(evidence) {
  const lacks = evidence.photo > evidence.usual ? "" : "no "; // the photo has less of it than seen classes on average
  const item = make("li", lacks + readable(evidence.name));
  item.append(
    make("small", `photo ${number(evidence.photo)} · class ${number(evidence.of_class)} · usual ${number(evidence.usual)}`)
  );
  return item;
}

function showAnswer(answer) {
  at("answer").hidden = false; // before the headline changes, for only what is there is read out
  at("headline").textContent = answer.classes[0].shown;
  at("notes").textContent = answer.notes.join("; ");
  at("bars").replaceChildren(...answer.classes.map(showBar));
  at("probabilities").textContent = `Per cent: ${run.probabilities}.`;
  at("votes").replaceChildren(...answer.votes.map(showVote));
  const list = (evidence) => (evidence.length ? evidence.map(showEvidence) : [make("li", "nothing")]);
  at("for").replaceChildren(...list(answer.attributes_for));
  at("against").replaceChildren(...list(answer.attributes_against));
}

function refuseIfLarge(file, megabytes) {
  if (file.size > megabytes * 1e6) throw new Error(`${(file.size / 1e6).toFixed(1)} MB; the limit is ${megabytes} MB`);
}

let photo = null;

async function predict(file) {
  photo = file;
  at("answer").hidden = true;
  URL.revokeObjectURL(at("preview").src);
  at("preview").src = URL.createObjectURL(file);
  at("preview").hidden = false;
  say("photo-status", "Looking …");
  const options = { method: "POST", body: file, headers: { "Content-Type": "application/octet-stream" } };
  try {
    await ready;
    refuseIfLarge(file, run.limits.max_megabytes);
    const answer = await ask("/api/predict", options);
    if (photo !== file) return; // another photo came meanwhile
    showAnswer(answer);
    say("photo-status", "");
  } catch (error) {
    if (photo === file) say("photo-status", error.message, true);
  }
}

at("preview").addEventListener("error", () => { at("preview").hidden = true; });
at("file").addEventListener("change", () => { if (at("file").files[0]) predict(at("file").files[0]); });
for (const kind of ["dragover", "dragenter"]) {
  document.addEventListener(kind, (event) => { event.preventDefault(); at("drop").classList.add("over"); });
}
document.addEventListener("dragleave", () => at("drop").classList.remove("over"));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  at("drop").classList.remove("over");
  if (event.dataTransfer.files[0]) predict(event.dataTransfer.files[0]);
});
document.addEventListener("paste", (event) => {
  const file = [...event.clipboardData.files].find((each) => each.type.startsWith("image/"));
  if (file) predict(file);
});

// --- new classes ------------------------------------------------------------------------------------------------------

let baseStrengths = [];

function showRun(content) {
  run = content;
  const count = (kind) => run.classes.filter((each) => each.kind === kind).length;
  const seeds = run.seeds.length === 1 ? `seed ${run.seeds[0]}` : `mean of ${run.seeds.length} seeds`;
  at("run").textContent =
    `${run.run}: ${run.benchmark}, ${run.method}, ${run.backbone}, ${seeds}; ` +
    `${count("seen")} seen, ${count("unseen")} unseen, ${count("new")} new classes`;
  at("limits").textContent =
    `Up to ${run.limits.max_megabytes} MB, decoded in up to ${run.limits.max_memory_megabytes} MB of memory. ` +
    "It stays on this machine.";
  const added = run.classes.filter((each) => each.kind === "new");
  at("new-classes").replaceChildren(...added.map((each) => make("li", each.name)));
  at("forget").hidden = added.length === 0;
  const chosen = at("base").value;
  at("base").replaceChildren(
    ...run.classes.map((each) => {
      const option = make("option", each.shown);
      option.value = each.name;
      return option;
    })
  );
  if (run.classes.some((each) => each.name === chosen)) at("base").value = chosen;
  at("attributes").replaceChildren(
    ...run.attributes.map((each) => { const option = make("option"); option.value = readable(each.name); return option; })
  );
}

function changed() {
  return [...at("changes").querySelectorAll("input")];
}

async function chooseBase() {
  at("changes").replaceChildren();
  baseStrengths = [];
  const base = at("base").value;
  try {
    const strengths = await ask(`/api/class?name=${encodeURIComponent(base)}`);
    if (at("base").value === base) baseStrengths = strengths; // no other one was chosen meanwhile
  } catch (error) {
    say("add-status", error.message, true);
  }
}

function addChange() {
  if (baseStrengths.length === 0) return; // not known yet
  const wanted = at("attribute").value;
  const place = run.attributes.findIndex((each) => readable(each.name) === wanted || each.name === wanted);
  if (place < 0) return;
  at("attribute").value = "";
  const attribute = run.attributes[place];
  if (changed().some((input) => input.name === attribute.name)) return;
  const box = make("div", "", "change");
  const label = make("label", readable(attribute.name));
  const input = make("input");
  const value = make("small", "", "muted");
  Object.assign(input, { type: "range", name: attribute.name, min: attribute.low, max: attribute.high, step: "any" });
  input.value = baseStrengths[place];
  const show = () => { value.textContent = `${number(+input.value)} (weakest class ${number(attribute.low)}, strongest ${number(attribute.high)})`; };
  input.addEventListener("input", show);
  show();
  const remove = make("button", "×", "small");
  remove.type = "button";
  remove.ariaLabel = `leave ${readable(attribute.name)} as it is`;
  remove.addEventListener("click", () => box.remove());
  label.append(input, value);
  box.append(label, remove);
  at("changes").append(box);
}

async function change(form, options, done) {
  const buttons = document.querySelectorAll("#like button, #table button, #forget");
  for (const button of buttons) button.disabled = true;
  say("add-status", "Synthesizing features, fitting the heads …");
  try {
    await ready;
    showRun(await ask("/api/classes", await options()));
    say("add-status", run.adding_took === null ? done : `${done.slice(0, -1)} in ${run.adding_took.toFixed(1)} s.`);
    form?.reset();
    await chooseBase(); // what was changed belongs to the old one, which may be gone
    if (photo) await predict(photo);
  } catch (error) {
    say("add-status", error.message, true);
  } finally {
    for (const button of buttons) button.disabled = false;
  }
}

at("base").addEventListener("change", chooseBase);
// Not `input`: one name may be how another one begins.
at("attribute").addEventListener("change", addChange);
at("attribute").addEventListener("keydown", (event) => {
  if (event.key !== "Enter") return;
  event.preventDefault(); // it would send the form
  addChange();
});
at("like").addEventListener("submit", (event) => {
  event.preventDefault();
  const changes = Object.fromEntries(changed().map((input) => [input.name, +input.value]));
  const body = JSON.stringify({ name: at("name").value, base: at("base").value, changes });
  change(at("like"), () => ({ method: "POST", body, headers: { "Content-Type": "application/json" } }), "Added.");
});
at("table").addEventListener("submit", (event) => {
  event.preventDefault();
  const file = at("csv-file").files[0];
  const options = async () => {
    if (file) refuseIfLarge(file, run.limits.table_megabytes);
    const body = file ? await file.text() : at("csv").value;
    return { method: "POST", body, headers: { "Content-Type": "text/csv" } };
  };
  change(at("table"), options, "Added.");
});
at("forget").addEventListener("click", () => change(null, () => ({ method: "DELETE" }), "Forgotten."));

// A photo may come before the run is known.
const ready = ask("/api/run").then(showRun);
try {
  await ready;
  await chooseBase();
} catch (error) {
  say("photo-status", error.message, true);
}
