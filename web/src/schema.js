// The schema of a database: a picture of its tables and their foreign keys, and the same as text.

import { counted, h, s, scrolling } from "./dom.js";
import { fitted, path, picture, placed, width } from "./picture.js";

const MOST_TABLES = 60;
const MOST_COLUMNS = 24;
const LINE = 19;
const ROOM = 300;

export function schemaSection(estate, one) {
  const schema = one.schema && estate.schemas[one.schema];
  const section = h("section", { "aria-labelledby": "schema" }, h("h2", { id: "schema" }, "Schema"));
  if (!schema) {
    section.append(h("p", {}, one.no_schema ? `Not read: ${one.no_schema}.` : "Not read."));
    return section;
  }
  const frame = h("div", {});
  const draw = (name) => frame.replaceChildren(drawn(schema.tables, name));
  if (schema.tables.length > MOST_TABLES) {
    const names = h("select", { id: "around", onchange: () => draw(names.value) }, schema.tables.map((table) => h("option", {}, table.name)));
    section.append(h("p", { class: "filter" }, h("label", { for: "around" }, `${counted(schema.tables.length, "table")}; draw those around `), names));
  }
  if (schema.tables.length) draw(schema.tables[0].name);
  section.append(frame, ...schema.tables.map(tableText), others(schema.others));
  if (!schema.tables.length && !schema.others.length) section.append(h("p", {}, "It is empty."));
  return section;
}

/** Return the picture of all tables; of very many only one with those that it refers to or that refer to it. */
function drawn(tables, name) {
  const refersTo = (table, other) => table.references.some((reference) => reference.table === other);
  const middle = tables.find((table) => table.name === name);
  const shown = tables.length <= MOST_TABLES ? tables
    : [middle, ...tables.filter((table) => table !== middle && (refersTo(table, name) || refersTo(middle, table.name)))].slice(0, MOST_TABLES);
  const boxes = shown.map(boxOf);
  const there = new Set(shown.map((table) => table.name));
  const lines = shown.flatMap((table) => table.references.filter((reference) => there.has(reference.table)).map((reference) => ({ from: table.name, to: reference.table, label: `${table.name} (${reference.columns.join(", ")}) refers to ${reference.table}` })));
  const at = placed(boxes, lines, { across: true });
  return picture("Picture of the schema", at, [
    ...[...at.paths].map(([index, points]) => s("path", { class: "line", d: path(points) }, s("title", {}, lines[index].label))),
    ...boxes.map((box) => drawnTable(box, at.places.get(box.id))),
  ]);
}

const SHORT = [["character varying", "varchar"], ["timestamp with time zone", "timestamptz"], [" without time zone", ""], ["double precision", "double"]];
const short = (definition) => SHORT.reduce((text, [long, brief]) => text.replace(long, brief), definition);

function boxOf(table) {
  const columns = table.columns.slice(0, MOST_COLUMNS).map((column) => ({ ...column, text: fitted(column.name, ROOM / 2), type: fitted(short(column.definition), ROOM / 1.6) }));
  const left = Math.max(0, ...columns.map((column) => width(column.text)));
  const right = Math.max(0, ...columns.map((column) => width(column.type)));
  const title = fitted(table.name, ROOM, true);
  const rest = table.columns.length - columns.length;
  const height = 30 + LINE * (columns.length + (rest > 0 ? 1 : 0)) + (columns.length ? 8 : 0);
  return { id: table.name, table, title, columns, rest, left, width: Math.max(width(title, true) + 24, left + right + 56, 90), height };
}

const keyOf = (column) => [column.primary && "primary key", column.foreign && "foreign key"].filter(Boolean).join(", ");

function drawnTable(box, { x, y }) {
  const columns = box.columns.map((column, index) => {
    const at = 30 + LINE * (index + 1) - 3;
    return [
      column.primary || column.foreign ? s("circle", { cx: 12, cy: at - 4, r: 4, class: column.primary ? "primary" : "foreign" }) : "",
      s("text", { x: 22, y: at, class: column.primary ? "name key" : "name" }, column.text, s("title", {}, [column.name, column.definition, keyOf(column)].filter(Boolean).join(" · "))),
      s("text", { x: 34 + box.left, y: at, class: "type" }, column.type),
    ];
  });
  return s("g", { class: `table ${box.table.kind.replace(/\W+/g, "-")}`, transform: `translate(${x},${y})`, role: "img", "aria-label": `${box.table.kind} ${box.table.name}` },
    s("rect", { width: box.width, height: box.height, rx: 5 }), s("path", { class: "rule", d: `M0,27H${box.width}` }),
    s("text", { x: 12, y: 19, class: "title" }, box.title), columns,
    box.rest > 0 && s("text", { x: 22, y: box.height - 10, class: "type" }, `and ${counted(box.rest, "more column", "more columns")}`));
}

function tableText(table) {
  const rows = table.columns.map((column) => h("tr", {}, h("th", { scope: "row" }, column.name), h("td", {}, column.definition), h("td", {}, keyOf(column))));
  const heads = ["Column", "Definition", "Key"].map((name) => h("th", { scope: "col" }, name));
  const parts = table.parts.map((part) => h("li", {}, `${part.kind} ${part.name}`, part.definition && h("pre", {}, pretty(part.definition))));
  return h("details", { class: "object" }, h("summary", {}, h("strong", {}, table.name), ` ${table.kind}, ${counted(table.columns.length, "column")}`),
    rows.length > 0 && scrolling(`Columns of ${table.name}`, h("table", {}, h("thead", {}, h("tr", {}, heads)), h("tbody", {}, rows))),
    table.definition && h("pre", {}, table.definition), parts.length > 0 && h("ul", {}, parts));
}

/** Return a definition that is JSON, such as a validator, over several lines. */
function pretty(text) {
  if (!text.startsWith("{")) return text;
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

function others(parts) {
  if (!parts.length) return null;
  return h("details", { class: "object" }, h("summary", {}, counted(parts.length, "other object")),
    h("ul", {}, parts.map((part) => h("li", {}, `${part.kind} ${part.name}`, part.definition && h("pre", {}, part.definition)))));
}
