"use strict";
// The live page. It reads one stream of events, keeps what it has drawn and changes only what
// differs. All text goes into the page as text, never as markup.

const SVG = "http://www.w3.org/2000/svg";
const HISTORY = 240;
const SILENCE_MS = 6000;
const RUNNING = new Set(["starting", "running", "stopping"]);
const $ = (id) => document.getElementById(id);

const page = { snapshot: null, selected: null, node: null, history: {}, drawn: null, sure: null };

// Small things

function el(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "class") made.className = value;
    else if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

function svg(name, attributes = {}) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function mark(element, name, value) {
  if (value === null || value === undefined || value === "") element.removeAttribute(name);
  else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value);
}

function short(value) {
  const size = Math.abs(value);
  if (size < 10 && !Number.isInteger(value)) return value.toFixed(1);
  if (size < 10000) return Math.round(value).toLocaleString("en");
  for (const [unit, step] of [["k", 1e3], ["M", 1e6], ["G", 1e9], ["T", 1e12]]) {
    const scaled = value / step;
    if (Math.abs(scaled) < 999.5 || unit === "T") return `${scaled.toFixed(Math.abs(scaled) < 99.95 ? 1 : 0)} ${unit}`;
  }
  return String(value);
}

const long = (value) => Math.round(value).toLocaleString("en");

function seconds(value) {
  if (value === null || value === undefined) return "–";
  if (value < 0.001) return "0 s";
  if (value < 1) return `${Math.round(value * 1000)} ms`;
  if (value < 100) return `${value.toFixed(1)} s`;
  if (value < 7200) return `${Math.round(value / 60)} min`;
  if (value < 172800) return `${Math.round(value / 3600)} h`;
  return `${long(value / 86400)} d`;
}

function duration(value) {
  const whole = Math.floor(value);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min${whole % 60 ? ` ${whole % 60} s` : ""}`;
  if (whole < 172800) return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
  return `${Math.floor(whole / 86400)} d ${Math.floor((whole % 86400) / 3600)} h`;
}

function moment(ns) {
  if (ns === null || ns === undefined) return "–";
  const date = new Date(ns / 1e6);
  return Number.isNaN(date.getTime()) ? "–" : date.toISOString().replace("T", " ").replace("Z", " UTC");
}

const level = (share) => (share >= 0.9 ? "bad" : share >= 0.5 ? "warn" : "");
const percent = (share) => `${Math.round(share * 100)} %`;

// The list of pipelines

function drawJobs(jobs) {
  const list = $("jobs");
  const known = new Map([...list.children].map((item) => [item.dataset.key, item]));
  jobs.forEach((job, place) => {
    let item = known.get(job.key);
    known.delete(job.key);
    if (!item) {
      const button = el("button", { type: "button", onclick: () => select(job.key) }, el("span", { class: "dot" }), el("b"), el("small"));
      item = el("li", {}, button);
      item.dataset.key = job.key;
    }
    if (list.children[place] !== item) list.insertBefore(item, list.children[place] || null);
    const button = item.firstChild;
    mark(button, "data-state", job.state);
    mark(button, "aria-current", job.key === page.selected ? "true" : null);
    put(button.children[1], job.key);
    put(button.children[2], job.state === "running" ? `${short(job.rates.in)} rows/s` : job.state);
  });
  for (const gone of known.values()) gone.remove();
}

function select(key) {
  page.selected = key;
  page.node = null;
  disarm();
  history.replaceState(null, "", `#${encodeURIComponent(key)}`);
  draw();
}

function chosen(jobs) {
  if (!jobs.some((job) => job.key === page.selected)) {
    let wanted = "";
    try { wanted = decodeURIComponent(location.hash.slice(1)); } catch { /* no key of ours */ }
    const first = jobs.find((job) => job.key === wanted) || jobs.find((job) => job.state === "failed") ||
      jobs.find((job) => RUNNING.has(job.state)) || jobs[jobs.length - 1];
    page.selected = first ? first.key : null;
    page.node = null;
  }
  return jobs.find((job) => job.key === page.selected) || null;
}

// The pipeline that is looked at

