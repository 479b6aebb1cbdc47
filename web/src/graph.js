// The graph of the estate. A large one is drawn with one box for all databases that stand alike.

import { counted, h, number, s } from "./dom.js";
import { KINDS, linkOf } from "./estate.js";
import { fitted, path, picture, placed, width } from "./picture.js";

const EACH = 80;
const MOST = 250;

/** Return groups of databases: each alone, or those together that have the same state, needs and dependents. */
export function groups(databases) {
  if (databases.length <= EACH) return databases.map((one) => [one]);
  const alike = grouped(databases, (one) => JSON.stringify([one.kind, [...one.depends_on].sort(), [...one.neededBy].sort()]));
  return alike.length <= MOST ? alike : grouped(databases, byWave(databases));
}

function grouped(databases, key) {
  const found = new Map();
  for (const one of databases) {
    const same = key(one);
    if (!found.has(same)) found.set(same, []);
    found.get(same).push(one);
  }
  return [...found.values()];
}

/** Return the key for groups of one state in one wave: so many databases must be migrated one after the other before. */
function byWave(databases) {
  const waves = new Map();
  const byId = new Map(databases.map((one) => [one.id, one]));
  const waiting = new Map(databases.map((one) => [one.id, one.depends_on.length]));
  let [ready, wave] = [databases.filter((one) => !one.depends_on.length), 0];
  while (ready.length) {
    const next = [];
    for (const one of ready) {
      waves.set(one.id, wave);
      for (const id of one.neededBy) {
        waiting.set(id, waiting.get(id) - 1);
        if (waiting.get(id) === 0) next.push(byId.get(id));
      }
    }
    [ready, wave] = [next, wave + 1];
  }
  return (one) => `${waves.get(one.id)} ${one.kind}`;
}

function name(group) {
  if (group.length === 1) return group[0].id;
  const first = group[0].id;
  let end = first.length;
  for (const one of group) while (!one.id.startsWith(first.slice(0, end))) end -= 1;
  return `${end > 3 ? `${first.slice(0, end)}…` : "databases"} × ${number(group.length)}`;
}

/** Return the section with the graph; `choose` is called with the databases of a box that stands for several. */
export function graphSection(estate, choose) {
  const found = groups(estate.databases);
  const groupOf = new Map(found.flatMap((group, index) => group.map((one) => [one.id, index])));
  const boxes = found.map((group, index) => {
    const text = fitted(name(group), 260, true);
    return { id: String(index), group, text, width: width(text, true) + 44, height: 32 };
  });
  const pairs = new Set();
  for (const one of estate.databases) {
    for (const id of one.depends_on) pairs.add(`${groupOf.get(id)} ${groupOf.get(one.id)}`);
  }
  const lines = [...pairs].map((pair) => ({ from: pair.split(" ")[0], to: pair.split(" ")[1] }));
  const at = placed(boxes, lines);
  const drawn = [
    ...[...at.paths.values()].map((points) => s("path", { class: "line", d: path(points) })),
    ...boxes.map((box) => node(box, at.places.get(box.id), choose)),
  ];
  const merged = boxes.length < estate.databases.length;
  const what = `${counted(estate.databases.length, "database")}, an arrow leads from a database to those that depend on it.`;
  return h(
    "section",
    { "aria-labelledby": "graph" },
    h("h2", { id: "graph" }, "Graph"),
    h("p", { class: "about" }, what, merged ? " Databases that stand alike share a box." : "", " Drag to move; Ctrl and wheel, two fingers or + and − to zoom."),
    picture("Graph of the estate", at, drawn),
  );
}

function node(box, { x, y }, choose) {
  const { group } = box;
  const { sign, label } = KINDS[group[0].kind];
  const state = group.length === 1 ? group[0].state : label;
  const click = group.length === 1 ? undefined : (event) => { event.preventDefault(); choose(group); };
  return s(
    "a",
    { href: group.length === 1 ? linkOf(group[0].id) : "#databases", class: `node ${group[0].kind}`, transform: `translate(${x},${y})`, onclick: click, "aria-label": `${name(group)}: ${state}` },
    s("title", {}, `${name(group)}: ${state}`),
    s("rect", { width: box.width, height: box.height, rx: 6 }),
    s("text", { x: 12, y: 21, class: "sign", "aria-hidden": true }, sign),
    s("text", { x: 30, y: 21, class: "name" }, box.text),
  );
}
