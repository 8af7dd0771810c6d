"use strict";

// --- what is shown: no document needed ----------------------------------------------------------

/** What a cell says. */
function textOf(column, row) {
  const value = column.values[row];
  if (value === null || value === -1 && column.texts) return "";
  if (column.texts) return column.texts[value];
  return column.digits === null ? String(value) : value.toFixed(column.digits);
}

/** For each text column, whether each of its texts holds a term. */
function textsWith(columns, term) {
  return columns
    .filter((column) => column.texts)
    .map((column) => ({
      values: column.values,
      holds: column.texts.map((text) => text.toLowerCase().includes(term)),
    }));
}

/** The rows that hold every searched term and every choice, in the order that was asked for. */
function rowsOf(sheet, state) {
  const terms = state.search.toLowerCase().split(/\s+/).filter(Boolean);
  const found = terms.map((term) => textsWith(sheet.columns, term));
  const chosen = Object.entries(state.choices).map(([at, value]) => [sheet.columns[at].values, value]);
  let rows = [];
  for (let row = 0; row < sheet.rows; row++) {
    if (
      chosen.every(([values, value]) => values[row] === value) &&
      found.every((columns) => columns.some(({ values, holds }) => holds[values[row]]))
    ) rows.push(row);
  }
  return state.sort ? sorted(rows, sheet.columns[state.sort.column], state.sort.down) : rows;
}

/** Rows by one column; empty cells last, and equal ones in the order of the sheet. */
function sorted(rows, column, down) {
  let key = (row) => column.values[row];
  if (column.texts) {
    const order = new Intl.Collator("en", { numeric: true });
    const places = column.texts.map((_, code) => code);
    places.sort((a, b) => order.compare(column.texts[a], column.texts[b]) || a - b);
    const rank = [];
    places.forEach((code, place) => { rank[code] = column.texts[code] === "" ? null : place; });
    key = (row) => rank[column.values[row]] ?? null;
  }
  const sign = down ? -1 : 1;
  return rows.sort((a, b) => {
    const x = key(a), y = key(b);
    if (x === null || y === null) return (x === null) - (y === null) || a - b;
    return sign * (x - y) || a - b;
  });
}

/** The values to choose from, as [value, what it says]. */
function choicesOf(column) {
  if (column.texts) return column.texts.map((text, code) => [code, text]).filter(([, text]) => text);
  return [...new Set(column.values)].filter((v) => v !== null).sort((a, b) => a - b).map((v) => [v, String(v)]);
}

/** The colour of a cell, or "". */
function tintOf(column, row) {
  let share = column.shade ? column.shade[row] : null;
  if (column.scale && column.values[row] !== null) {
    const [low, high] = column.scale;
    share = low < 0 ? column.values[row] / high : (column.values[row] - low) / (high - low);
  }
  if (!share) return "";
  const strength = (0.65 * Math.min(1, Math.abs(share))).toFixed(3);
  return `rgba(var(--${share < 0 ? "down" : "up"}), ${strength})`;
}

// --- the page -----------------------------------------------------------------------------------

const MOST_PIXELS = 8e6; // browsers stop at 17 or 33 million
const MOST_PRINTED = 2000;

