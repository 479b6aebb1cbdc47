// A drawing that people can move and zoom: by mouse, by fingers, by keys and by buttons. dagre lays it out.

import { Graph, layout } from "@dagrejs/dagre";
import { select } from "d3-selection";
import { zoom, zoomIdentity } from "d3-zoom";
import { h, s } from "./dom.js";

const GAP = 16;
const WIDE = 1500;
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

/**
 * Lay out boxes `{id, width, height}` and lines `{from, to}`: each set of boxes that hang together by dagre, downwards or
 * `across`, and these sets in rows. Returns the place of each box by id and the points of each line by its number.
 */
export function placed(boxes, lines, { across = false } = {}) {
  const sets = connected(boxes, lines).map((set) => {
    if (set.boxes.length === 1 && !set.lines.length) return { ...set.boxes[0], alone: true, places: new Map([[set.boxes[0].id, { x: 0, y: 0 }]]), paths: new Map() };
    const drawn = laid(set, across);
    return !across && drawn.width > WIDE ? laid(set, true) : drawn;
  });
  sets.sort((one, other) => (one.alone ?? false) - (other.alone ?? false));
  const area = sets.reduce((sum, set) => sum + (set.width + GAP) * (set.height + GAP), 0);
  const room = Math.min(WIDE, Math.max(320, Math.sqrt(area * 2.2), ...sets.map((set) => set.width)));
  const [places, paths] = [new Map(), new Map()];
  let [x, y, high, far] = [GAP, GAP, 0, 0];
  for (const set of sets) {
    if (x > GAP && x + set.width > room) [x, y, high] = [GAP, y + high + GAP, 0];
    for (const [id, at] of set.places) places.set(id, { x: at.x + x, y: at.y + y });
    for (const [index, points] of set.paths) paths.set(index, points.map((point) => ({ x: point.x + x, y: point.y + y })));
    x += set.width + GAP;
    high = Math.max(high, set.height);
    far = Math.max(far, x);
  }
  return { places, paths, width: far, height: y + high + GAP };
}

/** Return the sets of boxes that lines connect, with these lines and their numbers. */
function connected(boxes, lines) {
  const parent = new Map(boxes.map((box) => [box.id, box.id]));
  const root = (id) => {
    let at = id;
    while (parent.get(at) !== at) {
      parent.set(at, parent.get(parent.get(at)));
      at = parent.get(at);
    }
    return at;
  };
  for (const line of lines) parent.set(root(line.from), root(line.to));
  const sets = new Map();
  for (const box of boxes) {
    const id = root(box.id);
    if (!sets.has(id)) sets.set(id, { boxes: [], lines: [] });
    sets.get(id).boxes.push(box);
  }
  lines.forEach((line, index) => line.from !== line.to && sets.get(root(line.from)).lines.push({ ...line, index }));
  return [...sets.values()];
}

function laid(set, across) {
  const graph = new Graph({ multigraph: true });
  graph.setGraph({ rankdir: across ? "LR" : "TB", nodesep: 14, ranksep: 44 });
  graph.setDefaultEdgeLabel(() => ({}));
  for (const box of set.boxes) graph.setNode(box.id, { width: box.width, height: box.height });
  for (const line of set.lines) graph.setEdge(line.from, line.to, {}, String(line.index));
  layout(graph);
  const places = new Map(set.boxes.map((box) => {
    const node = graph.node(box.id);
    return [box.id, { x: node.x - node.width / 2, y: node.y - node.height / 2 }];
  }));
  const paths = new Map(graph.edges().map((edge) => [Number(edge.name), graph.edge(edge).points]));
  return { places, paths, width: graph.graph().width, height: graph.graph().height };
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
