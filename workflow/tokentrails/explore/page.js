// What the page shows is text, never HTML: every string goes in through textContent.

import {panels} from "/page.panels.js";

const vega = import("/vega.js"); // large, and not needed before there is a figure
const $ = id => document.getElementById(id);
const MATRICES = {embedding: "input embedding", unembedding: "unembedding"};
const state = {model: "", checkpoint: "", text: "", special: "default", current: null, pinned: [],
  site: "resid", matrix: "embedding", other: "", place: null, control: "thing", both: false, open: []};
const top = {serial: 0, status: $("status"), problem: $("problem")};
let token = "", choices = null, tokens = [];

class Problem extends Error {}

async function ask(name, more = {}) {
  const body = {model: state.model, checkpoint: state.checkpoint, text: state.text,
    special_tokens: state.special, ...more};
  let answer, found;
  try {
    answer = await fetch(`/${name}`, {
      method: "POST",
      headers: {"Content-Type": "application/json", "X-Tokentrails-Token": token},
      body: JSON.stringify(body),
    });
    found = await answer.json();
  } catch (error) {
    throw new Problem("The server does not answer.\nHint: start the explorer again.");
  }
  if (!answer.ok) throw new Problem(`${found.problem}\nHint: ${found.hint}`);
  return found;
}

function element(name, text, properties = {}) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  return Object.assign(made, properties);
}

function options(select, names, labels = names) {
  select.replaceChildren(...names.map((name, i) => element("option", labels[i], {value: name})));
}

// Problems are shown where they belong; of two answers the later question's counts.
async function attempt(words, work, at = top) {
  const mine = ++at.serial;
  const late = () => mine !== at.serial;
  at.status.textContent = words;
  at.problem.hidden = true;
  try {
    await work(late);
  } catch (error) {
    if (!(error instanceof Problem)) console.error(error);
    if (!late()) {
      at.problem.textContent = error instanceof Problem ? error.message : String(error);
      at.problem.hidden = false;
    }
  }
  if (late()) return;
  at.status.textContent = "";
  if (at === top) ahead(late);
}

// Piece by piece, what other tokens need: a question waits for no more than one of them.
async function ahead(late) {
  try {
    do await new Promise(done => setTimeout(done, 100));
    while (!late() && tokens.length && (await ask("ahead", {site: state.site, matrix: state.matrix})).more);
  } catch (error) {
    if (!(error instanceof Problem)) throw error; // the question itself will say it
  }
}

const shown = () => [...new Set([...state.pinned, ...(state.current === null ? [] : [state.current])])]
  .sort((a, b) => a - b);

// Links: the fragment never leaves the browser.

function readLink() {
  const link = new URLSearchParams(location.hash.slice(1));
  token = link.get("token") || "";
  for (const key of ["model", "checkpoint", "text", "special", "site", "matrix", "other", "control"]) {
    if (link.has(key)) state[key] = link.get(key);
  }
  const number = text => (/^\d{1,4}$/.test(text) ? Number(text) : null);
  state.pinned = (link.get("pinned") || "").split(",").map(number).filter(n => n !== null);
  state.current = number(link.get("current") || "");
  state.place = number(link.get("place") || "");
  state.both = link.get("both") === "true";
  state.open = (link.get("open") || "").split(",");
}

function writeLink() {
  const link = new URLSearchParams({token, model: state.model, checkpoint: state.checkpoint,
    text: state.text, special: state.special, site: state.site, matrix: state.matrix,
    pinned: state.pinned.join(","), current: state.current ?? "", other: state.other,
    place: state.place ?? "", control: state.control, both: state.both, open: state.open.join(",")});
  history.replaceState(null, "", `#${link}`);
}

// The text

function showModel() {
  const {checkpoints} = choices.models.find(model => model.name === state.model);
  if (!checkpoints.includes(state.checkpoint)) state.checkpoint = checkpoints[checkpoints.length - 1];
  $("model").value = state.model;
  $("slider").hidden = checkpoints.length < 2;
  $("checkpoint").max = String(checkpoints.length - 1);
  $("checkpoint").value = String(checkpoints.indexOf(state.checkpoint));
  $("step").textContent = state.checkpoint;
}