function start(data) {
  const at = (id) => document.getElementById(id);
  const [view, table, tools, detail] = ["view", "table", "tools", "detail"].map(at);
  let sheet, state, rows, height, active, body, top, bottom, drawn;

  function element(name, properties, ...children) {
    const made = Object.assign(document.createElement(name), properties);
    made.append(...children);
    return made;
  }

  function open(index) {
    sheet = data.sheets[index];
    state = { search: "", choices: {}, sort: null };
    tools.reset();
    [...at("tabs").children].forEach((tab, i) => {
      tab.setAttribute("aria-selected", i === index);
      tab.tabIndex = i === index ? 0 : -1;
    });
    view.setAttribute("aria-label", sheet.name);
    at("note").textContent = sheet.note;
    at("choices").replaceChildren(
      ...sheet.columns.flatMap((column, i) => (column.choices ? [choice(column, i)] : [])),
    );
    height = sheet.lines * 18 + 7;
    table.className = sheet.lines > 1 ? "tall" : "";
    table.style.setProperty("--lines", sheet.lines);
    build();
    select();
  }

  function choice(column, i) {
    const options = choicesOf(column).map(([value, text]) => element("option", { value, textContent: text }));
    const menu = element("select", {}, element("option", { value: "", textContent: "all" }), ...options);
    menu.addEventListener("change", () => {
      if (menu.value === "") delete state.choices[i];
      else state.choices[i] = Number(menu.value);
      select();
    });
    return element("label", {}, column.name, menu);
  }

  function build() {
    const pixels = sheet.columns.map((column) => Math.round(column.width * 7.5 + 16));
    let left = 0;
    const head = element("tr", {});
    sheet.columns.forEach((column, i) => {
      const button = element("button", { type: "button", textContent: column.name, title: column.meaning });
      button.addEventListener("click", () => sortBy(i));
      const cell = element("th", { scope: "col" }, button);
      freeze(cell, i, left);
      column.left = left;
      left += pixels[i];
      head.append(cell);
    });
    const widths = pixels.map((width) => {
      const col = element("col", {});
      col.style.width = `${width}px`;
      return col;
    });
    body = element("tbody", {});
    [top, bottom] = [0, 1].map(() => element("tr", { className: "gap", ariaHidden: "true" }, element("td", {})));
    table.style.width = `${left}px`;
    table.replaceChildren(element("colgroup", {}, ...widths), element("thead", {}, head), body);
  }

  function freeze(cell, i, left) {
    if (i >= sheet.frozen) return;
    cell.classList.add("frozen");
    cell.style.left = `${left}px`;
  }

  function sortBy(column) {
    const was = state.sort && state.sort.column === column ? state.sort : null;
    state.sort = !was ? { column, down: false } : was.down ? null : { column, down: true };
    [...table.tHead.rows[0].cells].forEach((cell, i) => {
      const sorting = state.sort && state.sort.column === i;
      if (sorting) cell.setAttribute("aria-sort", state.sort.down ? "descending" : "ascending");
      else cell.removeAttribute("aria-sort");
    });
    select();
  }

  function select() {
    rows = rowsOf(sheet, state);
    const [shown, all] = [rows.length, sheet.rows].map((n) => n.toLocaleString("en"));
    at("count").textContent = shown === all ? `${all} rows` : `${shown} of ${all} rows`;
    table.setAttribute("aria-rowcount", rows.length + 1);
    show(null);
    view.scrollTop = 0;
    drawn = null;
    draw();
  }

  // Only the rows that can be seen are there; two empty rows take the place of the others.
  function draw() {
    const fitting = Math.ceil(view.clientHeight / height);
    const total = Math.min(rows.length * height, MOST_PIXELS);
    const squeezed = total < rows.length * height;
    const share = view.scrollTop / Math.max(1, total - view.clientHeight + 50);
    const seen = squeezed ? share * (rows.length - fitting) : view.scrollTop / height;
    const from = Math.max(0, Math.min(Math.floor(seen) - 10, rows.length - fitting));
    const to = Math.min(rows.length, from + fitting + 20);
    if (drawn && drawn[0] === from && drawn[1] === to && !squeezed) return;
    drawn = [from, to];
    const above = squeezed ? Math.max(0, view.scrollTop - (seen - from) * height) : from * height;
    fill(from, to, above, Math.max(0, total - above - (to - from) * height));
  }

  function fill(from, to, above, below) {
    top.style.setProperty("--gap", `${above}px`);
    bottom.style.setProperty("--gap", `${below}px`);
    body.replaceChildren(top, ...rows.slice(from, to).map((row, i) => line(row, from + i)), bottom);
  }

  function line(row, place) {
    const made = element("tr", { className: place === active ? "active" : "" });
    made.setAttribute("aria-rowindex", place + 2);
    made.dataset.place = place;
    sheet.columns.forEach((column, i) => {
      const text = textOf(column, row);
      const cell = element("td", {}, element("div", { textContent: text }));
      const biased = text.startsWith(data.high_bias);
      if (biased) cell.className = "grey";
      else if (!column.texts) cell.className = "number";
      freeze(cell, i, column.left);
      const tint = tintOf(column, row);
      if (tint && !biased) cell.style.backgroundImage = `linear-gradient(${tint}, ${tint})`;
      made.append(cell);
    });
    return made;
  }

  // A row that is pointed at is shown whole below the table.
  function show(place) {
    active = place;
    detail.hidden = place === null;
    for (const made of table.querySelectorAll("tr[data-place]")) {
      made.classList.toggle("active", Number(made.dataset.place) === place);
    }
    if (place === null) return;
    const pairs = sheet.columns.flatMap((column) => {
      const text = textOf(column, rows[place]);
      return text ? [element("dt", { textContent: column.name }), element("dd", { textContent: text })] : [];
    });
    detail.replaceChildren(element("dl", {}, ...pairs));
  }

  function move(place) {
    if (!rows.length) return;
    place = Math.max(0, Math.min(rows.length - 1, place));
    show(place);
    const total = Math.min(rows.length * height, MOST_PIXELS);
    const y = (place / rows.length) * total;
    const visible = view.clientHeight - table.tHead.offsetHeight - height;
    if (y < view.scrollTop) view.scrollTop = y;
    if (y > view.scrollTop + visible) view.scrollTop = y - visible;
    drawn = null;
    draw();
  }

  data.sheets.forEach((one, i) => {
    const tab = element("button", { type: "button", textContent: one.name });
    tab.setAttribute("role", "tab");
    tab.setAttribute("aria-controls", "view");
    tab.addEventListener("click", () => open(i));
    at("tabs").append(tab);
  });
  at("tabs").addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const next = (data.sheets.indexOf(sheet) + step + data.sheets.length) % data.sheets.length;
    open(next);
    at("tabs").children[next].focus();
  });
  let waiting;
  at("search").addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => { state.search = at("search").value; select(); }, 120);
  });
  tools.addEventListener("submit", (event) => event.preventDefault());
  at("all").addEventListener("click", () => open(data.sheets.indexOf(sheet)));
  table.addEventListener("click", (event) => {
    const row = event.target.closest("tr[data-place]");
    if (row) show(Number(row.dataset.place) === active ? null : Number(row.dataset.place));
  });
  document.addEventListener("keydown", (event) => {
    const typing = /^(INPUT|SELECT)$/.test(event.target.tagName);
    if (event.key === "/" && !typing) { event.preventDefault(); at("search").focus(); }
    if (event.key === "Escape") show(null);
  });
  view.addEventListener("keydown", (event) => {
    if (event.target !== view) return;
    const page = Math.max(1, Math.floor(view.clientHeight / height) - 2);
    const here = active ?? -1;
    const goal = {
      ArrowDown: here + 1, ArrowUp: here - 1, PageDown: here + page, PageUp: here - page,
      Home: 0, End: rows.length - 1,
    }[event.key];
    if (goal === undefined) return;
    event.preventDefault();
    move(goal);
  });
  view.addEventListener("scroll", () => requestAnimationFrame(draw));
  addEventListener("resize", () => { drawn = null; draw(); });
  addEventListener("beforeprint", () => {
    const printed = Math.min(rows.length, MOST_PRINTED);
    if (printed < rows.length) {
      at("note").textContent =
        `${sheet.note} The first ${printed.toLocaleString("en")} rows are printed; choose fewer to print others.`;
    }
    fill(0, printed, 0, 0);
  });
  addEventListener("afterprint", () => { at("note").textContent = sheet.note; drawn = null; draw(); });
  open(data.first);
}

if (globalThis.document) start(JSON.parse(document.getElementById("data").textContent));