function draw() {
  const shown = page.snapshot;
  if (!shown) return;
  put($("version"), shown.version);
  const job = chosen(shown.jobs);
  drawJobs(shown.jobs);
  $("empty").hidden = job !== null;
  $("job").hidden = job === null;
  if (job === null) {
    document.title = "market_data_pipeline";
    return;
  }
  document.title = job.state === "failed" ? `✗ ${job.key} failed` : `${job.key}: ${short(job.rates.in)} rows/s`;
  drawHead(job, shown);
  drawFailure(job);
  drawTiles(job);
  drawGraph(job);
  drawDetail(job);
  drawChart(job);
  drawNodes(job);
}

function drawHead(job, shown) {
  put($("name"), job.key);
  put($("state"), job.state);
  mark($("state"), "data-state", job.state);
  const name = job.name && job.name !== job.key ? ` · graph ${job.name}` : "";
  const read = job.totals ? ` · ${short(job.totals.in)} rows read` : "";
  put($("since"), `for ${duration(Math.max(0, (shown.at_ns - job.since_ns) / 1e9))}${read}${name}`);
  const runs = RUNNING.has(job.state);
  $("stop").hidden = !runs;
  $("stop").disabled = job.state === "stopping";
  if (page.sure !== $("restart")) put($("restart"), runs ? "Restart" : "Start again");
  const known = job.fraction !== null && job.fraction !== undefined;
  $("progress").hidden = !known;
  if (known) {
    mark($("progress"), "aria-valuenow", Math.round(job.fraction * 100));
    $("progress").firstElementChild.style.width = `${(job.fraction * 100).toFixed(1)}%`;
  }
}

function drawFailure(job) {
  $("failure").hidden = !job.error;
  if (!job.error) return;
  const node = job.nodes.find((other) => other.state === "failed");
  put($("failure-title"), node ? `The node ${node.name} failed` : "This pipeline failed");
  put($("failure-text"), node && node.error ? node.error : job.error);
}

function drawTiles(job) {
  const totals = job.totals || { in: 0, out: 0, late: 0, rejected: 0, dropped: 0 };
  const fullest = Math.max(0, ...job.nodes.map((node) => node.fill));
  const lost = totals.rejected + totals.dropped;
  const tiles = [
    ["rows in", short(job.rates.in), "/s", ""],
    ["rows out", short(job.rates.out), "/s", ""],
    ["watermark lag", seconds(job.lag_s), "", ""],
    ["late rows", short(totals.late), "", totals.late ? "warn" : ""],
    ["rejected, dropped", short(lost), "", lost ? "bad" : ""],
    ["fullest queue", percent(fullest), "", level(fullest)],
  ];
  const list = $("tiles");
  while (list.children.length < tiles.length) {
    list.append(el("div", { class: "tile" }, el("dt"), el("dd", {}, el("span"), el("small"))));
  }
  tiles.forEach(([name, figure, unit, state], place) => {
    const tile = list.children[place];
    put(tile.children[0], name);
    put(tile.children[1].children[0], figure);
    put(tile.children[1].children[1], unit ? ` ${unit}` : "");
    mark(tile, "data-level", state);
  });
}

// The graph

const isNarrow = () => window.matchMedia("(max-width: 860px)").matches;

function drawGraph(job) {
  const upright = isNarrow();
  const shape = JSON.stringify([job.key, job.since_ns === 0, upright, job.nodes.map((n) => [n.name, n.type, n.layer, n.row]),
    job.edges.map((e) => [e.from, e.port, e.to, e.into])]);
  if (!page.drawn || page.drawn.shape !== shape) buildGraph(job, upright, shape);
  fit();
  for (const node of job.nodes) updateNode(page.drawn.nodes.get(node.name), node, RUNNING.has(job.state));
  const rates = new Map(job.nodes.map((node) => [node.name, node]));
  job.edges.forEach((edge, place) => updateEdge(page.drawn.edges[place], edge, rates));
}