function showText() {
  state.text = $("text").value;
  state.special = $("special").value;
  if (!state.text.trim()) return;
  const words = `${state.model}, ${state.checkpoint}: loading and running …`;
  return attempt(words, async late => {
    const found = await ask("tokens");
    if (late()) return;
    tokens = found.tokens;
    const known = position => position < tokens.length;
    state.pinned = state.pinned.filter(known);
    if (state.current === null || !known(state.current)) {
      const words = tokens.filter(each => !each.special && /\p{L}/u.test(each.word));
      state.current = (words[words.length - 1] || tokens[tokens.length - 1]).position;
    }
    if (!found.sites.includes(state.site)) state.site = found.sites[0];
    if (!found.matrices.includes(state.matrix)) state.matrix = found.matrices[0];
    options($("site"), found.sites);
    options($("matrix"), found.matrices, found.matrices.map(name => MATRICES[name]));
    $("tied").textContent = found.tied ? "The model's unembedding is its input embedding." : "";
    for (const id of ["cut", "paths", "panels", "keep"]) $(id).hidden = false;
    $("file").hidden = true;
    showTokens();
    await showPaths(late);
  });
}

function showTokens() {
  const {current} = state;
  replaceTokens($("tokens"), tokens.map(each =>
    tokenButton(each, each.position === current, state.pinned.includes(each.position), choose)));
  const named = tokens[current].readable;
  $("pin").textContent = state.pinned.includes(current) ? `Unpin “${named}”` : `Pin “${named}”`;
}

function tokenButton(each, current, pinned, choose) {
  const button = element("button", each.readable || "∅", {type: "button",
    title: `${each.entry} · position ${each.position} · id ${each.id}${each.special ? " · special" : ""}`});
  button.dataset.position = String(each.position);
  button.dataset.id = String(each.id);
  button.classList.toggle("special", each.special);
  button.classList.toggle("pinned", pinned);
  button.setAttribute("aria-pressed", String(pinned || current));
  if (current) button.setAttribute("aria-current", "true");
  button.addEventListener("click", () => choose(each.position));
  const item = element("li");
  item.append(button);
  return item;
}

// The token that had the focus keeps it.
function replaceTokens(list, items) {
  const focused = list.contains(document.activeElement) && document.activeElement.dataset.position;
  list.replaceChildren(...items);
  const again = focused && list.querySelector(`[data-position="${focused}"]`);
  if (again) again.focus();
}

function choose(position) {
  state.current = position;
  showTokens();
  return attempt("", showPaths);
}

function pin() {
  const {current, pinned} = state;
  if (pinned.includes(current)) state.pinned = pinned.filter(each => each !== current);
  else if (pinned.length < choices.most_shown - 1) state.pinned = [...pinned, current];
  else {
    $("problem").textContent = `${pinned.length} tokens are pinned.\nHint: unpin one of them first.`;
    $("problem").hidden = false;
    return;
  }
  showTokens();
  return attempt("", showPaths);
}

// The path of tokens

async function showPaths(late) {
  $("site").value = state.site;
  $("matrix").value = state.matrix;
  writeLink();
  const chosen = {positions: shown(), site: state.site, matrix: state.matrix};
  const listed = ask("nearest", chosen), drawn = ask("figures", chosen);
  drawn.catch(() => {}); // where the lists have the same problem, that says it
  const lists = await listed;
  if (late()) return;
  $("lists").replaceChildren(...lists.tokens.map(list));
  document.body.dataset.lists = chosen.positions.join(",");
  const {figures} = await drawn;
  if (late()) return;
  await Promise.all(figures.map(figure => draw(figure, late)));
  for (const old of [...$("figures").children]) {
    if (!figures.some(each => `figure-${each.name}` === old.id)) old.remove();
  }
  document.body.dataset.figures = chosen.positions.join(",");
  shownPanels.refresh();
}

const decimals = (value, digits) => (value === null ? "–" : value.toFixed(digits));

function list(each) {
  const article = element("article", undefined, {className: "list"});
  article.dataset.position = String(each.position);
  const table = element("table");
  const head = element("tr");
  head.append(...["layer", "cosine", "rank", "nearest entries"].map(name => element("th", name)));
  const body = element("tbody");
  for (const row of each.layers) {
    const line = element("tr");
    const words = element("td");
    row.nearest.forEach(([word, cosine], i) => {
      if (i) words.append(" · ");
      const own = row.rank === i && word === each.readable;
      words.append(element("span", word, {className: own ? "own" : ""}), " ",
        element("small", decimals(cosine, 2)));
    });
    const rank = row.rank === null ? "–" : row.rank.toLocaleString("en");
    line.append(element("td", String(row.layer)), element("td", decimals(row.cosine, 3)),
      element("td", rank), words);
    body.append(line);
  }
  const top = element("thead");
  top.append(head);
  table.append(top, body);
  const scroll = element("div", undefined, {className: "scroll", tabIndex: 0});
  scroll.append(table);
  const title = element("h3", `${each.readable} (position ${each.position})`);
  article.append(title, scroll);
  return article;
}

