// The table of all databases: to filter, to sort, and to leaf through.

import { counted, h, moment, number, scrolling } from "./dom.js";
import { KINDS, linkOf, place, told } from "./estate.js";

const PAGE = 100;
const versionOf = (one) => (one.version === null || one.version === undefined ? -1 : one.version);
const COLUMNS = [
  { name: "Database", key: (one) => one.id, cell: (one) => h("th", { scope: "row" }, h("a", { href: linkOf(one.id) }, one.id)) },
  { name: "State", key: (one) => `${Object.keys(KINDS).indexOf(one.kind)} ${one.state}`, cell: (one) => h("td", {}, badge(one), told(one) && h("span", { class: "why" }, told(one))) },
  { name: "Version", numeric: true, key: versionOf, cell: (one) => h("td", { class: "number" }, one.version === null ? "–" : String(one.version), one.dirty ? " (dirty)" : "") },
  { name: "Pending", numeric: true, key: (one) => one.pending.length, cell: (one) => h("td", { class: "number" }, one.exists === null ? "?" : number(one.pending.length), one.risks ? h("span", { class: "risk" }, ` ! ${number(one.risks)}`) : "") },
  { name: "Last migration", key: (one) => one.last, cell: (one) => h("td", { class: "time" }, moment(one.last)) },
  { name: "Failed tries", numeric: true, less: true, key: (one) => one.failedTries, cell: (one) => h("td", { class: "number less" }, one.failedTries ? number(one.failedTries) : "") },
  { name: "Place", less: true, key: place, cell: (one) => h("td", { class: "less" }, place(one)) },
  { name: "Depends on", less: true, key: (one) => one.depends_on.length, numeric: true, cell: (one) => h("td", { class: "less needs" }, one.depends_on.slice(0, 4).join(", "), one.depends_on.length > 4 ? ` and ${one.depends_on.length - 4} more` : "") },
];

export const badge = (one) => h("span", { class: `state ${one.kind}` }, h("span", { "aria-hidden": true }, `${KINDS[one.kind].sign} `), one.state);

/** Return the section with the table, and a function that shows only some databases. */
export function listSection(estate) {
  const searched = new Map(estate.databases.map((one) => [one, [one.id, one.state, place(one), told(one), ...one.labels].join("\n").toLowerCase()]));
  const view = { text: "", kind: "", chosen: null, sort: 1, down: false, page: 0 };
  const body = h("tbody", {});
  const counter = h("p", { class: "about", role: "status" });
  const leaf = h("nav", { class: "leaf", "aria-label": "Pages of the table" });
  const words = h("input", { type: "search", id: "filter", placeholder: "name, place, label, error …", oninput: () => set({ text: words.value.toLowerCase() }) });
  const kinds = h("select", { id: "kind", onchange: () => set({ kind: kinds.value }) }, h("option", { value: "" }, "every state"),
    Object.entries(KINDS).map(([kind, { label }]) => h("option", { value: kind }, label)));
  const whole = h("button", { type: "button", hidden: true, onclick: () => set({ chosen: null }) }, "Show all databases");
  const heads = COLUMNS.map((column, index) => h("th", { scope: "col", class: [column.numeric && index !== 7 ? "number" : "", column.less ? "less" : ""].join(" ").trim() || null },
    h("button", { type: "button", onclick: () => set({ sort: index, down: view.sort === index ? !view.down : column.numeric || column.name === "Last migration" }) }, column.name)));

  function set(change) {
    Object.assign(view, { page: 0 }, change);
    draw();
  }

  function found() {
    const terms = view.text.split(/\s+/).filter(Boolean);
    const among = view.chosen ?? estate.databases;
    const kept = among.filter((one) => (!view.kind || one.kind === view.kind) && terms.every((term) => searched.get(one).includes(term)));
    const { key } = COLUMNS[view.sort];
    const keyed = kept.map((one) => [key(one), one]);
    const sign = view.down ? -1 : 1;
    keyed.sort(([a, one], [b, other]) => (a < b ? -sign : a > b ? sign : one.order - other.order));
    return keyed.map(([, one]) => one);
  }

  function draw(all = false) {
    const shown = found();
    const pages = Math.max(1, Math.ceil(shown.length / PAGE));
    const part = all ? shown : shown.slice(view.page * PAGE, (view.page + 1) * PAGE);
    body.replaceChildren(...part.map((one) => h("tr", {}, COLUMNS.map((column) => column.cell(one)))));
    counter.textContent = shown.length === estate.databases.length ? counted(shown.length, "database") : `${number(shown.length)} of ${counted(estate.databases.length, "database")}`;
    heads.forEach((head, index) => (index === view.sort ? head.setAttribute("aria-sort", view.down ? "descending" : "ascending") : head.removeAttribute("aria-sort")));
    const turn = (by) => () => set({ page: view.page + by });
    leaf.hidden = pages === 1;
    leaf.replaceChildren(
      h("button", { type: "button", disabled: view.page === 0, onclick: turn(-1) }, "Previous"),
      h("span", {}, `${number(view.page + 1)} of ${number(pages)}`),
      h("button", { type: "button", disabled: view.page === pages - 1, onclick: turn(1) }, "Next"),
    );
    whole.hidden = !view.chosen;
    kinds.value = view.kind;
  }

  addEventListener("beforeprint", () => draw(true));
  addEventListener("afterprint", () => draw());
  draw();
  const section = h("section", { "aria-labelledby": "databases" }, h("h2", { id: "databases", tabindex: -1 }, "Databases"),
    h("form", { class: "filter", role: "search", onsubmit: (event) => event.preventDefault() },
      h("label", { for: "filter" }, "Filter "), words, h("label", { for: "kind" }, "State "), kinds, whole),
    counter, scrolling("Table of databases", h("table", { class: "databases" }, h("caption", { class: "unseen" }, "Databases of the estate"), h("thead", {}, h("tr", {}, heads)), body)), leaf);
  const show = (change) => {
    set(change);
    section.querySelector("h2").focus();
    section.scrollIntoView();
  };
  return { section, show };
}
