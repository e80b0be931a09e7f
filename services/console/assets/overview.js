// Machines and their watchers, as a tree.

import { act, button, find, offer } from "./act.js";
import { el, mood, percent, put, size, span } from "./dom.js";
import { grown, model, watch } from "./model.js";
import { Table } from "./table.js";

const folded = new Set();
let filter = "";
let only = "";

export function link(machine, watcher) {
  return "#/w/" + encodeURIComponent(machine) + "/" + encodeURIComponent(watcher);
}

const REACH = { up: "state good", connecting: "state warn", down: "state bad" };

const columns = [
  { title: "Name", class: "name", cell(row, node) {
    if (row.kind !== node.dataset.kind) {
      node.dataset.kind = row.kind;
      node.replaceChildren(row.kind === "machine" ? el("span") : el("a", { class: "inner" }));
    }
    const child = node.firstChild;
    if (row.kind === "machine") put(child, (folded.has(row.name) ? "▸ " : "▾ ") + row.name);
    else { put(child, row.name); const to = link(row.machine, row.name); if (child.getAttribute("href") !== to) child.setAttribute("href", to); }
  } },
  { title: "State", class: "", cell(row, node) {
    if (!node.firstChild) node.append(el("span"));
    const text = row.kind === "machine" ? row.reach : row.health || row.state;
    node.firstChild.className = row.kind === "machine" ? REACH[text] : mood(text);
    put(node.firstChild, row.enabled === false && text === "stopped" ? "disabled" : text);
  } },
  { title: "Procs", class: "num", cell(row, node) {
    put(node, row.kind === "machine" ? row.running : (row.running ?? "–") + "/" + (row.wanted ?? "–") + (row.unready ? " ·" + row.unready : ""));
  } },
  { title: "CPU %", class: "num", cell(row, node) { put(node, percent(row.cpu)); } },
  { title: "Memory", class: "num", cell(row, node) { put(node, size(row.rss)); } },
  { title: "Uptime", class: "num wide", cell(row, node) { put(node, span(row.kind === "machine" ? row.uptime : grown(row, row.uptime))); } },
  { title: "Restarts", class: "num wide", cell(row, node) { put(node, row.restarts ?? "–"); } },
  { title: "Why", class: "wide", cell(row, node) { put(node, row.reason || row.operation || ""); if (node.title !== node.textContent) node.title = node.textContent; } },
];

const ILL = ["degraded", "backing off", "failed", "held back", "starting", "stopping"];

function rows() {
  const shown = [];
  for (const [name, { info, names, rows }] of [...model.machines].sort()) {
    if (!info) continue;
    const own = [];
    const sum = { running: 0, cpu: null, rss: null, restarts: 0 };
    for (const watcher of names) {
      const row = rows.get(watcher);
      if (!row) continue;
      sum.running += row.running || 0;
      sum.restarts += row.restarts || 0;
      if (row.cpu !== null) sum.cpu = (sum.cpu || 0) + row.cpu;
      if (row.rss !== null) sum.rss = (sum.rss || 0) + row.rss;
      if (filter && !watcher.toLowerCase().includes(filter)) continue;
      if (only === "ill" && !ILL.includes(row.health)) continue;
      if (only === "on" && row.state === "stopped") continue;
      own.push({ ...row, kind: "watcher", jobKind: row.kind, machine: name });
    }
    const labels = info.fleet && info.fleet.labels.length ? info.fleet.labels.join(", ") + " · " : "";
    const reason = info.reach.reason || labels + (info.circusd.version ? "circusd " + info.circusd.version : info.endpoint);
    shown.push({ kind: "machine", name, reach: info.reach.state, reason, ...sum, uptime: info.circusd.age, count: own.length });
    if (!folded.has(name)) shown.push(...own);
  }
  return shown;
}

function fold(row) {
  const name = row.kind === "machine" ? row.name : row.machine;
  if (!folded.delete(name)) folded.add(name);
}

const socketColumns = [
  { title: "Socket", class: "", cell(row, node) { put(node, row.name); } },
  { title: "Address", class: "", cell(row, node) { put(node, row.path || row.host + ":" + row.port); } },
  { title: "Queue", class: "num", cell(row, node) { put(node, row.queue ?? "–"); } },
  { title: "Backlog", class: "num wide", cell(row, node) { put(node, row.backlog ?? "–"); } },
  { title: "Hits", class: "num wide", cell(row, node) { put(node, row.reads ?? "–"); } },
];

export function overview(main) {
  const draw = () => {
    const all = rows();
    table.show(all);
    put(count, all.filter((row) => row.kind === "watcher").length + " watchers shown");
    const sockets = [...model.machines.values()].flatMap(({ info }) => (info ? info.sockets : []));
    // What steers all watchers is for a console of one machine.
    for (const made of onAll) made.hidden = model.machines.size !== 1;
    socketBox.hidden = sockets.length === 0;
    for (const { info } of model.machines.values()) offer(main, info);
    socketTable.show(sockets);
    const lost = [...model.machines.values()].filter(({ info }) => info && info.reach.state === "down");
    note.hidden = lost.length === 0;
    put(note, lost.map(({ info }) => info.name + ": " + info.reach.reason).join(" · "));
  };
  const table = new Table(columns, {
    label: "Machines and watchers", name: "watchers", role: "treegrid",
    level: (row) => (row.kind === "machine" ? 1 : 2),
    expanded: (row) => (row.kind === "machine" ? !folded.has(row.name) : null),
    className: (row) => row.kind,
    open: (row) => { if (row.kind === "watcher") location.hash = link(row.machine, row.name); else { fold(row); draw(); } },
    fold: (row) => { fold(row); draw(); },
  });
  table.body.addEventListener("click", (event) => {
    const node = event.target.closest(".row.machine");
    const row = node && table.rows[Number(node.getAttribute("aria-rowindex")) - 2];
    if (row) { fold(row); draw(); }
  });
  const socketTable = new Table(socketColumns, { label: "Sockets", name: "sockets" });
  const count = el("span", { class: "dim" });
  const note = el("p", { class: "note bad", role: "status", hidden: true });
  const socketBox = el("section", {}, el("h2", {}, "Sockets"), socketTable.box,
    el("p", { class: "dim" }, "Queue: connections that wait to be accepted, as the kernel counts them at this machine. Hits: as circusd-stats sees them."));
  const search = el("input", { type: "search", id: "filter", value: filter, placeholder: "name", oninput: () => { filter = search.value.trim().toLowerCase(); draw(); } });
  const which = el("select", { id: "only", onchange: () => { only = which.value; draw(); } },
    el("option", { value: "" }, "all"), el("option", { value: "on" }, "not stopped"), el("option", { value: "ill" }, "in trouble"));
  which.value = only;
  const onAll = [["Start all", "start"], ["Reload all", "reload"], ["Stop all", "stop"]].map(([label, name]) =>
    button(label, find(name, false), () => { for (const machine of model.machines.keys()) act(machine, null, name); }));
  main.append(el("h1", {}, "Watchers"), note,
    el("div", { class: "bar" }, el("label", {}, "Filter", search), el("label", {}, "Show", which), count, el("span", { class: "grow" }), ...onAll),
    table.box, socketBox);
  socketBox.style.marginTop = "1rem";
  const end = watch(draw);
  return () => { end(); table.end(); socketTable.end(); };
}