async function draw({name, spec}, late, into = $("figures")) {
  await vega;
  const place = element("div");
  const made = await window.vegaEmbed(place, spec, {mode: "vega-lite", ast: true, renderer: "canvas",
    actions: false, defaultStyle: false, tooltip: {disableDefaultStyle: true}});
  if (late()) return made.finalize();
  const figure = element("figure", undefined, {id: `figure-${name}`});
  const caption = element("figcaption");
  const rows = Object.values(spec.datasets || {}).sort((a, b) => b.length - a.length)[0] || [];
  caption.append(
    download("SVG", `${name}.svg`, async () => new Blob([await made.view.toSVG()], {type: "image/svg+xml"})),
    download("PNG", `${name}.png`, async () => {
      const canvas = await made.view.toCanvas(2);
      return new Promise(done => canvas.toBlob(done, "image/png"));
    }),
    download("CSV", `${name}.csv`, async () => new Blob([csv(rows)], {type: "text/csv"})));
  figure.append(place, caption);
  const old = $(figure.id);
  if (old) old.replaceWith(figure);
  else into.append(figure);
}

function download(words, name, make) {
  const button = element("button", words, {type: "button"});
  button.addEventListener("click", async () => {
    const link = element("a", undefined, {href: URL.createObjectURL(await make()), download: name});
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  });
  return button;
}

function csv(rows) {
  const names = Object.keys(rows[0] || {});
  const cell = value => `"${String(value ?? "").replaceAll('"', '""')}"`;
  return [names, ...rows.map(row => names.map(name => row[name]))]
    .map(line => line.map(cell).join(",")).join("\n") + "\n";
}

// Keeping

function keep(write) {
  return attempt("", async late => {
    const found = await ask("experiment", {name: $("name").value, write});
    if (late()) return;
    $("content").textContent = found.content;
    $("entry").textContent = found.entry;
    $("path").textContent = `config/experiments/${$("name").value}.yaml`;
    $("file").hidden = false;
    if (found.written) setTimeout(() => { $("status").textContent = `Written: ${found.written}`; });
  });
}

async function copy() {
  writeLink();
  try {
    await navigator.clipboard.writeText(location.href);
    $("status").textContent = "The link is copied. It is good while this server runs.";
  } catch (error) {
    $("status").textContent = "The link is the address of this page.";
  }
}

const shownPanels = panels({state, ask, attempt, element, options, draw, tokenButton, replaceTokens,
  writeLink});

async function start() {
  readLink();
  await attempt("", async () => {
    choices = await ask("choices");
    options($("model"), choices.models.map(model => model.name));
    for (const {experiment, label, text} of choices.texts) {
      $("texts").append(element("option", `${experiment}: ${label}`, {value: text}));
    }
    if (!choices.models.some(model => model.name === state.model)) state.model = choices.models[0].name;
    showModel();
    $("text").value = state.text;
    $("special").value = state.special;
    shownPanels.start(choices.texts);
  });
  if (!choices) return;
  $("ask").addEventListener("submit", event => { event.preventDefault(); showText(); });
  $("text").addEventListener("keydown", event => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      showText();
    }
  });
  $("text").addEventListener("input", () => { $("texts").value = ""; });
  $("texts").addEventListener("change", () => {
    if ($("texts").value) { $("text").value = $("texts").value; state.pinned = []; state.current = null; showText(); }
  });
  $("model").addEventListener("change", () => {
    Object.assign(state, {model: $("model").value, pinned: [], current: null});
    showModel();
    showText();
  });
  $("checkpoint").addEventListener("input", () => {
    const {checkpoints} = choices.models.find(model => model.name === state.model);
    state.checkpoint = checkpoints[Number($("checkpoint").value)];
    $("step").textContent = state.checkpoint;
  });
  $("checkpoint").addEventListener("change", showText);
  $("special").addEventListener("change", () => { state.pinned = []; state.current = null; showText(); });
  for (const id of ["site", "matrix"]) {
    $(id).addEventListener("change", () => { state[id] = $(id).value; attempt("", showPaths); });
  }
  $("pin").addEventListener("click", pin);
  $("show").addEventListener("click", () => keep(false));
  $("write").addEventListener("click", () => keep(true));
  $("copy").addEventListener("click", copy);
  document.body.dataset.ready = "true";
  if (state.text) await showText();
}

start();
