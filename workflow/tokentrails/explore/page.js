// What the page shows is text, never HTML: every string goes in through textContent.
//
// `state` is what is shown. What is asked of another text, model or checkpoint becomes the state
// with its answer; until then nothing can be done with the text before, and where there is a problem
// the controls go back to it.

import {panels} from "/page.panels.js";

const vega = import("/vega.js"); // large, and not needed before there is a figure
const $ = id => document.getElementById(id);
const MATRICES = {embedding: "input embedding", unembedding: "unembedding"};
const FORMS = {cosine: "raw", scaled: "scaled by chance", centred: "centred", standardised: "standardised"};
const SWITCHES = ["positional", "as_published", "reference"];
// What else must be chosen for a switch to change anything, and how the page says so.
const FITS = {positional: () => state.form === "cosine",
  as_published: () => FITS.positional() && state.site === "resid_mid" && state.matrix === "embedding"};
const ONLY = {positional: "of raw cosines alone",
  as_published: "of raw cosines at resid_mid, compared with the input embedding, alone"};
const state = {model: "", checkpoint: "", text: "", special: "default", current: null, pinned: [],
  site: "resid", matrix: "embedding", form: "cosine", positional: false, as_published: false,
  reference: true, other: "", place: null, control: "thing", both: false,
  key: null, head: [0, 0], cell: [0, 0], open: []};
const loading = {serial: 0, status: $("status"), problem: $("problem")};
const top = {serial: 0, status: $("top-status"), problem: $("top-problem"), area: $("paths")};
const keeping = {serial: 0, status: $("kept"), problem: $("keep-problem")};
// What the text's model has, and of which question chance and control are shown.
let token = "", choices = null, tokens = [], comparable = false, compared = "";

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

function say(problem, words) {
  problem.textContent = words;
  problem.hidden = !words;
}

// What does not fit the choice is grey, and nothing can be done with it.
function busy(area, is) {
  area.ariaBusy = String(is);
  for (const each of area.querySelectorAll("figure, .list")) each.inert = is;
}

// Problems are shown where they belong; of two answers the later question's counts. `at` is the
// place of one kind of question, with the area of what is shown of its answers.
async function attempt(words, work, at = top) {
  const mine = ++at.serial;
  const late = () => mine !== at.serial;
  at.status.textContent = words;
  say(at.problem, "");
  if (at.area) busy(at.area, true);
  try {
    await work(late);
  } catch (error) {
    if (!(error instanceof Problem)) console.error(error);
    if (!late()) {
      say(at.problem, error instanceof Problem ? error.message : String(error));
      if (at.area) for (const old of at.area.querySelectorAll("figure, .list")) old.remove();
    }
  }
  if (late()) return;
  at.status.textContent = "";
  if (at.area) busy(at.area, false);
  if (at === top) ahead(late);
}

// While nothing is asked, piece by piece: what tokens are compared with, and what other tokens need.
async function ahead(late) {
  try {
    await new Promise(done => setTimeout(done, 500));
    if (late() || $("cut").inert || !tokens.length) return;
    if (state.reference && comparable && compared !== comparison()) {
      const wanted = comparison();
      for (const stage of ["form", "bands", "control"]) {
        const pieces = await compare(late, stage);
        if (pieces === null) return;
        if (stage === "control") compared = wanted;
        if (pieces || stage === "control") await showCompared(late);
      }
    }
    while (!late() && !$("cut").inert && (await ask("ahead", look())).more);
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    if (!late()) $("progress").textContent = error.message;
  }
}

async function showCompared(late) {
  await showFigures(late, ask("figures", chosen()));
  if (!late()) shownPanels.compare();
}

const look = () => ({site: state.site, matrix: state.matrix, form: state.form,
  positional: state.positional, as_published: state.as_published});

const comparison = () => JSON.stringify([state.model, state.checkpoint, state.text, state.special, look()]);

// What is shown of the tokens: of chance what is known so far, and the control once it is computed.
const chosen = () => ({positions: shown(), chance: state.reference,
  random: state.reference && compared === comparison(), ...look()});

