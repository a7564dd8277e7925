// What the page can do beyond being read: pathways are explored, tables are sorted. Without this
// script, and on paper, all of it stands there all the same.
"use strict";

for (const figure of document.querySelectorAll("figure.pathways")) explore(figure);
for (const figure of document.querySelectorAll("figure:has(.said)")) pointed(figure);
for (const table of document.querySelectorAll("table")) sortable(table);

function explore(figure) {
  const edges = [...figure.querySelectorAll("[data-from]")];
  const nodes = [...figure.querySelectorAll("[data-component]")];
  const told = element("output", { "aria-live": "polite" });
  const least = element("input", { type: "range", min: 0, max: 100, step: 1, value: 0 });
  const shown = element("span", { class: "least" });
  const dormant = element("input", { type: "checkbox" });
  const all = element("button", { type: "button" }, "show all");
  const bar = element("form", { class: "explore" });
  bar.append(
    element("label", {}, "edges from ", least, " ", shown),
    element("label", {}, dormant, " only dormant edges"), all, told);
  bar.addEventListener("submit", (event) => event.preventDefault());
  figure.prepend(bar);
  let component = null;

  function show() {
    const from = Number(least.value) / 100;
    shown.textContent = `${least.value}% of the effect`;
    const ways = component === null ? null : waysThrough(component, edges);
    const kept = new Set();
    let count = 0;
    for (const edge of edges) {
      const { share, dormant: sleeps } = edge.dataset;
      const on = Number(share) >= from && (!dormant.checked || sleeps === "yes") &&
        (ways === null || ways.has(edge));
      edge.classList.toggle("off", !on);
      if (on) { kept.add(edge.dataset.from).add(edge.dataset.to); count += 1; }
    }
    for (const node of nodes) {
      const { component: name } = node.dataset;
      node.classList.toggle("off", count < edges.length && !kept.has(name) && name !== component);
      node.setAttribute("aria-pressed", String(name === component));
    }
    const through = component === null ? "" : ` on ways through ${component}`;
    told.textContent = `${count} of ${edges.length} edges${through}`;
  }

  function tell(part) { told.textContent = part.querySelector("title").textContent; }

  for (const part of [...edges, ...nodes]) {
    part.setAttribute("tabindex", "0");
    part.setAttribute("aria-label", part.querySelector("title").textContent);
    part.addEventListener("mouseenter", () => tell(part));
    part.addEventListener("focus", () => tell(part));
  }
  for (const edge of edges) {
    edge.setAttribute("role", "img");
    const line = edge.querySelector("path");
    if (!line) continue;
    const wide = line.cloneNode();  // a thin line is hard to meet
    wide.setAttribute("class", "wide");
    edge.append(wide);
  }
  for (const node of nodes) {
    node.setAttribute("role", "button");
    const choose = () => {
      component = component === node.dataset.component ? null : node.dataset.component;
      show();
    };
    node.addEventListener("click", choose);
    node.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === " ") { event.preventDefault(); choose(); }
    });
  }
  function reset() { component = null; least.value = 0; dormant.checked = false; show(); }
  least.addEventListener("input", show);
  dormant.addEventListener("input", show);
  all.addEventListener("click", reset);
  figure.addEventListener("keydown", (event) => { if (event.key === "Escape") reset(); });
  show();
}

// What is pointed at or touched in a plot is also said below it.
function pointed(figure) {
  const told = element("output", { class: "told", "aria-live": "polite" });
  figure.querySelector(".scroll").after(told);
  for (const area of figure.querySelectorAll(".said")) {
    const tell = () => { told.textContent = area.querySelector("title").textContent; };
    area.addEventListener("pointerenter", tell);
    area.addEventListener("click", tell);
  }
}

// The edges that lie on a way from the intervention through a component to the end.
function waysThrough(component, edges) {
  const found = new Set();
  for (const [near, far] of [["from", "to"], ["to", "from"]]) {
    const reached = new Set([component]);
    for (let grew = true; grew;) {
      grew = false;
      for (const edge of edges) {
        if (!reached.has(edge.dataset[near]) || found.has(edge)) continue;
        found.add(edge);
        reached.add(edge.dataset[far]);
        grew = true;
      }
    }
  }
  return found;
}

// A click on a column's heading sorts by its numbers, or its texts; another one turns it round.
function sortable(table) {
  const body = table.tBodies[0], heads = [...table.querySelectorAll("thead th")];
  if (!body || body.rows.length < 3 || body.querySelector("[rowspan], [colspan]")) return;
  heads.forEach((head, column) => {
    const button = element("button", { type: "button", class: "sort" });
    button.append(...head.childNodes);
    if (button.querySelector("a")) {  // a link stays a link, and has the button beside it
      head.append(...button.childNodes, " ");
      button.setAttribute("aria-label", `sort by ${head.textContent.trim()}`);
    }
    head.append(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") !== "descending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const keyed = [...body.rows].map((row) => [keyOf(row.cells[column]), row]);
      keyed.sort(([one], [other]) => (down ? compare(other, one) : compare(one, other)));
      body.append(...keyed.map(([, row]) => row));
    });
  });
}

function keyOf(cell) {
  const text = cell ? cell.textContent.trim() : "";
  const number = text.replace(/\u2212/g, "-").match(/^-?[\d.,]*\d(e[-+]?\d+)?/i);
  return number ? Number(number[0].replace(/,/g, "")) : text;
}

// Texts stand before numbers, so that what is missing ends up at the foot of what is sorted down.
function compare(one, other) {
  if (typeof one === typeof other) return one < other ? -1 : one > other ? 1 : 0;
  return typeof one === "string" ? -1 : 1;
}

function element(name, attributes, ...content) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...content);
  return made;
}
