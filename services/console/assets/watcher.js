// One watcher: its processes, what it uses, what went wrong, what it prints, and its options.

import { act, button, confirm, find, offer, say } from "./act.js";
import { clock, el, mood, percent, put, size, span } from "./dom.js";
import { grown, model, watch } from "./model.js";
import { get, may, path, post } from "./net.js";
import { Plot } from "./plot.js";
import { Table } from "./table.js";
import { tail } from "./tail.js";

const POINTS = 4000;

export function watcher(main, machine, name) {
  const here = path("machines", machine, "watchers", name);
  const run = (action, fields, title) => act(machine, name, action, fields, title);
  const row = () => (model.watcher && model.watcher.name === name ? model.watcher : null);

  const state = el("span", { class: "state" }, "…");
  const about = el("p", { class: "dim" });
  const reason = el("p", { class: "note", hidden: true });
  const gone = el("p", { class: "note bad", role: "status", hidden: true });

  const field = (label, input) => el("label", {}, label, input);
  const many = async (action) => {
    const input = el("input", { type: "number", min: "1", value: "1", name: "nb" });
    const title = action === "incr" ? "More processes of " : "Fewer processes of ";
    if (await confirm(title + name, "How many?", action, [field("Processes", input)], action === "decr")) {
      await actNow(action, { nb: Number(input.value) });
    }
  };
  const actNow = async (action, fields) => {
    // It was confirmed already, with what it is to be done with.
    try {
      const { body } = await post(here + "/actions/" + action, fields);
      say(action + " " + name + ": " + (body.numprocesses === undefined ? "done" : body.numprocesses + " processes"));
    } catch (error) { say(action + " " + name + ": " + error.message, true); }
  };
  const signal = async (pid) => {
    const input = el("input", { type: "text", value: "HUP", name: "signum", autocapitalize: "characters" });
    const deep = el("input", { type: "checkbox", name: "recursive" });
    if (await confirm("Signal " + (pid ? "process " + pid : "all processes") + " of " + name, "What a process does with a signal is its own.", "signal",
      [field("Signal", input), field("Its descendants too", deep)])) {
      await actNow("signal", { signum: input.value.trim(), ...(pid ? { pid } : {}), ...(deep.checked ? { recursive: true } : {}) });
    }
  };

  const bar = el("div", { class: "bar", role: "group", "aria-label": "Actions" },
    button("Start", find("start", true), () => run("start")),
    button("Stop", find("stop", true), () => run("stop")),
    button("Restart", find("restart", true), () => run("restart")),
    button("Reload", find("reload", true), () => run("reload")),
    button("Rolling reload", find("rolling-reload", true), () => run("rolling-reload")),
    button("+", find("incr", true), () => many("incr")),
    button("−", find("decr", true), () => many("decr")),
    button("Signal…", find("signal", true), () => signal(null)),
    button("Run", find("run", true), () => run("run")),
    button("Enable", find("enable", true), () => run("enable")),
    button("Disable", find("disable", true), () => run("disable")),
    button("Remove…", find("rm", true), async () => { if (await run("rm")) location.hash = "#/"; }));
  for (const [label, words] of [["+", "More processes"], ["−", "Fewer processes"]]) {
    [...bar.children].find((child) => child.textContent === label).setAttribute("aria-label", words);
  }

  const cpu = new Plot("CPU", (value) => percent(value) + " %", 1);
  const memory = new Plot("Memory", size, 1 << 20);
  let points = [];
  let step = 10;

  const table = new Table([
    { title: "PID", class: "num", cell(worker, node) { put(node, worker.pid); } },
    { title: "WID", class: "num", cell(worker, node) { put(node, worker.wid); } },
    { title: "Ready", class: "", cell(worker, node) {
      if (!node.firstChild) node.append(el("span"));
      const ready = worker.ready === undefined ? "running" : worker.ready ? "ready" : "not ready";
      node.firstChild.className = ready === "not ready" ? "state warn" : "state good";
      put(node.firstChild, ready);
    } },
    { title: "CPU %", class: "num", cell(worker, node) { put(node, percent(worker.cpu)); } },
    { title: "Memory", class: "num", cell(worker, node) { put(node, size(worker.rss)); } },
    { title: "Uptime", class: "num wide", cell(worker, node) { put(node, span(row() ? grown(row(), worker.uptime) : worker.uptime)); } },
    { title: "Status", class: "wide", cell(worker, node) { put(node, worker.status || worker.check_error || worker.title || ""); } },
    { title: "Actions", class: "wide", cell(worker, node) {
      if (!node.firstChild) {
        node.append(button("Signal", find("signal", true), () => signal(Number(node.dataset.pid))), " ",
          button("Kill", find("kill", true), () => run("kill", { pid: Number(node.dataset.pid) }, "Kill process " + node.dataset.pid + "?")));
        for (const child of node.querySelectorAll("button")) child.tabIndex = -1;
      }
      node.dataset.pid = String(worker.pid);
      offer(node, (model.machines.get(machine) || {}).info);
    } },
  ], { label: "Processes", name: "processes", open: (worker) => may("operate") && signal(worker.pid) });

  const why = el("div", { "aria-live": "off" });
  const showWhy = async () => {
    try {
      const told = await get(here + "/why");
      const events = told.events.map((event) => el("li", {}, clock(event.time) + " " + event.text + (event.times > 1 ? " (" + event.times + " times)" : "")));
      why.replaceChildren(
        told.reason ? el("p", {}, told.health + ": " + told.reason) : el("p", { class: "dim" }, "Nothing is wrong now."),
        events.length ? el("ol", {}, ...events) : el("p", { class: "dim" }, "Nothing went wrong since circusd started."),
        ...(told.lines.length ? [el("h3", {}, "Printed last" + (told.worker ? " by worker " + told.worker.wid : "")), el("pre", {}, told.lines.map((line) => line.line).join("\n"))] : []));
    } catch (error) { why.replaceChildren(el("p", { class: "bad" }, error.message)); }
  };

  const output = tail(machine, name);
  const options = el("div");
  const everything = el("input", { type: "checkbox", id: "options-all", onchange: () => showOptions() });
  const text = (value) => (value === null ? "" : typeof value === "string" ? value : JSON.stringify(value));
  const showOptions = async () => {
    try {
      const told = (await get(here + "/options" + (everything.checked ? "?all=1" : ""))).options;
      const rows = Object.entries(told).map(([key, value]) => {
        const shown = text(value);
        const input = may("admin") ? el("input", { type: "text", name: key, value: shown, "aria-label": key }) : null;
        if (input) input.dataset.before = shown;
        return el("tr", {}, el("th", { scope: "row" }, key), el("td", {}, input || shown));
      });
      options.replaceChildren(el("table", {}, el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "Option"), el("th", { scope: "col" }, "Value"))), el("tbody", {}, ...rows)));
    } catch (error) { options.replaceChildren(el("p", { class: "bad" }, error.message)); }
  };
  const more = { key: el("input", { type: "text", id: "set-key" }), value: el("input", { type: "text", id: "set-value" }) };
  const set = async () => {
    const changed = {};
    for (const input of options.querySelectorAll("input")) if (input.value !== input.dataset.before) changed[input.name] = input.value;
    if (more.key.value.trim()) changed[more.key.value.trim()] = more.value.value;
    if (!Object.keys(changed).length) return say("No option was changed.", true);
    const list = el("ul", {}, ...Object.entries(changed).map(([key, value]) => el("li", {}, key + " = " + value)));
    if (!(await confirm("Set options of " + name + "?", "Processes are replaced where a change needs new ones. No file is changed.", "set", [], true, list))) return;
    await actNow("set", { options: changed });
    more.key.value = more.value.value = "";
    showOptions();
  };

  main.append(
    el("h1", {}, machine + " / " + name + " ", state), gone, reason, about, bar,
    el("div", { class: "columns" },
      el("section", {}, el("h2", {}, "CPU"), cpu.node), el("section", {}, el("h2", {}, "Memory"), memory.node)),
    el("section", {}, el("h2", {}, "Processes"), table.box),
    el("section", {}, el("div", { class: "bar" }, el("h2", {}, "Why"), el("button", { type: "button", id: "why-again", onclick: showWhy }, "Look again")), why),
    output.node,
    el("section", {}, el("div", { class: "bar" }, el("h2", {}, "Options"), el("label", {}, everything, "with defaults")), options,
      ...(may("admin") ? [el("div", { class: "bar" }, el("label", {}, "Another option", more.key), el("label", {}, "Value", more.value), button("Set…", find("set", true), set))] : [])));

  let health = null;
  let told = 0;
  // What the stream does not bring is asked for once it says that there is this watcher, and again when it has come back.
  let asked = null;
  const ask = () => {
    get(here + "/history").then((history) => {
      const first = history.points.length ? history.points[0][0] : Infinity;
      const last = history.points.length ? history.points.at(-1)[0] : -Infinity;
      step = history.step;
      points = [...points.filter((point) => point[0] < first), ...history.points, ...points.filter((point) => point[0] > last)];
      draw();
    }, () => {});
    if (![...options.querySelectorAll("input")].some((input) => input.value !== input.dataset.before)) showOptions();
  };
  const draw = () => {
    const now = row();
    gone.hidden = !model.gone;
    put(gone, now ? "This watcher is gone." : "There is no such watcher.");
    const { info } = model.machines.get(machine) || {};
    offer(main, info);
    if (!info || info.reach.state !== "up") asked = null;
    else if (now && asked !== model.turn) { asked = model.turn; ask(); }
    if (!now) return;
    state.className = mood(now.health || now.state);
    put(state, now.health || now.state);
    reason.hidden = !now.reason;
    put(reason, now.reason);
    put(about, (now.running ?? 0) + " of " + (now.wanted ?? 0) + " processes, up " + span(grown(now, now.uptime)) + ", " + (now.restarts ?? 0) + " restarts" +
      (now.operation ? ", " + now.operation : "") + (now.schedule ? ", schedule " + now.schedule : "") + (now.next_run ? ", next at " + new Date(now.next_run * 1000).toLocaleString() : "") + (now.enabled === false ? ", disabled" : ""));
    table.show(now.processes);
    if (now.cpu !== null && now.seen !== told) {
      told = now.seen;
      points.push([Date.now() / 1000, now.cpu, now.rss]);
      if (points.length > POINTS) points = points.slice(-POINTS);
    }
    cpu.draw(points.map((point) => [point[0], point[1]]), step);
    memory.draw(points.map((point) => [point[0], point[2]]), step);
    const fresh = now.health + "|" + now.reason + "|" + now.restarts;
    if (fresh !== health) { health = fresh; showWhy(); }
  };
  const end = watch(draw);
  return () => { end(); output.end(); table.end(); };
}
