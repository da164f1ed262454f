(() => {
"use strict";

let page;
const tip = document.getElementById("tip");
const font = "system-ui, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif";
const look = {
  background: null,
  aria: false,
  view: { stroke: null },
  axis: {
    labelColor: "var(--muted)", titleColor: "var(--muted)", domainColor: "var(--line)", tickColor: "var(--line)",
    gridColor: "var(--line)", gridOpacity: 0.6, labelFont: font, titleFont: font, titleFontWeight: "normal",
    labelFontSize: 11, titleFontSize: 11.5, titlePadding: 8,
  },
};

/* What the page carries in a packed form. */
async function unpacked(id) {
  const bytes = Uint8Array.from(atob(document.getElementById(id).textContent), (c) => c.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
}

function number(words) {
  const found = words.match(/^[<+-]?\s*(\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?)/i);
  return found ? Number(found[1].replaceAll(",", "")) * (words.startsWith("-") ? -1 : 1) : NaN;
}

/* An element with attributes and content. */
function make(name, attributes = {}, ...content) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...content);
  return made;
}

const shapes = {
  circle: "M17 2a4 4 0 1 1 0 8a4 4 0 1 1 0-8Z",
  square: "M13.3 2.3h7.4v7.4h-7.4Z",
  "triangle-up": "M17 1.2l4.8 8.6h-9.6Z",
  diamond: "M17 .8l4 5.2l-4 5.2l-4-5.2Z",
  cross: "M15.6 1.5h2.8v3.1h3.1v2.8h-3.1v3.1h-2.8v-3.1h-3.1v-2.8h3.1Z",
  "triangle-down": "M17 10.8l4.8-8.6h-9.6Z",
};

/* How an arm or a generation is drawn. */
function swatch([, colour, shape, dash]) {
  const space = "http://www.w3.org/2000/svg";
  const drawn = document.createElementNS(space, "svg");
  const part = (attributes) => {
    const path = drawn.appendChild(document.createElementNS(space, "path"));
    for (const [key, value] of Object.entries(attributes)) path.setAttribute(key, value);
  };
  for (const [key, value] of Object.entries({ viewBox: "0 0 34 12", class: "swatch", "aria-hidden": "true" })) {
    drawn.setAttribute(key, value);
  }
  part({ d: "M1 6H33", fill: "none", stroke: colour, "stroke-width": 2, "stroke-dasharray": dash.join(" ") });
  if (shape) part({ d: shapes[shape], fill: colour });
  return drawn;
}

function cell(value) {
  if (value === null || value === undefined) return "";
  let words = String(value);
  if (typeof value === "string" && /^\s*[=+\-@]/.test(words)) words = "'" + words;  // no formula for a spreadsheet
  return /[",\n\r]/.test(words) ? `"${words.replaceAll('"', '""')}"` : words;
}

function save(name, rows) {
  const file = new Blob([rows.map((row) => row.map(cell).join(",") + "\n").join("")], { type: "text/csv" });
  const link = document.createElement("a");
  link.href = URL.createObjectURL(file);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

/* Tables: a click on a heading sorts by it, a second one the other way; empty cells stay last. */
function sort(heading) {
  const row = heading.parentElement, place = [...row.children].indexOf(heading);
  const down = heading.getAttribute("aria-sort") === "ascending";
  const table = heading.closest("table"), numbers = table.classList.contains(`n${place + 1}`);
  const key = (line) => numbers ? number(line.cells[place].textContent) : line.cells[place].textContent;
  const missing = (value) => numbers ? isNaN(value) : value === "";
  const compare = ([a], [b]) => {
    if (missing(a) || missing(b)) return missing(a) - missing(b);
    const order = numbers ? a - b : a.localeCompare(b, undefined, { numeric: true });
    return down ? -order : order;
  };
  for (const other of row.children) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", down ? "descending" : "ascending");
  const lines = [...table.tBodies[0].rows].map((line) => [key(line), line]).sort(compare);
  table.tBodies[0].append(...lines.map(([, line]) => line));
}

/* Charts. */
class Figure {
  constructor(element, chart, filter) {
    Object.assign(this, { element, chart, filter, view: null });
    const head = make("div", { class: "head" }, make(`h${element.dataset.level}`, {}, chart.title));
    if (chart.choices.length) {
      this.select = make("select", {}, ...chart.choices.map(([label], place) => make("option", { value: place }, label)));
      this.select.addEventListener("change", () => this.update());
      head.append(make("label", {}, "Show ", this.select));
    }
    this.plot = make("div", { class: "plot", role: "img", "aria-label": `${chart.title}. ${chart.words}` });
    const key = make("ul", { class: "key", "aria-label": "Key" }, ...chart.key.map((look) =>
      make("li", look[4] ? { "data-arm": look[0] } : {}, swatch(look), make("span", { title: look[0] }, look[0]))));
    this.table = make("div", { class: "wide", role: "region", tabindex: "0", "aria-label": `Data of: ${chart.title}` });
    const data = make("details", { class: "data" }, make("summary", {}, `Data (${this.rows.length} rows)`), this.table);
    data.addEventListener("toggle", () => this.tabulate(), { once: true });
    const button = make("button", { type: "button", class: "save" }, "CSV");
    button.addEventListener("click", () => save(chart.file, this.lines()));
    const words = make("p", { class: "note" }, chart.words);
    element.append(head, this.plot, ...(chart.key.length ? [key] : []), make("figcaption", {}, words, data, button));
  }

  get rows() {
    const columns = Object.entries(this.chart.columns);
    return this.kept ??= columns[0][1].map((_, row) => Object.fromEntries(columns.map(([name, of]) => [name, of[row]])));
  }

  get shown() {
    const choice = this.select && this.chart.choices[this.select.value];
    return this.rows.filter((row) => this.filter.passes(row.arm, row.kind) && (!choice || row[choice[1]] === choice[2]));
  }

  lines() {
    const names = Object.keys(this.chart.columns).filter((name) => !name.startsWith("_"));
    return [names, ...this.rows.map((row) => names.map((name) => row[name]))];
  }

  tabulate() {
    const [names, ...rows] = this.lines();
    const told = (value) => typeof value === "number"
      ? make("td", { class: "number" }, `${Number(value.toPrecision(6))}`) : make("td", {}, value ?? "");
    const body = rows.slice(0, 2000).map((row) => make("tr", {}, ...row.map(told)));
    if (rows.length > 2000) body.push(make("tr", {}, make("td", {}, "... the rest is in the CSV")));
    const head = make("tr", {}, ...names.map((name) => make("th", { scope: "col" }, name)));
    this.table.append(make("table", {}, make("thead", {}, head), make("tbody", {}, ...body)));
  }

  async draw() {
    if (this.view || this.element.closest("details:not([open])")) return;
    const limit = Math.max(90, Math.min(260, this.plot.clientWidth / 3));
    const found = await vegaEmbed(this.plot, { ...page.specs[this.chart.spec], datasets: { rows: this.shown } }, {
      mode: "vega-lite", ast: true, actions: false, renderer: "svg", defaultStyle: false, tooltip: say,
      loader: { load: refuse, sanitize: refuse },
      logLevel: 1,  // errors alone: a layer without rows is none
      config: { ...look, axisY: { labelLimit: limit } },
    });
    this.view = found.view;
    this.element.dataset.drawn = "";
  }

  update() {
    this.view?.data("rows", this.shown).resize().runAsync();
  }
}

async function refuse() { throw new Error("a page loads nothing"); }

/* What a mark says when the pointer is on it: one text, or names with their values. */
function say(_, event, __, value) {
  tip.hidden = value === null || value === undefined || value === "";
  if (tip.hidden) return;
  tip.textContent = typeof value === "object" ? Object.entries(value).map((pair) => pair.join(": ")).join("\n") : value;
  const { width, height } = tip.getBoundingClientRect();
  const beside = event.clientX + 14 + width < innerWidth ? event.clientX + 14 : event.clientX - 14 - width;
  tip.style.left = `${Math.max(4, beside)}px`;
  tip.style.top = `${Math.max(4, Math.min(event.clientY + 12, innerHeight - height - 4))}px`;
}

/* The filter of a study: which arms, and single models or ensembles. */
class Filter {
  constructor(study) {
    const place = study.querySelector("[data-filter]"), { arms, kinds } = page.filters[place.dataset.filter];
    this.boxes = arms.map(([name]) => {
      const box = make("input", { type: "checkbox", value: name });
      box.checked = true;
      return box;
    });
    this.kind = make("select", {}, ...[["", "single and ensembles"], ["single", "single models"], ["ensemble", "ensembles"]]
      .map(([value, label]) => make("option", { value }, label)));
    this.read();
    this.figures = [...study.querySelectorAll("figure")].map(
      (element) => new Figure(element, page.charts[element.dataset.chart], this));
    for (const input of [...this.boxes, this.kind]) input.addEventListener("change", () => this.apply(study));
    if (arms.length < 2) return;
    const all = ["All", "None"].map((name, off) => {
      const button = make("button", { type: "button" }, name);
      button.addEventListener("click", () => {
        for (const box of this.boxes) box.checked = !off;
        this.apply(study);
      });
      return button;
    });
    const labels = arms.map((look, number) => make("label", {}, this.boxes[number], swatch(look), make("span", { title: look[0] }, look[0])));
    place.append(make("fieldset", {}, make("legend", {}, "Arms shown, in tables and plots"),
      make("div", { class: "arms" }, ...labels), ...all));
    if (kinds) place.append(make("label", { class: "kind" }, "Models ", this.kind));
    place.hidden = false;
  }

  read() {
    this.hidden = new Set(this.boxes.filter((box) => !box.checked).map((box) => box.value));
    this.only = this.kind.value;
  }

  passes(arm, kind) {
    return !this.hidden.has(arm) && (!this.only || !kind || kind === this.only);
  }

  apply(study) {
    this.read();
    for (const table of study.querySelectorAll("table[data-name]")) {
      const names = [...table.tHead.rows[0].cells].map((heading) => heading.textContent);
      const [arm, kind] = [names.indexOf("arm"), names.indexOf("kind")];
      for (const row of table.tBodies[0].rows) {
        row.hidden = !this.passes(row.cells[arm]?.textContent, row.cells[kind]?.textContent);
      }
    }
    for (const line of study.querySelectorAll(".key li[data-arm]")) line.hidden = !this.passes(line.dataset.arm);
    for (const figure of this.figures) figure.update();
  }
}

async function draw(figures) {
  const library = document.createElement("script");
  library.textContent = await unpacked("library");
  document.head.append(library);
  /* Those that come into sight first, then all others that have a place, one at a time. */
  const sight = new IntersectionObserver((found) => {
    for (const { isIntersecting, target } of found) if (isIntersecting) figures.get(target).draw();
  }, { rootMargin: "400px" });
  for (const element of figures.keys()) sight.observe(element);
  for (const figure of figures.values()) {
    await new Promise((next) => setTimeout(next));
    await figure.draw();
  }
}

/* The folded parts around what an address points to. */
function unfold() {
  let place = location.hash && document.getElementById(location.hash.slice(1));
  if (!place) return;
  const target = place;
  place = place.querySelector(":scope > details") ?? place;
  for (; place; place = place.parentElement) if (place.tagName === "DETAILS") place.open = true;
  target.scrollIntoView();
}

async function start() {
  page = JSON.parse(await unpacked("data"));
  for (const place of document.querySelectorAll("[data-listing]")) place.textContent = page.listings[place.dataset.listing];
  const filters = [...document.querySelectorAll(".study")].map((study) => new Filter(study));
  await draw(new Map(filters.flatMap((filter) => filter.figures.map((figure) => [figure.element, figure]))));
  document.body.dataset.drawn = "";
}

for (const radio of document.querySelectorAll(".theme input")) {
  radio.addEventListener("change", () => { document.documentElement.dataset.theme = radio.value; });
}
for (const button of document.querySelectorAll("thead button")) {
  button.addEventListener("click", () => sort(button.parentElement));
}
for (const button of document.querySelectorAll(".save[data-file]")) {
  const rows = button.parentElement.querySelector("table").rows;
  button.addEventListener("click", () =>
    save(button.dataset.file, [...rows].map((row) => [...row.cells].map((found) => found.textContent))));
}
addEventListener("hashchange", unfold);
unfold();
start().catch((fault) => {
  const trouble = document.getElementById("trouble");
  trouble.textContent = `The plots could not be drawn: ${fault.message}`;
  trouble.hidden = false;
});
})();
