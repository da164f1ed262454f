(() => {
"use strict";

let page;
const tip = document.getElementById("tip");
const font = "system-ui, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif";
const config = {
  background: null,
  aria: false,
  view: { stroke: null },
  axis: {
    labelColor: "var(--muted)", titleColor: "var(--muted)", domainColor: "var(--line)", tickColor: "var(--line)",
    gridColor: "var(--line)", gridOpacity: 0.6, labelFont: font, titleFont: font, titleFontWeight: "normal",
    labelFontSize: 11, titleFontSize: 11.5, titlePadding: 8,
  },
};

/* The text of a packed script element: base64 of gzip. */
async function unpacked(id) {
  const bytes = Uint8Array.from(atob(document.getElementById(id).textContent), (c) => c.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
}

/* Make an element with attributes and content. */
function make(name, attributes = {}, ...content) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...content);
  return element;
}

const shapes = {
  circle: "M17 2a4 4 0 1 1 0 8a4 4 0 1 1 0-8Z",
  square: "M13.3 2.3h7.4v7.4h-7.4Z",
  "triangle-up": "M17 1.2l4.8 8.6h-9.6Z",
  diamond: "M17 .8l4 5.2l-4 5.2l-4-5.2Z",
  cross: "M15.6 1.5h2.8v3.1h3.1v2.8h-3.1v3.1h-2.8v-3.1h-3.1v-2.8h3.1Z",
  "triangle-down": "M17 10.8l4.8-8.6h-9.6Z",
};

/* The sample of a legend entry: its line, and the shape of its points. */
function swatch({ colour, shape, dash }) {
  const namespace = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(namespace, "svg");
  const addPath = (attributes) => {
    const path = svg.appendChild(document.createElementNS(namespace, "path"));
    for (const [key, value] of Object.entries(attributes)) path.setAttribute(key, value);
  };
  for (const [key, value] of Object.entries({ viewBox: "0 0 34 12", class: "swatch", "aria-hidden": "true" })) {
    svg.setAttribute(key, value);
  }
  addPath({ d: "M1 6H33", fill: "none", stroke: colour, "stroke-width": 2, "stroke-dasharray": dash.join(" ") });
  if (shape) addPath({ d: shapes[shape], fill: colour });
  return svg;
}

/* The name of a legend entry, whole in its tooltip where it is cut off. */
function nameSpan(entry) {
  return make("span", { title: entry.label }, entry.label);
}

/* A value as a field of CSV. */
function csvField(value) {
  if (value === null || value === undefined) return "";
  let text = String(value);
  if (typeof value === "string" && /^\s*[=+\-@]/.test(text)) text = "'" + text;  // a spreadsheet would run it as a formula
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/* Download rows of values as a CSV file. */
function save(name, rows) {
  const file = new Blob([rows.map((row) => row.map(csvField).join(",") + "\n").join("")], { type: "text/csv" });
  const link = document.createElement("a");
  link.href = URL.createObjectURL(file);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

/* Sort a table by a column: by the values of numbers, by text otherwise; again, in the other direction. Empty cells
   stay last. */
function sort(heading) {
  const headings = heading.parentElement, column = [...headings.children].indexOf(heading);
  const descending = heading.getAttribute("aria-sort") === "ascending";
  const numeric = "number" in heading.dataset;
  const key = (cell) => numeric ? Number(cell.dataset.value ?? NaN) : cell.textContent;
  const missing = (value) => numeric ? isNaN(value) : value === "";
  const compare = ([a], [b]) => {
    if (missing(a) || missing(b)) return missing(a) - missing(b);
    const order = numeric ? (a > b) - (a < b) : a.localeCompare(b, undefined, { numeric: true });
    return descending ? -order : order;
  };
  for (const other of headings.children) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
  const body = heading.closest("table").tBodies[0];
  const rows = [...body.rows].map((row) => [key(row.cells[column]), row]).sort(compare);
  body.append(...rows.map(([, row]) => row));
}

/* A chart with its menu, legend, caption and data. */
class Figure {
  constructor(element, chart, filter) {
    Object.assign(this, { element, chart, filter, view: null });
    const head = make("div", { class: "head" }, make(`h${element.dataset.level}`, {}, chart.title));
    if (chart.choices.length) {
      this.select = make("select", {}, ...chart.choices.map(({ label }, number) => make("option", { value: number }, label)));
      this.select.addEventListener("change", () => this.update());
      head.append(make("label", {}, "Show ", this.select));
    }
    this.plot = make("div", { class: "plot", role: "img", "aria-label": `${chart.title}. ${chart.caption}` });
    const legend = make("ul", { class: "legend", "aria-label": "Legend" }, ...chart.legend.map((entry) =>
      make("li", entry.arm ? { "data-arm": entry.label } : {}, swatch(entry), nameSpan(entry))));
    this.table = make("div", { class: "wide", role: "region", tabindex: "0", "aria-label": `Data of: ${chart.title}` });
    const data = make("details", { class: "data" }, make("summary", {}, `Data (${this.rows.length} rows)`), this.table);
    data.addEventListener("toggle", () => this.tabulate(), { once: true });
    const button = make("button", { type: "button", class: "save" }, "CSV");
    button.addEventListener("click", () => save(chart.file, this.csvRows()));
    const caption = make("p", { class: "note" }, chart.caption);
    element.append(head, this.plot, ...(chart.legend.length ? [legend] : []), make("figcaption", {}, caption, data, button));
  }

  get rows() {
    const columns = Object.entries(this.chart.columns);
    return this.allRows ??= columns[0][1].map(
      (_, row) => Object.fromEntries(columns.map(([name, values]) => [name, values[row]])));
  }

  get visibleRows() {
    const choice = this.select && this.chart.choices[this.select.value];
    return this.rows.filter(
      (row) => this.filter.passes(row.arm, row.kind) && (!choice || row[choice.field] === choice.value));
  }

  csvRows() {
    const names = Object.keys(this.chart.columns).filter((name) => !name.startsWith("_"));
    return [names, ...this.rows.map((row) => names.map((name) => row[name]))];
  }

  tabulate() {
    const [names, ...rows] = this.csvRows();
    const dataCell = (value) => typeof value === "number"
      ? make("td", { class: "number" }, `${Number(value.toPrecision(6))}`) : make("td", {}, value ?? "");
    const body = rows.slice(0, 2000).map((row) => make("tr", {}, ...row.map(dataCell)));
    if (rows.length > 2000) body.push(make("tr", {}, make("td", {}, "... the rest is in the CSV")));
    const head = make("tr", {}, ...names.map((name) => make("th", { scope: "col" }, name)));
    this.table.append(make("table", {}, make("thead", {}, head), make("tbody", {}, ...body)));
  }

  async draw() {
    if (!this.element.closest("details:not([open])")) await (this.drawing ??= this.embed());
  }

  /* Called once, also where the observer and the loop over all figures meet while it is drawn. */
  async embed() {
    const limit = Math.max(90, Math.min(260, this.plot.clientWidth / 3));
    const spec = { ...page.specs[this.chart.spec], datasets: { rows: this.visibleRows } };
    const { view } = await vegaEmbed(this.plot, spec, {
      mode: "vega-lite", ast: true, actions: false, renderer: "svg", defaultStyle: false, tooltip: showTooltip,
      loader: { load: refuse, sanitize: refuse },
      logLevel: 1,  // errors only: Vega warns of a layer without rows, which is no fault here
      config: { ...config, axisY: { labelLimit: limit } },
    });
    this.view = view;
    this.element.dataset.drawn = "";
  }

  update() {
    this.view?.data("rows", this.visibleRows).resize().runAsync();
  }
}

async function refuse() { throw new Error("a page loads nothing"); }

/* Show a mark's tooltip beside the pointer: a text, or names with their values. */
function showTooltip(_, event, __, value) {
  tip.hidden = value === null || value === undefined || value === "";
  if (tip.hidden) return;
  tip.textContent = typeof value === "object" ? Object.entries(value).map((pair) => pair.join(": ")).join("\n") : value;
  const { width, height } = tip.getBoundingClientRect();
  const left = event.clientX + 14 + width < innerWidth ? event.clientX + 14 : event.clientX - 14 - width;
  tip.style.left = `${Math.max(4, left)}px`;
  tip.style.top = `${Math.max(4, Math.min(event.clientY + 12, innerHeight - height - 4))}px`;
}

/* The filter of a study: its arms, and single models or ensembles. */
class Filter {
  constructor(study) {
    const panel = study.querySelector("[data-filter]"), { arms, ensembles } = page.filters[panel.dataset.filter];
    this.boxes = arms.map((arm) => {
      const box = make("input", { type: "checkbox", value: arm.label });
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
    const buttons = ["All", "None"].map((name) => {
      const button = make("button", { type: "button" }, name);
      button.addEventListener("click", () => {
        for (const box of this.boxes) box.checked = name === "All";
        this.apply(study);
      });
      return button;
    });
    const labels = arms.map((arm, number) => make("label", {}, this.boxes[number], swatch(arm), nameSpan(arm)));
    panel.append(make("fieldset", {}, make("legend", {}, "Arms shown, in tables and plots"),
      make("div", { class: "arms" }, ...labels), ...buttons));
    if (ensembles) panel.append(make("label", { class: "kind" }, "Models ", this.kind));
    panel.hidden = false;
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
    for (const entry of study.querySelectorAll(".legend li[data-arm]")) entry.hidden = !this.passes(entry.dataset.arm);
    for (const figure of this.figures) figure.update();
  }
}

async function draw(figures) {
  const library = document.createElement("script");
  library.textContent = await unpacked("library");
  document.head.append(library);
  /* Figures near the visible part of the page are drawn at once, all others that are not folded one at a time. */
  const observer = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) if (isIntersecting) figures.get(target).draw();
  }, { rootMargin: "400px" });
  for (const element of figures.keys()) observer.observe(element);
  for (const figure of figures.values()) {
    await new Promise((next) => setTimeout(next));
    await figure.draw();
  }
}

/* Unfold what surrounds the target of the page's address, and scroll to it. */
function unfold() {
  const target = location.hash && document.getElementById(location.hash.slice(1));
  if (!target) return;
  let element = target.querySelector(":scope > details") ?? target;
  for (; element; element = element.parentElement) if (element.tagName === "DETAILS") element.open = true;
  target.scrollIntoView();
}

async function start() {
  page = JSON.parse(await unpacked("data"));
  for (const listing of document.querySelectorAll("[data-listing]")) {
    listing.textContent = page.listings[listing.dataset.listing];
  }
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
    save(button.dataset.file, [...rows].map((row) => [...row.cells].map((cell) => cell.textContent))));
}
addEventListener("hashchange", unfold);
unfold();
start().catch((error) => {
  const trouble = document.getElementById("trouble");
  trouble.textContent = `The plots could not be drawn: ${error.message}`;
  trouble.hidden = false;
});
})();