// How many pieces there were to compute, of which most are of the checkpoint and stay; null if
// something else is asked meanwhile.
async function compare(late, wanted, status = $("progress")) {
  for (let pieces = 0; ; pieces++) {
    const {doing} = await ask("chance", {wanted, ...look()});
    if (late() || $("cut").inert) return null;
    status.textContent = doing ? `Computing what to compare with: ${doing} …` : "";
    if (!doing) return pieces;
  }
}

const shown = () => [...new Set([...state.pinned, ...(state.current === null ? [] : [state.current])])]
  .sort((a, b) => a - b);

// Links: the fragment never leaves the browser.

// What it has that can be nothing goes to `missing`.
function readLink(missing = []) {
  const link = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
  const good = (key, isOne) => {
    const parts = (link[key] || "").split(",").filter(Boolean);
    missing.push(...parts.filter(part => !isOne(part)).map(part => `${key} “${part}”`));
    return parts.filter(isOne);
  };
  const numbers = key => good(key, part => /^\d{1,4}$/.test(part)).map(Number);
  const one = key => numbers(key)[0] ?? null;
  const flag = key => good(key, part => ["true", "false"].includes(part))[0] === "true";
  const flags = SWITCHES.filter(key => link[key]).map(key => [key, flag(key)]);
  missing.push(...Object.keys(link).filter(key => !(key in state || ["token", "ids"].includes(key))).map(key => `“${key}”`));
  return {...link, ...Object.fromEntries(flags), pinned: numbers("pinned"), current: one("current"),
    place: one("place"), both: flag("both"), key: one("key"), head: numbers("head"),
    cell: numbers("cell"), open: good("open", id => [...$("panels").children].some(each => each.id === id))};
}

function sayMissing(missing, problem = $("problem")) {
  if (missing.length) say(problem, `Not shown: ${[...new Set(missing)].join(", ")}.\nHint: the page shows what there is instead.`);
}

// Show what the link of the address has; one line says what of it there is not.
async function follow() {
  const missing = [], link = readLink(missing), before = token;
  const found = (kind, known, otherwise) => {
    if (!link[kind] || known.includes(link[kind])) return link[kind] || otherwise;
    missing.push(`${kind} “${link[kind]}”`);
    return otherwise;
  };
  if (link.token) token = link.token;
  const model = found("model", choices.models.map(each => each.name), $("model").value);
  const checkpoints = checkpointsOf(model);
  const checkpoint = found("checkpoint", checkpoints, checkpoints[checkpoints.length - 1]);
  const special = found("special", [...$("special").options].map(each => each.value), "default");
  showControls({model, checkpoint, special});
  if (link.text) {
    $("text").value = link.text;
    if (await load(link, found, missing) === false) {
      token = before;
      return;
    }
  }
  sayMissing(missing);
}

function writeLink() {
  const link = new URLSearchParams({token, model: state.model, checkpoint: state.checkpoint,
    text: state.text, special: state.special, reference: state.reference, ...look(),
    ids: idsOf(tokens), pinned: state.pinned.join(","), current: state.current ?? "", other: state.other,
    place: state.place ?? "", control: state.control, both: state.both,
    key: state.key ?? "", head: state.head.join(","), cell: state.cell.join(","), open: state.open.join(",")});
  history.replaceState(null, "", `#${link}`);
}

// The text

// A text that was refused is not the one whose tokens are shown.
function showWhetherStale() {
  for (const each of document.querySelectorAll("main > section")) each.classList.toggle("stale", $("text").value !== state.text);
}

const idsOf = tokens => tokens.map(each => each.id).join(",");
const checkpointsOf = name => choices.models.find(model => model.name === name).checkpoints;

function showControls({model, checkpoint, special}) {
  const checkpoints = checkpointsOf(model);
  $("model").value = model;
  $("slider").hidden = checkpoints.length < 2;
  $("checkpoint").max = String(checkpoints.length - 1);
  $("checkpoint").value = String(checkpoints.indexOf(checkpoint));
  $("step").textContent = checkpoint;
  $("special").value = special;
}