function buildGraph(job, upright, shape) {
  const stage = $("stage");
  const lines = $("edges");
  const focused = document.activeElement && document.activeElement.dataset ? document.activeElement.dataset.node : undefined;
  lines.replaceChildren();
  for (const old of stage.querySelectorAll(".node")) old.remove();
  const size = upright ? { w: 148, h: 100, along: 146, across: 158 } : { w: 184, h: 104, along: 268, across: 128 };
  const place = (layer, row) => (upright
    ? { x: row * size.across + size.w / 2, y: layer * size.along + size.h / 2 }
    : { x: layer * size.along + size.w / 2, y: row * size.across + size.h / 2 });
  const nodes = new Map();
  for (const node of job.nodes) {
    const at = place(node.layer, node.row);
    const card = el("button", { type: "button", class: `node ${node.kind}`, onclick: () => pick(node.name) },
      el("span", { class: "head" }, el("b"), el("small")), el("span", { class: "rate" }, el("span"), el("small")),
      el("span", { class: "notes" }), el("span", { class: "busy" }, el("i")));
    card.dataset.node = node.name;
    card.style.left = `${at.x - size.w / 2}px`;
    card.style.top = `${at.y - size.h / 2}px`;
    card.title = [node.name, `${node.kind} ${node.type}`, node.settings].filter(Boolean).join("\n");
    put(card.children[0].children[0], node.name);
    put(card.children[0].children[1], node.type === node.name ? node.kind : node.type);
    stage.append(card);
    nodes.set(node.name, card);
  }
  const edges = job.edges.map((edge) => buildEdge(lines, edge, place, size, upright));
  const depth = Math.max(1, job.layers || 1) - 1;
  const breadth = Math.max(1, job.rows || 1) - 1;
  const end = place(depth, breadth);
  page.drawn = { shape, nodes, edges, width: end.x + size.w / 2, height: end.y + size.h / 2 };
  mark(lines, "width", page.drawn.width);
  mark(lines, "height", page.drawn.height);
  if (focused && nodes.has(focused)) nodes.get(focused).focus();
}

function buildEdge(lines, edge, place, size, upright) {
  const points = edge.points.map(([layer, row]) => place(layer, row));
  const first = points[0];
  const last = points[points.length - 1];
  const tip = 8;
  points[0] = upright ? { x: first.x, y: first.y + size.h / 2 } : { x: first.x + size.w / 2, y: first.y };
  points[points.length - 1] = upright ? { x: last.x, y: last.y - size.h / 2 - tip } : { x: last.x - size.w / 2 - tip, y: last.y };
  let path = `M${points[0].x} ${points[0].y}`;
  for (let at = 1; at < points.length; at += 1) {
    const a = points[at - 1];
    const b = points[at];
    const bend = Math.max(Math.abs(upright ? b.y - a.y : b.x - a.x) / 2, 16);
    path += upright ? ` C${a.x} ${a.y + bend} ${b.x} ${b.y - bend} ${b.x} ${b.y}` : ` C${a.x + bend} ${a.y} ${b.x - bend} ${b.y} ${b.x} ${b.y}`;
  }
  const end = points[points.length - 1];
  const arrow = upright ? `M${end.x} ${end.y + tip}l-5 -${tip + 1}h10z` : `M${end.x + tip} ${end.y}l-${tip + 1} -5v10z`;
  const line = svg("path", { class: edge.side ? "edge side" : "edge", d: path });
  const flow = svg("path", { class: "flow", d: path });
  const group = svg("g");
  group.append(line, flow, svg("path", { class: "tip", d: arrow }));
  const label = [edge.port === "out" ? "" : edge.port, edge.into ? `as ${edge.into}` : "", edge.policy === "block" ? "" : edge.policy].filter(Boolean).join(", ");
  lines.append(group);
  const total = line.getTotalLength();
  const middle = line.getPointAtLength(total * 0.5);
  const near = line.getPointAtLength(total * 0.78);
  if (label) {
    const text = svg("text", { class: "edge-text", x: upright ? near.x : middle.x, y: upright ? near.y : middle.y - 8 });
    text.textContent = label;
    group.append(text);
  }
  let gauge = null;
  if (edge.fill !== undefined) {
    const [w, h] = [38, 7];
    const x = middle.x - w / 2;
    const y = middle.y - h / 2;
    gauge = svg("rect", { class: "gauge", x: x + 1, y: y + 1, width: 0, height: h - 2, rx: 2.5 });
    const queued = svg("text", { class: "edge-text", x: middle.x, y: y + h + 13 });
    group.append(svg("rect", { class: "gauge-back", x, y, width: w, height: h, rx: 3.5 }), gauge, queued);
    gauge.queued = queued;
  }
  return { flow, gauge };
}

