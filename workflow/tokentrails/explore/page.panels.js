// Panels that are opened on demand, each with its own status and problem.

const $ = id => document.getElementById(id);

export function panels({state, tokens, ask, attempt, element, draw, scored, tokenButton, replaceTokens, options,
  writeLink, sameToken, endingAt, sayMissing, fillTexts, chosen}) {
  let ready = false, others = [], cut = "", cutText = "", aim = null;

  // `place` is what it shows, which goes away with a problem.
  function panel(id, place, work, detail = id) {
    const details = $(id);
    const [status, problem] = details.querySelectorAll(".status, .problem");
    const at = {serial: 0, status, problem, area: details};
    const clean = async (task, late) => {
      try {
        await task(late);
      } catch (error) {
        if (!late()) $(place).hidden = true;
        throw error;
      }
    };
    const show = (words = "computing …", task = work) =>
      (ready && details.open ? attempt(words, late => clean(task, late), at) : undefined);
    details.addEventListener("toggle", () => {
      const open = state.open.filter(each => each !== id);
      state.open = details.open ? [...open, id] : open;
      writeLink();
      show();
    });
    // What is shown of a part of the panel.
    show.part = work => attempt("", work, show.detail);
    show.detail = {serial: 0, status, problem, area: $(detail)};
    return show;
  }

  const textKey = text => [state.model, state.checkpoint, state.special, text].join("\n");

  // Two texts

  let outdated = false; // by chance or a control that came meanwhile

  const showTwo = panel("two", "two-figure", async late => {
    outdated = false;
    if (!state.other.trim()) return;
    const missing = [], wanted = textKey(state.other);
    if (cut !== wanted) {
      const found = await ask("tokens", {text: state.other});
      if (late()) return;
      $("keep-pair").hidden = false;
      const before = cutText === state.other ? others[state.place] : undefined; // cut otherwise
      if (before) state.place = sameToken(before, found.tokens, true) ?? null;
      if (before && state.place === null) missing.push(`the token “${before.readable}” of the second text`);
      [others, cut, cutText] = [found.tokens, wanted, state.other];
    }
    if (state.place !== null && !(state.place in others)) missing.push(`token ${state.place} of the second text`);
    if (!(state.place in others)) state.place = alike();
    showOthers();
    writeLink();
    const {figures} = await ask("two_texts", {...chosen(), ...pairOf()});
    if (late()) return;
    $("two-figure").hidden = false;
    await draw(figures, late, $("two-figure"));
    $("two").dataset.shown = `${state.current},${state.place},${state.both}`;
    sayMissing(missing, $("two").querySelector(".problem"));
    if (outdated) showTwo();
  });

  const pairOf = () => ({position: state.current, other: state.other, place: state.place,
    control: state.both ? state.control : ""});

  // The target of an experiment's text, the same token, or the last one of a word.
  function alike() {
    const own = document.querySelector("#tokens [aria-current]");
    const same = others.find(each => own && String(each.id) === own.dataset.id);
    const words = others.filter(each => !each.special && /\p{L}/u.test(each.word));
    return endingAt(aim, others) ?? (same || words[words.length - 1] || others[others.length - 1]).position;
  }

  function showOthers() {
    const choose = position => {
      state.place = position;
      showOthers();
      showTwo();
    };
    replaceTokens($("other-tokens"), others.map(each =>
      tokenButton(each, each.position === state.place, false, choose)));
    $("other-cut").hidden = false;
  }

  function showOther(text, place = null, end = null) {
    aim = end;
    Object.assign(state, {other: text, place});
    $("other").value = text;
    return showTwo();
  }

  const replaceWord = () => showTwo("replacing …", async late => {
    const found = await ask("control", {position: state.current, control: state.control});
    if (late()) return;
    const before = $("other").value;
    if (before.trim() && before !== found.text) {
      Object.assign($("before"), {hidden: false, onclick: () => { $("before").hidden = true; showOther(before); }});
    }
    state.both = $("both").checked = false; // the control is in one of them already
    showOther(found.text, found.position);
  });

  function startTwo() {
    fillTexts($("other-texts"), $("other-search"));
    $("other-form").addEventListener("submit", event => {
      event.preventDefault();
      showOther($("other").value);
    });
    $("other").addEventListener("keydown", event => {
      if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
        event.preventDefault();
        showOther($("other").value);
      }
    });
    $("other-texts").addEventListener("change", () => {
      const [option] = $("other-texts").selectedOptions;
      if (option.value) showOther(option.value, null, option.end);
    });
    $("control").addEventListener("input", () => { state.control = $("control").value.trim(); });
    $("control").addEventListener("change", () => { if (state.both) showTwo(); });
    $("replace").addEventListener("click", replaceWord);
    $("both").addEventListener("change", () => {
      state.both = $("both").checked;
      showTwo();
    });
  }

  // Tables of words with their scores

  function words(list) {
    const cell = element("td");
    cell.append(...scored(list));
    return cell;
  }

  function table(names, lines) {
    const head = element("tr"), top = element("thead"), body = element("tbody");
    head.append(...names.map(name => element("th", name)));
    top.append(head);
    body.append(...lines.map(cells => {
      const line = element("tr");
      line.append(...cells.map(each => (typeof each === "string" ? element("td", each) : each)));
      return line;
    }));
    const scroll = element("div", undefined, {className: "scroll list", tabIndex: 0});
    const made = element("table");
    made.append(top, body);
    scroll.append(made);
    return scroll;
  }

  // A figure whose cells are chosen with the mouse, and with the arrow keys.

  function grid(area, label, isCell, isChosen, choose) {
    const {made: {view}, firstChild: place} = area.firstChild;
    const cells = [], marker = element("div", undefined, {className: "marker"});
    const collect = (mark, x, y) => mark.items.forEach(item => {
      if (mark.marktype === "group") item.items.forEach(each => collect(each, x + item.x, y + item.y));
      else if (mark.marktype === "rect" && item.datum && isCell(item.datum)) {
        const {x1, y1, x2, y2} = item.bounds;
        cells.push({datum: item.datum, left: x + x1, top: y + y1, right: x + x2, bottom: y + y2});
      }
    });
    const {left, top} = view.padding(), [x, y] = view.origin();
    collect(view.scenegraph().root, left + x, top + y);
    const canvas = place.querySelector("canvas");
    let chosen, waiting;
    const show = cell => {
      chosen = cell;
      Object.assign(marker.style, {left: `${canvas.offsetLeft + cell.left}px`,
        top: `${canvas.offsetTop + cell.top}px`, width: `${cell.right - cell.left}px`,
        height: `${cell.bottom - cell.top}px`});
    };
    const take = cell => {
      if (!cell) return;
      show(cell);
      clearTimeout(waiting); // a key that is held down asks once
      waiting = setTimeout(() => choose(cell.datum), 80);
    };
    place.classList.add("grid");
    place.tabIndex = 0;
    place.setAttribute("role", "application");
    place.setAttribute("aria-label", label);
    place.append(marker);
    place.addEventListener("click", event => {
      const box = canvas.getBoundingClientRect();
      const [x, y] = [event.clientX - box.left, event.clientY - box.top];
      take(cells.find(cell => cell.left <= x && x < cell.right && cell.top <= y && y < cell.bottom));
    });
    place.addEventListener("keydown", event => {
      const found = {ArrowLeft: ["right", "left", -1], ArrowRight: ["left", "right", 1],
        ArrowUp: ["bottom", "top", -1], ArrowDown: ["top", "bottom", 1]}[event.key];
      if (!found) return;
      event.preventDefault();
      const [near, far, sign] = found;
      const across = near === "left" || near === "right" ? "top" : "left";
      const ahead = cell => sign * (cell[near] - chosen[far]);
      const distance = cell => ahead(cell) + 4 * Math.abs(cell[across] - chosen[across]);
      take(cells.filter(cell => cell !== chosen && ahead(cell) > -2)
        .sort((a, b) => distance(a) - distance(b))[0]);
    });
    show(cells.find(cell => isChosen(cell.datum)) || cells[0]);
    return chosen.datum;
  }

  // Heads and neurons

  const showInside = panel("inside", "inside-found", async late => {
    const position = state.current;
    const {figures} = await ask("heads", {position, key: state.key});
    if (late()) return;
    $("inside-found").hidden = false;
    const names = tokens().map(each => `${each.readable} (position ${each.position})`);
    options($("key"), ["", ...names.keys()], ["the token with most", ...names]);
    $("key").value = state.key ?? "";
    await draw(figures, late, $("heads-figure"));
    if (late()) return;
    const [layer, head] = state.head;
    const first = grid($("heads-figure"), "Attention by layer and head", datum => "head" in datum,
      datum => datum.layer === layer && datum.head === head,
      datum => {
        state.head = [datum.layer, datum.head];
        showInside.part(showHead);
      });
    state.head = [first.layer, first.head];
    await showHead(late);
    if (late()) return;
    const found = await ask("attribution", {position});
    if (late()) return;
    $("parts").textContent = `Most: ${found.parts.map(each =>
      `layer ${each.layer} ${PARTS[each.part]}${each.head ?? ""} ${signed(each.contribution)}`).join(" · ")}`;
    await draw(found.figures, late, $("parts-figure"));
    if (!late()) $("inside").dataset.shown = `${position},${state.head}`;
  }, "head");

  const PARTS = {head: "head ", mlp: "MLP", attention_bias: "attention bias", attention_norm: "attention norm",
    mlp_norm: "MLP norm"};
  const signed = value => (value < 0 ? "−" : "+") + Math.abs(value).toFixed(4);

  async function showHead(late) {
    writeLink();
    const [layer, head] = state.head, position = state.current;
    const found = await ask("head", {position, layer, head});
    if (late() || position !== state.current || `${[layer, head]}` !== `${state.head}`) return;
    const neurons = found.neurons
      ? table(["neuron", "activation", "adds (length)", "vector", "nearest words"],
        found.neurons.flatMap(each => each.lists.map((list, i) => [
          i ? "" : String(each.neuron), i ? "" : each.activation.toFixed(2),
          i ? "" : each.contribution.toFixed(2), `${list.name} (${list.space.replace("_", " ")})`,
          words(list.words)])))
      : element("p", "The MLPs of this model are experts, whose neurons are not listed.", {className: "note"});
    const more = found.of > found.attended.length ? `, the first ${found.attended.length} of ${found.of}` : "";
    $("head").replaceChildren(
      element("h3", `Layer ${layer}, head ${head}`),
      table([`attends to${more}`, "weight", `message (${found.space})`], found.attended.map(each => [
        `${each.readable} (${each.position})`, each.weight.toFixed(3), words(each.words)])),
      table(["the token", "compared with", "nearest words"], found.lists.map(each => [
        each.name, each.space.replace("_", " "), words(each.words)])),
      element("h3", `Strongest neurons of layer ${layer}`), neurons,
      element("p", `Listed here: only ${found.listed}.`, {className: "note"}));
    $("head").dataset.shown = `${position},${layer},${head}`;
  }

  // Words by layer

  let evolved = "";
  const ended = of => `most probable of ${of}, if the model ended here`;
  const LISTS = {embedding: of => `nearest embeddings of ${of}, by cosine`, unembedding: ended};
  const nameOf = ({name, space}, listed) => ({predicted: "predicted by the model, of all entries",
    most: ended("all entries"), state: LISTS[space](listed)})[name];

  const showEvolution = panel("evolution", "evolution-found", async late => {
    const wanted = textKey(state.text);
    if (evolved === wanted) return;
    evolved = "";
    const {figures} = await ask("evolution", {position: state.current});
    if (late()) return;
    $("evolution-found").hidden = false;
    await draw(figures, late, $("evolution-figure"));
    if (late()) return;
    evolved = wanted;
    const [position, layer] = state.cell;
    const first = grid($("evolution-figure"), "Words by token and layer", datum => "nearest" in datum,
      datum => datum.position === position && datum.layer === layer && !datum.predicted,
      datum => {
        state.cell = [datum.position, datum.layer];
        showEvolution.part(showCell);
      });
    state.cell = [first.position, first.layer];
    await showCell(late);
  }, "cell");

  async function showCell(late) {
    writeLink();
    const [position, layer] = state.cell;
    const {lists, listed} = await ask("evolved", {position, layer});
    if (late() || `${[position, layer]}` !== `${state.cell}`) return;
    $("cell").replaceChildren(
      element("h3", `${tokens()[position].readable} (position ${position}), layer ${layer}`),
      table(["list", "words"], lists.map(each => [nameOf(each, listed), words(each.words)])));
    $("cell").dataset.shown = String(state.cell);
  }

  return {
    // Until then what is shown does not fit.
    wait() {
      for (const figure of $("panels").querySelectorAll("figure")) figure.inert = true;
    },
    // What chance and control add, once nothing else is under way.
    compare() {
      outdated = true;
      if ($("two").ariaBusy !== "true") showTwo();
    },
    // What the text, the model or the token changes.
    refresh() {
      ready = true;
      showTwo();
      showInside();
      showEvolution();
    },
    start() {
      startTwo();
      $("key").addEventListener("change", () => {
        state.key = $("key").value === "" ? null : Number($("key").value);
        showInside();
      });
    },
    // What a link has of them.
    follow({other = "", place, control = state.control, both, head, cell, open}) {
      cutText = "";
      Object.assign(state, {other, place, control, both});
      if (head.length === 2) state.head = head;
      if (cell.length === 2) state.cell = cell;
      evolved = "";
      $("other").value = other;
      $("control").value = control;
      $("both").checked = both;
      for (const details of $("panels").children) details.open = open.includes(details.id);
    },
    // What an experiment is to have: of open panels those that had no problem.
    kept() {
      const opened = state.open.filter(id => $(id) && $(id).querySelector(".problem").hidden);
      const pair = $("pair").checked;
      return {opened, pair, ...(pair ? pairOf() : {})};
    },
  };
}