// Show the text as the controls say, and the rest as a link says if there is one: whether it could
// be shown; undefined where another question came between. `known` is what is chosen of a kind.
async function load(link = null, known = kind => state[kind], missing = [], end = null) {
  const wanted = {model: $("model").value, checkpoint: $("step").textContent,
    text: $("text").value, special: $("special").value};
  const sections = document.querySelectorAll("main > section");
  for (const each of sections) each.inert = true;
  let isLate, isShown = false;
  await attempt(`${wanted.model}, ${wanted.checkpoint}: loading and running …`, async late => {
    isLate = late;
    const found = await ask("tokens", {...wanted, special_tokens: wanted.special});
    if (late()) return;
    showText(wanted, found, link, known, missing, end);
    isShown = true;
  }, loading);
  if (isLate()) return undefined;
  if (!isShown && tokens.length) showControls(state);
  for (const each of sections) each.inert = false;
  showWhetherStale();
  if (!link) sayMissing(missing);
  if (isShown) await attempt("computing …", showPaths);
  return isShown;
}

function showText(wanted, found, link, known, missing, end) {
  const moved = position => (link ? found.tokens[position]?.position
    : sameToken(tokens[position], found.tokens, wanted.text === state.text));
  const all = positions => [...new Set(positions.map(moved))].filter(position => position !== undefined);
  const {current, key} = link || state, most = choices.most_shown - 1, pinned = all((link || state).pinned);
  // Of another text it is no news that another token stands there.
  if (link || wanted.text === state.text) {
    missing.push(...[...(link || state).pinned, current, key]
      .filter(position => position !== null && moved(position) === undefined)
      .map(position => (link ? `token ${position}` : `the token “${tokens[position].readable}”`)));
  }
  if (pinned.length > most) missing.push(`more than ${most} pinned tokens`);
  if (link && link.ids && link.ids !== idsOf(found.tokens)) {
    missing.push("the token ids (the text is cut into others)");
  }
  const words = found.tokens.filter(each => !each.special && /\p{L}/u.test(each.word));
  Object.assign(state, wanted, {
    site: known("site", found.sites, found.sites[0]),
    matrix: known("matrix", found.matrices, found.matrices[0]),
    form: known("form", found.forms, "cosine"),
    pinned: pinned.slice(0, most),
    current: endingAt(end, found.tokens) ?? all(current === null ? [] : [current])[0]
      ?? (words.pop() || found.tokens[found.tokens.length - 1]).position,
    key: all(key === null ? [] : [key])[0] ?? null,
    cell: link || !tokens.length ? state.cell : [moved(state.cell[0]) ?? 0, state.cell[1]],
  });
  if (!found.sites.includes(state.site)) state.site = found.sites[0];
  if (!found.matrices.includes(state.matrix)) state.matrix = found.matrices[0];
  if (!found.forms.includes(state.form)) state.form = "cosine";
  comparable = found.forms.length > 1 || found.control !== null;
  const offered = {positional: found.positional, as_published: found.as_published, reference: comparable};
  for (const key of SWITCHES) {
    if (link && key in link) state[key] = link[key];
    if (key !== "reference") state[key] &&= offered[key]; // which is wanted of the next model too
    $(key).closest("label").hidden = !offered[key];
  }
  options($("form"), found.forms, found.forms.map(name => FORMS[name]));
  tokens = found.tokens;
  options($("site"), found.sites);
  options($("matrix"), found.matrices, found.matrices.map(name => MATRICES[name]));
  $("tied").textContent = found.tied ? "The model's unembedding is its input embedding."
    : found.matrices.includes("unembedding") ? ""
      : "The weights have no unembedding, so that the own token cannot be read.";
  for (const id of ["cut", "paths", "panels", "keep"]) $(id).hidden = false;
  $("file").hidden = true;
  keeping.serial++; // an answer on the text before is none on this one
  if (link) shownPanels.follow(link);
  showTokens();
}

// Where a token is in another list: in the same text by its last character, however that is cut, in
// another one at the same place; undefined where it is not.
function sameToken(token, others, isSameText) {
  const there = others[token.position], [start, end] = token.ends;
  if (there?.entry === token.entry && (!isSameText || String(there.ends) === String(token.ends))) return there.position;
  if (!isSameText) return undefined;
  return start < end ? endingAt(end, others)
    : others.findLast(({ends: [from, to], entry}) => from === to && entry === token.entry)?.position;
}

