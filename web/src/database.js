// The page of one database: where it stands, its migrations with every try, and its schema.

import { counted, h, moment, scrolling, seconds } from "./dom.js";
import { linkOf, place } from "./estate.js";
import { badge } from "./list.js";
import { schemaSection } from "./schema.js";

const FACTS = [
  ["Place", (one) => place(one)],
  ["Engine", (one) => one.engine],
  ["Version", (one) => (one.version === null ? "none" : `${one.version}${one.dirty ? " (dirty)" : ""}`)],
  ["Labels", (one) => one.labels.join(", ")],
];

export function databasePage(estate, one) {
  const links = (ids) => ids.flatMap((id, index) => [index ? ", " : "", h("a", { href: linkOf(id) }, id)]);
  const facts = FACTS.map(([name, value]) => [name, value(one)]).filter(([, value]) => value);
  if (one.depends_on.length) facts.push(["Depends on", links(one.depends_on)]);
  if (one.neededBy.length) facts.push(["Needed by", links(one.neededBy)]);
  return [
    h("nav", { class: "back", "aria-label": "Back" }, h("a", { href: "#" }, "← All databases")),
    h("h1", { tabindex: -1 }, one.id, " ", badge(one)),
    h("dl", { class: "facts" }, facts.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)))),
    one.running && h("p", { class: "now" }, `▶ ${one.running.by}`, one.running.since ? `, since ${moment(one.running.since)}` : ""),
    problems(one),
    migrations(one),
    schemaSection(estate, one),
  ];
}

function problems(one) {
  const others = (one.external ?? []).filter((each) => each.waits_for).map((each) => `waits for ${each.id} of ${each.manifest}: ${each.waits_for}`);
  const notes = [...one.notes, ...others];
  return [
    one.problems.length > 0 && h("section", { "aria-labelledby": "problems" }, h("h2", { id: "problems" }, "Problems"),
      one.problems.map((problem) => h("div", { class: "problem" }, h("p", {}, problem.what), problem.hint && h("pre", {}, problem.hint)))),
    notes.length > 0 && h("section", { "aria-labelledby": "notes" }, h("h2", { id: "notes" }, "Notes"), h("ul", {}, notes.map((note) => h("li", {}, note)))),
  ];
}

function migrations(one) {
  const tries = new Map();
  for (const attempt of one.attempts) {
    if (!tries.has(attempt.version)) tries.set(attempt.version, []);
    tries.get(attempt.version).push(attempt);
  }
  for (const same of tries.values()) same.sort((a, b) => a.attempt - b.attempt);
  const heads = ["Version", "Name", "State", "When", "By", "Time"].map((name) => h("th", { scope: "col", class: ["Version", "Time"].includes(name) ? "number" : null }, name));
  const rows = one.migrations.map((migration) => rowsOf(migration, tries.get(migration.version) ?? []));
  return h("section", { "aria-labelledby": "migrations" }, h("h2", { id: "migrations" }, "Migrations"),
    one.migrations.length
      ? scrolling("Table of migrations", h("table", { class: "migrations" }, h("caption", { class: "unseen" }, "Migrations with all their tries"), h("thead", {}, h("tr", {}, heads)), h("tbody", {}, rows)))
      : h("p", {}, "Nothing is known of its migrations."));
}

const who = (attempt) => [attempt.actor || attempt.role, attempt.host && !attempt.actor?.includes(attempt.host) ? `on ${attempt.host}` : ""].filter(Boolean).join(" ");

function rowsOf(migration, tries) {
  const last = tries.findLast((attempt) => attempt.done && attempt.direction === "up" && migration.state === "applied") ?? {};
  const sign = { applied: "✓", pending: "+", failed: "✗" }[migration.state] ?? "–";
  const kind = { applied: "ok", pending: "pending", failed: "problem" }[migration.state] ?? "other";
  const first = h("tr", {}, h("td", { class: "number" }, String(migration.version)), h("th", { scope: "row" }, migration.name || "?"),
    h("td", {}, h("span", { class: `state ${kind}` }, h("span", { "aria-hidden": true }, `${sign} `), migration.state)),
    h("td", { class: "time" }, moment(last.started_at)), h("td", {}, who(last)), h("td", { class: "number" }, seconds(last.seconds)));
  const more = [];
  if (migration.statements !== undefined) {
    const risks = (migration.risks ?? []).map((risk) => h("li", {}, h("strong", {}, risk.what), ` (${risk.where})`, risk.statement && h("pre", {}, risk.statement)));
    const how = `${counted(migration.statements, "statement")}${migration.atomic ? "" : ", not in one transaction"}`;
    more.push(h("tr", { class: "more" }, h("td", {}), h("td", { colspan: 5 }, how, risks.length > 0 && h("ul", { class: "risks" }, risks))));
  }
  for (const attempt of tries.filter((each) => each !== last)) more.push(tryRow(attempt));
  return [first, ...more];
}

function tryRow(attempt) {
  const failed = !attempt.done;
  const what = `${attempt.direction === "down" ? "down: " : ""}${attempt.result}`;
  return h("tr", { class: `more ${failed ? "failed" : ""}` }, h("td", {}),
    h("td", {}, `try ${attempt.attempt}`), h("td", {}, failed ? h("span", { class: "state problem" }, h("span", { "aria-hidden": true }, "✗ "), what) : what),
    h("td", { class: "time" }, moment(attempt.started_at)), h("td", {}, who(attempt), attempt.reason && `: ${attempt.reason}`, attempt.error && h("pre", {}, attempt.error)),
    h("td", { class: "number" }, seconds(attempt.seconds)));
}
