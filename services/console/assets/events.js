// What has happened.

import { clock, el, put } from "./dom.js";
import { model, watch } from "./model.js";
import { link } from "./overview.js";
import { Table } from "./table.js";

const BAD = ["reload_failed", "unhealthy", "hook_failure"];
let filter = "";

function told(event) {
  const parts = [];
  if (event.process_pid !== undefined) parts.push("pid " + event.process_pid);
  if (event.exit_code !== undefined && event.exit_code !== null) parts.push(event.exit_code < 0 ? "signal " + -event.exit_code : "status " + event.exit_code);
  if (event.result) parts.push(event.result);
  for (const key of ["name", "reason", "error", "trigger"]) if (event[key]) parts.push(event[key]);
  return parts.join(", ");
}

export function events(main) {
  let paused = false;
  let held = [];
  const count = el("span", { class: "dim" });
  const search = el("input", { type: "search", id: "events-filter", value: filter, placeholder: "watcher, event, text", oninput: () => { filter = search.value.trim().toLowerCase(); draw(); } });
  const pause = el("button", { type: "button", id: "events-pause", "aria-pressed": "false", onclick: () => {
    paused = !paused;
    held = model.events.slice();
    pause.setAttribute("aria-pressed", String(paused));
    put(pause, paused ? "Go on" : "Pause");
    draw();
  } }, "Pause");
  const table = new Table([
    { title: "Time", class: "", cell(event, node) { put(node, clock(event.time)); } },
    { title: "Machine", class: "wide", cell(event, node) { put(node, event.machine); } },
    { title: "Watcher", class: "", cell(event, node) {
      if (!node.firstChild) node.append(el("a"));
      put(node.firstChild, event.watcher || "circusd");
      if (event.watcher) node.firstChild.setAttribute("href", link(event.machine, event.watcher));
      else node.firstChild.removeAttribute("href");
    } },
    { title: "Event", class: "", cell(event, node) { put(node, event.event); node.classList.toggle("bad", BAD.includes(event.event)); } },
    { title: "What", class: "wide", cell(event, node) { put(node, told(event)); } },
  ], { label: "Events, the latest first", name: "happened", open: (event) => { if (event.watcher) location.hash = link(event.machine, event.watcher); } });
  const draw = () => {
    const all = (paused ? held : model.events).slice().reverse();
    const shown = filter ? all.filter((event) => (event.machine + " " + (event.watcher || "circusd") + " " + event.event + " " + told(event)).toLowerCase().includes(filter)) : all;
    table.show(shown);
    put(count, shown.length + " events" + (model.dropped ? ", " + model.dropped + " older ones gone" : ""));
  };
  main.append(el("h1", {}, "Events"), el("div", { class: "bar" }, el("label", {}, "Filter", search), pause, count), table.box);
  const end = watch(draw);
  return () => { end(); table.end(); };
}