// The position of the token that has the character before such an end; undefined without one.
const endingAt = (end, tokens) => (end === null ? undefined
  : tokens.findLast(({ends: [from, to]}) => from < end && end <= to)?.position);

function showTokens() {
  say($("pin-problem"), "");
  const {current} = state;
  replaceTokens($("tokens"), tokens.map(each =>
    tokenButton(each, each.position === current, state.pinned.includes(each.position), choose)));
  $("unpin").hidden = state.pinned.length < 2;
  const named = tokens[current].readable;
  $("pin").textContent = state.pinned.includes(current) ? `Unpin “${named}”` : `Pin “${named}”`;
}

function tokenButton(each, current, pinned, choose) {
  const button = element("button", each.readable || "∅", {type: "button",
    title: `${each.entry} · position ${each.position} · id ${each.id}${each.special ? " · special" : ""}`});
  button.dataset.position = String(each.position);
  button.dataset.id = String(each.id);
  button.classList.toggle("special", each.special);
  button.classList.toggle("spaced", isSpaced(each.entry));
  button.classList.toggle("pinned", pinned);
  button.setAttribute("aria-pressed", String(pinned || current));
  if (current) button.setAttribute("aria-current", "true");
  button.addEventListener("click", event => choose(each.position, event.shiftKey));
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

function choose(position, isEnd = false) {
  if (isEnd) { // of a span, which begins at the token before
    const [first, last] = [state.current, position].sort((a, b) => a - b);
    const span = tokens.slice(first, last + 1).map(each => each.position), all = new Set([...state.pinned, ...span]);
    if (all.size > choices.most_shown) {
      return say($("pin-problem"), `The span and what is pinned are ${all.size} tokens.\nHint: up to ${choices.most_shown} can be compared.`);
    }
    state.pinned = [...all].filter(each => each !== position);
  }
  state.current = position;
  showTokens();
  return attempt("computing …", showPaths);
}

function unpin() {
  state.pinned = [];
  showTokens();
  return attempt("computing …", showPaths);
}

function pin() {
  const {current, pinned} = state;
  if (pinned.includes(current)) state.pinned = pinned.filter(each => each !== current);
  else if (pinned.length < choices.most_shown - 1) state.pinned = [...pinned, current];
  else return say($("pin-problem"), `${pinned.length} tokens are pinned.\nHint: unpin one of them first.`);
  showTokens();
  return attempt("computing …", showPaths);
}

// The path of tokens

async function showPaths(late) {
  $("site").value = state.site;
  $("matrix").value = state.matrix;
  $("form").value = state.form;
  for (const key of SWITCHES) {
    const fits = !FITS[key] || FITS[key]();
    $(key).checked = state[key] && fits;
    $(key).disabled = !fits;
    $(key).closest("label").title = fits ? "" : ONLY[key];
  }
  $("progress").textContent = "";
  writeLink();
  shownPanels.wait();
  if (state.form !== "cosine" && await compare(late, "form", top.status) === null) return;
  const asked = chosen(), listed = ask("nearest", asked), drawn = ask("figures", asked);
  drawn.catch(() => {}); // where the lists have the same problem, that says it
  const lists = await listed;
  if (late()) return;
  $("lists").replaceChildren(...lists.tokens.map(list));
  document.body.dataset.lists = asked.positions.join(",");
  await showFigures(late, drawn);
  if (!late()) shownPanels.refresh();
}

async function showFigures(late, drawn) {
  const {figures} = await drawn;
  if (late()) return;
  await drawAll(figures, late, $("figures"));
  if (late()) return;
  document.body.dataset.reference = String(state.reference && compared === comparison());
  document.body.dataset.figures = shown().join(",");
}

const isSpaced = entry => /^[Ġ▁]./u.test(entry); // two entries may differ in the space alone
// What would be zeros alone, as small probabilities, has its size.
const short = value => (value > 0 && value < 0.005 ? value.toExponential(1) : decimals(value, 2));
const decimals = (value, digits) => (value === null ? "–" : value.toFixed(digits).replace(/^-(0\.0*)$/, "$1"));

// Entries with their scores; of two directions of writing none turns the row around.
function scored(entries, own = null) {
  return entries.flatMap(([word, score, entry], i) => {
    const one = element("bdi", word, {title: entry});
    one.classList.toggle("own", entry === own);
    one.classList.toggle("spaced", isSpaced(entry));
    return [...(i ? [" · "] : []), one, " ", element("small", short(score))];
  });
}

function list(each) {
  const article = element("article", undefined, {className: "list"});
  article.dataset.position = String(each.position);
  const table = element("table");
  const head = element("tr");
  const published = each.layers.some(row => row.published[1] !== null);
  const beside = published ? ["published cosine", "published rank"] : [];
  const cosine = state.form === "cosine" ? "cosine" : `${state.form} cosine`;
  head.append(...["layer", cosine, "rank", ...beside, "nearest entries"].map(name => element("th", name)));
  const body = element("tbody");
  for (const row of each.layers) {
    const line = element("tr");
    const words = element("td");
    words.append(...scored(row.nearest, each.entry));
    const pairs = [[row.cosine, row.rank], ...(published ? [row.published] : [])];
    line.append(element("td", String(row.layer)), ...pairs.flatMap(([cosine, rank]) =>
      [decimals(cosine, 3), rank === null ? "–" : rank.toLocaleString("en")].map(text => element("td", text))), words);
    body.append(line);
  }
  const top = element("thead");
  top.append(head);
  table.append(top, body);
  const scroll = element("div", undefined, {className: "scroll", tabIndex: 0});
  scroll.append(table);
  const title = element("h3", undefined, {title: each.entry});
  const word = element("bdi", each.readable);
  word.classList.toggle("spaced", isSpaced(each.entry));
  title.append(word, ` (position ${each.position})`);
  article.append(title, scroll);
  return article;
}

// The figures of an area, all at once and in their order.
async function drawAll(figures, late, into) {
  const drawn = await Promise.all(figures.map(draw));
  if (late()) return drawn.forEach(each => each.made.finalize());
  for (const old of into.children) old.made.finalize();
  into.replaceChildren(...drawn);
}

async function draw({name, spec, csv}) {
  await vega;
  const place = element("div");
  const made = await window.vegaEmbed(place, spec, {mode: "vega-lite", ast: true, renderer: "canvas",
    actions: false, defaultStyle: false, tooltip: {disableDefaultStyle: true}});
  const figure = element("figure", undefined, {id: `figure-${name}`, made});
  const caption = element("figcaption");
  figure.classList.toggle("wide", (spec.hconcat || []).length > 1);
  const file = fileName(name);
  caption.append(
    download("SVG", `${file}.svg`, async () => new Blob([await made.view.toSVG()], {type: "image/svg+xml"})),
    download("PNG", `${file}.png`, async () => {
      const canvas = await made.view.toCanvas(2);
      return new Promise(done => canvas.toBlob(done, "image/png"));
    }),
    download("CSV", `${file}.csv`, async () => new Blob([csv], {type: "text/csv"})));
  figure.append(place, caption);
  return figure;
}

// Letters and numbers of what is shown, so that every file system takes it.
function fileName(figure) {
  const words = text => text.replaceAll(/[^\p{L}\p{N}._]+/gu, " ").trim().split(" ").join("-");
  return [state.model, state.checkpoint, words(state.text).slice(0, 40), figure].map(words).join("_");
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

// Keeping

function keep(write) {
  const name = $("name").value;
  $("file").hidden = true;
  return attempt("", async late => {
    if ($("text").value !== state.text) {
      throw new Problem("The text above is not the one that is shown.\nHint: press Enter in it first.");
    }
    const found = await ask("experiment", {name, write, ...shownPanels.kept()});
    if (late()) return;
    $("content").textContent = found.content;
    $("entry").textContent = found.entry;
    $("path").textContent = found.path;
    $("file").hidden = false;
    if (found.written) setTimeout(() => { $("kept").textContent = `Written: ${found.written}`; });
    else if (found.taken.length) say($("keep-problem"), `Not free: ${found.taken.join(", and ")}.\nHint: choose another name.`);
  }, keeping);
}

async function copy(text, copied, otherwise) {
  try {
    await navigator.clipboard.writeText(text);
    $("kept").textContent = copied;
  } catch (error) {
    $("kept").textContent = otherwise;
  }
}

const shownPanels = panels({state, tokens: () => tokens, ask, attempt, element, options, draw: drawAll, scored, tokenButton, replaceTokens,
  writeLink, sameToken, endingAt, sayMissing, fillTexts, chosen});

const showKeptText = () => (tokens.length || $("text").value.trim() ? load() : undefined);

// A menu of the texts of each experiment, of which a search leaves those that have all its words.
function fillTexts(menu, search) {
  const [own] = menu.children, named = own.textContent;
  const fill = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const groups = textGroups(name => words.every(word => name.toLowerCase().includes(word)));
    const n = groups.reduce((sum, group) => sum + group.children.length, 0);
    own.textContent = words.length ? `found: ${n}` : named;
    menu.replaceChildren(own, ...groups);
  };
  search.addEventListener("input", fill);
  search.addEventListener("keydown", event => {
    if (event.key !== "Enter") return; // which would show the text above
    event.preventDefault();
    menu.focus();
  });
  fill();
}

function textGroups(isWanted) {
  return choices.texts.map(({experiment, special_tokens, prompts}) => {
    const wanted = prompts.filter(([label, text]) => isWanted(`${experiment} ${label} ${text}`));
    return {experiment, special_tokens, prompts: wanted};
  }).filter(({prompts}) => prompts.length).map(({experiment, special_tokens, prompts}) => {
    const group = element("optgroup", undefined, {label: experiment});
    group.dataset.special = special_tokens;
    group.append(...prompts.map(([label, text, end]) => {
      const option = element("option", `${label}: ${text.length > 50 ? `${text.slice(0, 49)}…` : text}`, {value: text});
      option.end = end;
      return option;
    }));
    return group;
  });
}

async function start() {
  ({token = ""} = readLink());
  await attempt("asking for the models …", async () => {
    choices = await ask("choices");
    options($("model"), choices.models.map(model => model.name));
    fillTexts($("texts"), $("search"));
    shownPanels.start();
  }, loading);
  addEventListener("hashchange", () => (choices ? follow() : location.reload()));
  if (!choices) return;
  $("ask").addEventListener("submit", event => { event.preventDefault(); load(); });
  $("text").addEventListener("keydown", event => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      load();
    }
  });
  $("text").addEventListener("input", () => {
    $("texts").value = "";
    if ($("text").value === state.text) showWhetherStale();
  });
  $("texts").addEventListener("change", () => {
    if (!$("texts").value) return;
    $("text").value = $("texts").value;
    const [option] = $("texts").selectedOptions;
    $("special").value = option.parentElement.dataset.special;
    load(null, undefined, undefined, option.end);
  });
  const chooseModel = () => {
    const model = $("model").value, checkpoints = checkpointsOf(model), before = $("step").textContent;
    const checkpoint = checkpoints.includes(before) ? before : checkpoints[checkpoints.length - 1];
    showControls({model, checkpoint, special: $("special").value});
    return showKeptText();
  };
  $("model").addEventListener("change", chooseModel);
  $("checkpoint").addEventListener("input", () => {
    $("step").textContent = checkpointsOf($("model").value)[Number($("checkpoint").value)];
  });
  $("checkpoint").addEventListener("change", showKeptText);
  $("special").addEventListener("change", showKeptText);
  for (const id of ["site", "matrix", "form", ...SWITCHES]) {
    $(id).addEventListener("change", () => {
      state[id] = SWITCHES.includes(id) ? $(id).checked : $(id).value;
      attempt("computing …", showPaths);
    });
  }
  $("pin").addEventListener("click", pin);
  $("unpin").addEventListener("click", unpin);
  $("show").addEventListener("click", () => keep(false));
  $("write").addEventListener("click", () => keep(true));
  $("name").addEventListener("input", () => { if (!$("file").hidden || !$("keep-problem").hidden) keep(false); });
  $("copy-entry").addEventListener("click", () =>
    copy($("entry").textContent, "The entry is copied.", "The browser does not let this page copy."));
  $("copy").addEventListener("click", () => {
    writeLink();
    copy(location.href, "The link is copied. It is good while this server runs.", "The link is the address of this page.");
  });
  document.body.dataset.ready = "true";
  await follow();
}

start();