function updateEdge(drawn, edge, rates) {
  const from = rates.get(edge.from);
  const to = rates.get(edge.to);
  // A side output has no rate of its own; its reader's is what comes through.
  const rate = edge.side ? (to ? to.in_rate : 0) : Math.min(from ? from.out_rate : 0, to && to.in_rate > 0 ? to.in_rate : Infinity);
  const speed = rate <= 0 ? "" : rate < 100 ? 1 : rate < 10000 ? 2 : rate < 1000000 ? 3 : 4;
  mark(drawn.flow, "data-speed", speed);
  if (drawn.gauge && edge.fill !== undefined) {
    mark(drawn.gauge, "width", (36 * Math.max(edge.fill, edge.queued ? 0.06 : 0)).toFixed(1));
    mark(drawn.gauge, "data-level", edge.pressure === "hard" ? "bad" : edge.pressure === "soft" ? "warn" : level(edge.fill));
    put(drawn.gauge.queued, edge.fill >= 0.01 ? `${short(edge.queued)} rows` : "");
    drawn.gauge.parentNode.classList.toggle("calm", edge.fill < 0.01);
  }
}

function updateNode(card, node, runs) {
  mark(card, "data-state", node.state);
  mark(card, "data-pressure", node.pressure ? node.pressure.level || "" : "");
  mark(card, "aria-pressed", node.name === page.node ? "true" : "false");
  const rate = node.kind === "sink" ? node.in_rate : node.out_rate;
  const total = node.kind === "sink" ? node.in : node.out;
  put(card.children[1].children[0], short(runs ? rate : total));
  put(card.children[1].children[1], runs ? "rows/s" : "rows");
  card.children[3].firstChild.style.width = `${(node.busy * 100).toFixed(0)}%`;
  const notes = [];
  if (node.state === "failed") notes.push(["failed", "bad"]);
  else if (node.state !== "running") notes.push([node.state, ""]);
  if (node.pressure && node.pressure.level && node.pressure.level !== "ok") notes.push([`pressure ${node.pressure.level}`, node.pressure.level === "hard" ? "bad" : "warn"]);
  for (const [reason, kind] of [["rejected", "bad"], ["dropped", "bad"], ["late", "warn"]]) {
    if (node.reasons[reason]) notes.push([`${short(node.reasons[reason])} ${reason}`, kind]);
  }
  const share = Math.min(node.scale === undefined ? 1 : node.scale, node.throttle === undefined ? 1 : node.throttle);
  if (share < 1 && runs) notes.push([share ? `at ${percent(share)}` : "paused", "warn"]);
  if (node.lag_s !== null && node.state === "running") notes.push([`lag ${seconds(node.lag_s)}`, ""]);
  const box = card.children[2];
  while (box.children.length > notes.length) box.lastChild.remove();
  notes.forEach(([text, kind], place) => {
    if (!box.children[place]) box.append(el("span"));
    box.children[place].className = `note ${kind}`;
    put(box.children[place], text);
  });
  mark(card, "aria-label", `${node.name}, ${node.kind} ${node.type}, ${node.state}, ${long(node.in_rate)} rows a second in, ${long(node.out_rate)} out` +
    (node.lag_s === null ? "" : `, lag ${seconds(node.lag_s)}`) + Object.entries(node.reasons).map(([name, rows]) => `, ${long(rows)} ${name}`).join(""));
}

function fit() {
  const drawn = page.drawn;
  const room = $("scroller").clientWidth - 12;
  const scale = Math.min(1, Math.max(isNarrow() ? 0.75 : 0.62, room / drawn.width));
  const stage = $("stage");
  stage.style.width = `${drawn.width * scale}px`;
  stage.style.height = `${drawn.height * scale}px`;
  for (const child of stage.children) child.style.zoom = "";
  if (drawn.scale !== scale) {
    drawn.scale = scale;
    for (const card of drawn.nodes.values()) {
      card.dataset.left = card.dataset.left || parseFloat(card.style.left);
      card.dataset.top = card.dataset.top || parseFloat(card.style.top);
      card.style.transformOrigin = "0 0";
      card.style.transform = scale === 1 ? "" : `scale(${scale})`;
      card.style.left = `${card.dataset.left * scale}px`;
      card.style.top = `${card.dataset.top * scale}px`;
    }
    $("edges").style.transformOrigin = "0 0";
    $("edges").style.transform = scale === 1 ? "" : `scale(${scale})`;
  }
}

