// The page of `orch report`: the whole estate, or the database that the address names after its #.

import { databasePage } from "./database.js";
import { counted, h, moment, number } from "./dom.js";
import { KINDS, linkOf, read } from "./estate.js";
import { graphSection } from "./graph.js";
import { listSection } from "./list.js";

const MOST_RUNNING = 20;
const estate = read(JSON.parse(document.getElementById("data").textContent));
const main = h("main", { id: "main", tabindex: -1 });
document.body.append(main);

function overview() {
  const list = listSection(estate);
  return [
    h("h1", { tabindex: -1 }, estate.name),
    h("p", { class: "about" }, estate.made_at ? `As it was on ${moment(estate.made_at)}. ` : "", `${counted(estate.databases.length, "database")}, made by orch ${estate.tool ?? ""}.`.replace(" .", ".")),
    h("ul", { class: "counts" }, Object.entries(KINDS).map(([kind, { sign, label }]) => {
      const count = estate.databases.filter((one) => one.kind === kind).length;
      return h("li", {}, h("button", { type: "button", class: `count ${kind}`, disabled: count === 0, onclick: () => list.show({ kind, chosen: null }) },
        h("span", { "aria-hidden": true }, sign), ` ${number(count)} `, h("span", {}, label)));
    })),
    now(),
    graphSection(estate, (group) => list.show({ chosen: group, kind: "" })),
    list.section,
  ];
}

/** Return who migrates what at the moment. */
function now() {
  const running = estate.databases.filter((one) => one.running);
  return running.length > 0 && h("section", { "aria-labelledby": "now" }, h("h2", { id: "now" }, "Running now"),
    h("ul", {}, running.slice(0, MOST_RUNNING).map((one) => h("li", {}, h("a", { href: linkOf(one.id) }, one.id), `: ${one.running.by}`, one.running.since ? `, since ${moment(one.running.since)}` : ""))),
    running.length > MOST_RUNNING && h("p", {}, `and ${number(running.length - MOST_RUNNING)} more`));
}

let shown;
let overviewPage;
let scroll = 0;

function show(first) {
  let id = "";
  try {
    id = decodeURIComponent(location.hash.slice(1));
  } catch {
    id = "";
  }
  const one = estate.byId.get(id);
  if (shown === undefined || shown !== one) {
    if (!shown && overviewPage && one) scroll = scrollY;
    shown = one ?? null;
    document.title = one ? `${one.id}: ${estate.name}` : `${estate.name}: databases`;
    overviewPage ??= one ? undefined : overview().flat(Infinity).filter(Boolean);
    main.replaceChildren(...(one ? databasePage(estate, one).flat(Infinity).filter(Boolean) : overviewPage));
    if (!first) {
      main.querySelector("h1").focus({ preventScroll: true });
      scrollTo(0, one ? 0 : scroll);
    }
  }
}

addEventListener("hashchange", () => show(false));
show(true);
