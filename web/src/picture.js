// A drawing that people can move and zoom: by mouse, by fingers, by keys and by buttons. dagre lays it out.

import { Graph, layout } from "@dagrejs/dagre";
import { select } from "d3-selection";
import { zoom, zoomIdentity } from "d3-zoom";
import { h, s } from "./dom.js";

const GAP = 16;
const measure = document.createElement("canvas").getContext("2d");

/** Return how wide a text is, in pixels, in the font of the page at 13 pixels. */
export function width(text, bold = false) {
  measure.font = `${bold ? "600 " : ""}13px ${getComputedStyle(document.body).fontFamily}`;
  return measure.measureText(text).width;
}

/** Return a text that is at most so wide, with an ellipsis where it was cut. */
export function fitted(text, room, bold = false) {
  if (width(text, bold) <= room) return text;
  let end = text.length;
  while (end > 1 && width(`${text.slice(0, end)}…`, bold) > room) end -= Math.max(1, Math.floor(end / 16));
  return `${text.slice(0, end)}…`;
}

/** Lay out boxes `{id, width, height}` and lines `{from, to}`; boxes without lines are put in rows below the others. */
export function placed(boxes, lines, { across = false } = {}) {
  const tied = new Set(lines.filter((line) => line.from !== line.to).flatMap((line) => [line.from, line.to]));
  const graph = new Graph({ multigraph: true });
  graph.setGraph({ rankdir: across ? "LR" : "TB", nodesep: 14, ranksep: 44, marginx: GAP, marginy: GAP });
  graph.setDefaultEdgeLabel(() => ({}));
  for (const box of boxes) if (tied.has(box.id)) graph.setNode(box.id, { width: box.width, height: box.height });
  lines.forEach((line, index) => {
    if (line.from !== line.to) graph.setEdge(line.from, line.to, {}, String(index));
  });
  const places = new Map();
  const paths = new Map();
  let size = { width: 0, height: 0 };
  if (tied.size) {
    layout(graph);
    for (const id of graph.nodes()) {
      const node = graph.node(id);
      places.set(id, { x: node.x - node.width / 2, y: node.y - node.height / 2 });
    }
    for (const edge of graph.edges()) paths.set(Number(edge.name), graph.edge(edge).points);
    size = { width: graph.graph().width, height: graph.graph().height };
  }
  return rows(boxes.filter((box) => !tied.has(box.id)), places, paths, size);
}

function rows(boxes, places, paths, size) {
  const area = boxes.reduce((sum, box) => sum + (box.width + GAP) * (box.height + GAP), 0);
  const room = Math.max(size.width, Math.sqrt(area * 2.2), 320);
  let [x, y, high, far] = [GAP, size.height || GAP, 0, size.width];
  for (const box of boxes) {
    if (x > GAP && x + box.width + GAP > room) {
      [x, y, high] = [GAP, y + high + GAP, 0];
    }
    places.set(box.id, { x, y });
    x += box.width + GAP;
    high = Math.max(high, box.height);
    far = Math.max(far, x);
  }
  return { places, paths, width: far, height: boxes.length ? y + high + GAP : size.height };
}

/** Return a smooth line through points, as the path of an SVG. */
export function path(points) {
  const [first, ...rest] = points;
  let text = `M${first.x},${first.y}`;
  for (let at = 0; at < rest.length - 1; at += 1) {
    const [here, next] = [rest[at], rest[at + 1]];
    const end = at === rest.length - 2 ? next : { x: (here.x + next.x) / 2, y: (here.y + next.y) / 2 };
    text += `Q${here.x},${here.y} ${end.x},${end.y}`;
  }
  return rest.length === 1 ? `${text}L${rest[0].x},${rest[0].y}` : text;
}

/** Return the frame of a drawing, with its buttons. `children` are SVG elements within `size`. */
export function picture(label, size, children) {
  const drawing = s("g", {}, children);
  const arrow = s(
    "marker",
    { id: `arrow-${label.replace(/\W+/g, "-")}`, viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 7, markerHeight: 7, orient: "auto-start-reverse" },
    s("path", { d: "M0,0L8,4L0,8Z", class: "arrow" }),
  );
  for (const line of drawing.querySelectorAll(".line")) line.setAttribute("marker-end", `url(#${arrow.id})`);
  const svg = s("svg", { viewBox: `0 0 ${size.width} ${size.height}`, role: "group", "aria-label": label }, s("defs", {}, arrow), drawing);
  svg.style.maxHeight = `${Math.max(120, size.height)}px`;
  const frame = h("div", { class: "picture" }, svg);
  const view = select(svg);
  const behaviour = zoom()
    .scaleExtent([0.5, 40])
    .filter((event) => (event.touches ? event.touches.length > 1 : event.type === "wheel" ? event.ctrlKey || event.metaKey : !event.button))
    .clickDistance(4)
    .on("zoom", (event) => drawing.setAttribute("transform", event.transform));
  view.call(behaviour).on("dblclick.zoom", null);
  const by = (factor) => behaviour.scaleBy(view, factor);
  const move = (x, y) => behaviour.translateBy(view, x, y);
  const fit = () => behaviour.transform(view, zoomIdentity);
  const step = Math.max(size.width, size.height) / 20;
  const keys = {
    "+": () => by(1.3), "=": () => by(1.3), "-": () => by(1 / 1.3), 0: fit,
    ArrowLeft: () => move(step, 0), ArrowRight: () => move(-step, 0), ArrowUp: () => move(0, step), ArrowDown: () => move(0, -step),
  };
  const buttons = [
    ["+", "Zoom in", keys["+"]],
    ["−", "Zoom out", keys["-"]],
    ["Fit", "Show all of the picture", fit],
  ].map(([text, name, act]) => h("button", { type: "button", "aria-label": name, onclick: act }, text));
  frame.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !keys[event.key]) return;
    keys[event.key]();
    event.preventDefault();
  });
  frame.prepend(h("div", { class: "zoom", role: "group", "aria-label": `Zoom: ${label}` }, buttons));
  addEventListener("beforeprint", fit);
  return frame;
}