function pick(name) {
  page.sliding = false;
  page.node = page.node === name ? null : name;
  draw();
}

function drawDetail(job) {
  const node = job.nodes.find((other) => other.name === page.node);
  const box = $("detail");
  box.hidden = !node;
  if (!node) return;
  const rows = [
    ["state", node.state], ["rows in", long(node.in)], ["rows out", long(node.out)], ["created", long(node.created)],
    ["held", long(node.held)], ...Object.entries(node.reasons).map(([name, count]) => [name, long(count)]),
    ...Object.entries(node.marks).map(([name, count]) => [`marked ${name}`, long(count)]),
    ["watermark", moment(node.watermark_ns)], ["lag behind the newest event", seconds(node.lag_s)],
    ["busy", percent(node.busy)], ["waited for room", seconds(node.blocked_s)],
    ["waiting in front", `${long(node.queue_rows)} rows, ${percent(node.fill)}`],
  ];
  if (node.behind_s !== null && Math.abs(node.behind_s) < 86400) rows.push(["newest event, behind the clock", seconds(Math.max(0, node.behind_s))]);
  if (node.backlog !== null) rows.push(["backlog", long(node.backlog)]);
  if (node.pressure) rows.push(["pressure", `${node.pressure.level || "–"}, ${percent(node.pressure.saturation)} full`], ["last commit", seconds(node.pressure.commit_s)]);
  const wide = [["settings", node.settings], ["error", node.error || ""]].filter(([, text]) => text);
  if (node.throttle !== undefined && node.throttle < 1) rows.push(["the stores let it use", percent(node.throttle)]);
  put($("detail-title"), node.name);
  $("detail-list").replaceChildren(...rows.map(([name, text]) => el("div", {}, el("dt", {}, name), el("dd", {}, text))),
    ...wide.map(([name, text]) => el("div", { class: "wide" }, el("dt", {}, name), el("dd", {}, text))));
  $("scale").hidden = node.scale === undefined || !RUNNING.has(job.state);
  if (node.scale !== undefined && !page.sliding) {
    $("scale-input").value = Math.round(node.scale * 100);
    put($("scale-shown"), node.scale ? percent(node.scale) : "paused");
  }
}

$("scale-input").addEventListener("input", () => {
  page.sliding = true;
  put($("scale-shown"), `${$("scale-input").value} %`);
});
$("scale-input").addEventListener("change", async () => {
  await act("scale", { node: page.node, scale: Number($("scale-input").value) / 100 });
  page.sliding = false;
});

// Throughput over time

function remember(shown) {
  if (shown.history) {
    page.history = {};
    for (const [key, past] of Object.entries(shown.history)) {
      page.history[key] = past.at_ms.map((at, place) => ({ at, in: past.in[place], out: past.out[place] }));
    }
    return;
  }
  for (const job of shown.jobs) {
    if (!RUNNING.has(job.state)) continue;
    const past = page.history[job.key] || (page.history[job.key] = []);
    past.push({ at: shown.at_ns / 1e6, in: job.rates.in, out: job.rates.out });
    if (past.length > HISTORY) past.shift();
  }
}

function nice(top) {
  const step = 10 ** Math.floor(Math.log10(Math.max(top, 1)));
  return [1, 1.5, 2, 3, 4, 5, 7.5, 10].map((times) => times * step).find((value) => value >= top) || top;
}

function drawChart(job) {
  const chart = $("chart");
  const past = page.history[job.key] || [];
  const width = chart.clientWidth || 300;
  const height = chart.clientHeight || 190;
  const left = 46;
  const bottom = 20;
  const top = 8;
  const items = $("chart-legend").children;
  put(items[0].children[0], `${short(job.rates.in)}/s`);
  put(items[1].children[0], `${short(job.rates.out)}/s`);
  $("chart-card").hidden = past.length < 2;
  if (past.length < 2) return;
  const most = nice(Math.max(1, ...past.map((point) => Math.max(point.in, point.out))) * 1.02);
  const end = past.length ? past[past.length - 1].at : 0;
  const span = Math.min(120, Math.max(20, Math.ceil((end - past[0].at) / 20000) * 20)) * 1000;
  const x = (at) => left + (width - left - 4) * (1 - (end - at) / span);
  const y = (value) => top + (height - top - bottom) * (1 - value / most);
  const parts = [];
  for (const share of [0, 0.5, 1]) {
    parts.push(svg("line", { class: "grid", x1: left, x2: width, y1: y(most * share), y2: y(most * share) }));
    const text = svg("text", { x: left - 6, y: y(most * share) + 4, "text-anchor": "end" });
    text.textContent = short(most * share);
    parts.push(text);
  }
  for (const share of [1, 0.5, 0]) {
    const text = svg("text", { x: x(end - span * share), y: height - 3, "text-anchor": share === 1 ? "start" : share ? "middle" : "end" });
    text.textContent = share ? `${duration((span * share) / 1000)} ago` : "now";
    parts.push(text);
  }
  const recent = past.filter((point) => end - point.at <= span);
  if (recent.length > 1) {
    const line = (name) => recent.map((point, place) => `${place ? "L" : "M"}${x(point.at).toFixed(1)} ${y(point[name]).toFixed(1)}`).join("");
    const floor = y(0).toFixed(1);
    parts.push(svg("path", { class: "in-area", d: `${line("in")}L${x(end).toFixed(1)} ${floor}L${x(recent[0].at).toFixed(1)} ${floor}Z` }),
      svg("path", { class: "in-line", d: line("in") }), svg("path", { class: "out-line", d: line("out") }));
  }
  page.chart = { recent, x, top, floor: height - bottom, end };
  chart.replaceChildren(...parts);
  drawCursor();
}

function drawCursor() {
  if (!page.chart) return;
  const { recent, x, top, floor, end } = page.chart;
  if (page.pointer === undefined || !recent.length) {
    put($("readout"), "");
    return;
  }
  const near = recent.reduce((best, point) => (Math.abs(x(point.at) - page.pointer) < Math.abs(x(best.at) - page.pointer) ? point : best));
  $("chart").append(svg("line", { class: "cursor", x1: x(near.at), x2: x(near.at), y1: top, y2: floor }));
  put($("readout"), `${seconds((end - near.at) / 1000)} ago: ${long(near.in)} rows/s in, ${long(near.out)} rows/s out`);
}

// The table

function drawNodes(job) {
  const body = $("nodes").tBodies[0];
  const known = new Map([...body.rows].map((row) => [row.dataset.node, row]));
  const labels = [...$("nodes").tHead.rows[0].cells].slice(1).map((cell) => cell.textContent);
  job.nodes.forEach((node, place) => {
    let row = known.get(node.name);
    known.delete(node.name);
    if (!row) {
      row = el("tr", {}, el("th", { scope: "row" }), ...labels.map((label) => el("td", { "data-label": label })));
      row.dataset.node = node.name;
    }
    if (body.rows[place] !== row) body.insertBefore(row, body.rows[place] || null);
    mark(row, "class", node.kind);
    mark(row, "data-state", node.state);
    put(row.cells[0], node.name);
    const { late = 0, rejected = 0, dropped = 0 } = node.reasons;
    const other = Object.entries(node.reasons).reduce((sum, [name, count]) => sum + (["late", "rejected"].includes(name) ? 0 : count), 0);
    const cells = [
      [short(node.in_rate), node.in_rate], [short(node.out_rate), node.out_rate], [short(node.in), node.in, "", node.in], [short(node.out), node.out, "", node.out],
      [short(late), late, late ? "warn" : "", late], [short(rejected), rejected, rejected ? "bad" : "", rejected], [short(other), other, dropped ? "bad" : "", other],
      [short(node.held), node.held, "", node.held], [seconds(node.lag_s), node.lag_s], [percent(node.fill), node.fill, level(node.fill)], [percent(node.busy), node.busy],
    ];
    cells.forEach(([text, value, kind = "", exact], at) => {
      const cell = row.cells[at + 1];
      put(cell, text);
      mark(cell, "class", kind || (value ? "" : "zero"));
      if (exact !== undefined) mark(cell, "title", long(exact));
    });
  });
  for (const gone of known.values()) gone.remove();
}

// Stop and start

function disarm() {
  if (page.sure) page.sure.classList.remove("sure");
  clearTimeout(page.sureTimer);
  page.sure = null;
}

function arm(button, action, question) {
  if (page.sure === button) {
    disarm();
    act(action);
    return;
  }
  disarm();
  page.sure = button;
  button.classList.add("sure");
  put(button, question);
  page.sureTimer = setTimeout(() => { disarm(); put($("stop"), "Stop"); draw(); }, 4000);
}

async function act(action, body = null) {
  const key = page.selected;
  const request = { method: "POST" };
  if (body) Object.assign(request, { headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
  put($("stop"), "Stop");
  for (const button of [$("stop"), $("restart")]) button.disabled = true;
  try {
    const answer = await fetch(`/jobs/${encodeURIComponent(key)}/${action}`, request);
    if (answer.status === 401) askForToken();
    else if (!answer.ok) say((await answer.json()).detail);
  } catch {
    say("The server did not answer.");
  } finally {
    for (const button of [$("stop"), $("restart")]) button.disabled = false;
  }
}

function say(text) {
  $("failure").hidden = false;
  put($("failure-title"), "That did not work");
  put($("failure-text"), String(text));
}

$("stop").addEventListener("click", () => arm($("stop"), "stop", "Really stop?"));
$("restart").addEventListener("click", () => {
  const job = page.snapshot && page.snapshot.jobs.find((other) => other.key === page.selected);
  if (job && RUNNING.has(job.state)) arm($("restart"), "restart", "Really restart?");
  else act("restart");
});

// The stream

let stream = null;
let heard = 0;
let retry = 500;
let waiting = null;

function link(state, text) {
  mark($("link"), "data-state", state);
  put($("link"), text);
  $("frame").classList.toggle("stale", state !== "live" && page.snapshot !== null);
}

function connect() {
  clearTimeout(waiting);
  waiting = null;
  if (stream) stream.close();
  stream = new EventSource("/events");
  heard = performance.now();
  stream.onmessage = (event) => {
    heard = performance.now();
    retry = 500;
    page.snapshot = JSON.parse(event.data);
    remember(page.snapshot);
    link("live", "live");
    draw();
  };
  stream.onerror = () => {
    link("lost", "reconnecting");
    // Refused for good: the token is missing, or the server is starting.
    if (stream.readyState === EventSource.CLOSED) again();
  };
}

async function again() {
  if (waiting) return;
  waiting = setTimeout(async () => {
    waiting = null;
    if (await needsToken()) askForToken();
    else connect();
  }, retry);
  retry = Math.min(retry * 1.6, 5000);
}

async function needsToken() {
  try {
    return !(await (await fetch("/session")).json()).signed_in;
  } catch {
    return false;
  }
}

setInterval(() => {
  // A connection can die without a word, as when a phone sleeps.
  if (!waiting && !$("door").open && performance.now() - heard > SILENCE_MS) {
    link("lost", "reconnecting");
    connect();
  }
}, 1000);

function askForToken() {
  link("lost", "token needed");
  if (!$("door").open) $("door").showModal();
}

$("door-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  put($("wrong"), "");
  try {
    const answer = await fetch("/session", {
      method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ token: $("token").value }),
    });
    if (!answer.ok) {
      put($("wrong"), answer.status === 401 ? "That is not the token." : "The server refused it.");
      return;
    }
    $("token").value = "";
    $("door").close();
    connect();
  } catch {
    put($("wrong"), "The server did not answer.");
  }
});

// The rest

$("theme").addEventListener("click", () => {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : window.matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  try { localStorage.setItem("mdp-theme", root.dataset.theme); } catch { /* storage may be off */ }
});
try {
  const theme = localStorage.getItem("mdp-theme");
  if (theme === "dark" || theme === "light") document.documentElement.dataset.theme = theme;
} catch { /* storage may be off */ }

const point = (event) => { page.pointer = event.clientX - $("chart").getBoundingClientRect().left; if (page.chart) draw(); };
$("chart").addEventListener("pointermove", point);
$("chart").addEventListener("pointerdown", point);
$("chart").addEventListener("pointerleave", () => { page.pointer = undefined; if (page.chart) draw(); });
window.addEventListener("resize", draw);
window.addEventListener("hashchange", () => { page.selected = null; draw(); });
put($("hint"), `curl -X POST ${location.origin}/jobs -H 'Content-Type: application/yaml' --data-binary @pipeline.yaml`);

(async () => {
  if (await needsToken()) askForToken();
  else connect();
})();
