// The configuration file: what is wrong with it, what reading it again would do, and then doing it. And circusd itself.

import { act, button, confirm, find, offer, say } from "./act.js";
import { el, put } from "./dom.js";
import { model, watch } from "./model.js";
import { get, may, path, post } from "./net.js";

function change(kind, entry) {
  const why = entry.why ? ": " + (Array.isArray(entry.why) ? entry.why.join(", ") : entry.why) : "";
  const scaled = entry.change === "scaled" ? " from " + entry.from + " to " + entry.to : "";
  const starts = entry.starts === true ? ", starts" : entry.starts === false ? ", does not start" : "";
  const grace = entry.gracefully === true ? " gracefully" : "";
  return el("tr", {}, el("td", {}, kind), el("th", { scope: "row" }, entry.name), el("td", {}, entry.change + scaled + grace + why + starts));
}

export function configuration(main, wanted) {
  // A machine of a fleet has its configuration where it is: its branch offers none of this.
  const own = () => [...model.machines].filter(([, { info }]) => !(info && info.fleet)).map(([name]) => name).sort();
  let machine = wanted || own()[0] || "";
  let plan = null;
  const result = el("div", { id: "plan", role: "status" });
  const prune = el("input", { type: "checkbox", id: "prune", onchange: () => forget() });
  const apply = button("Apply this plan…", find("reloadconfig", false), async () => {
    if (await act(machine, null, "reloadconfig", { plan: plan.digest, ...(prune.checked ? { prune: true } : {}) })) forget();
  });
  const check = button("Check, and make a plan", find("reloadconfig", false), () => look());
  check.id = "check";
  apply.id = "apply";
  const forget = () => { plan = null; apply.disabled = true; result.replaceChildren(); };
  forget();

  async function look() {
    forget();
    try {
      plan = await get(path("machines", machine, "plan") + (prune.checked ? "?prune=1" : ""));
    } catch (error) {
      result.replaceChildren(el("p", { class: "note bad" }, error.message));
      return;
    }
    const list = (title, texts, bad) => (texts && texts.length ? [el("h3", {}, title), el("ul", { class: bad ? "bad" : "" }, ...texts.map((text) => el("li", {}, typeof text === "string" ? text : JSON.stringify(text))))] : []);
    if (!plan.valid) {
      result.replaceChildren(el("p", { class: "note bad" }, "The file cannot be used: " + plan.reason), ...list("Errors", plan.details, true), ...list("Warnings", plan.warnings));
      return;
    }
    const changes = [["watcher", plan.watchers], ["socket", plan.sockets]].flatMap(([kind, entries]) => (entries || []).filter((entry) => entry.change !== "kept").map((entry) => change(kind, entry)));
    const circus = plan.circus || { applied: [], needs_restart: [] };
    const none = !changes.length && !circus.applied.length && !circus.needs_restart.length;
    result.replaceChildren(
      el("p", { class: none ? "dim" : "note" }, none ? "The file is valid, and nothing in it has changed." : "The file is valid. Applied, it does this:"),
      ...(changes.length ? [el("table", {}, el("thead", {}, el("tr", {}, ...["", "Name", "Change"].map((title) => el("th", { scope: "col" }, title || "Kind")))), el("tbody", {}, ...changes))] : []),
      ...list("Options of [circus] that take effect", circus.applied), ...list("Options of [circus] that wait for a restart", circus.needs_restart),
      ...list("Warnings", plan.warnings));
    apply.disabled = !may("admin");
  }

  const needs = [];
  const needing = (made) => { needs.push([made, made.disabled]); made.disabled = true; return made; };
  const pick = el("select", { id: "machine", onchange: () => { machine = pick.value; forget(); } });
  const add = async () => {
    const label = (text, input) => el("label", {}, text, input);
    const name = el("input", { type: "text", required: true });
    const cmd = el("input", { type: "text", required: true });
    const count = el("input", { type: "number", min: "0", value: "1" });
    const start = el("input", { type: "checkbox", checked: true });
    if (!(await confirm("Add a watcher", "It exists until it is removed or circusd ends; no file is changed.", "add",
      [label("Name", name), label("Command", cmd), label("Processes", count), label("Start it", start)], false))) return;
    const fields = { name: name.value.trim(), cmd: cmd.value.trim(), start: start.checked, options: { numprocesses: count.value } };
    try { await post(path("machines", machine, "actions", "add"), fields); say("add " + fields.name + ": done"); } catch (error) { say("add " + fields.name + ": " + error.message, true); }
  };
  const onMachine = (label, name, fields = {}) => needing(button(label, find(name, false), () => act(machine, null, name, fields)));
  needing(check);
  const none = el("p", { class: "note", hidden: true }, "The machines shown are those of fleets: their files are read and changed where they are.");
  main.append(el("h1", {}, "Configuration"), none,
    el("section", {}, el("h2", {}, "The file"), el("div", { class: "bar" }, el("label", {}, "Machine", pick), el("label", {}, prune, "remove what was added by a command"), check, apply), result),
    el("section", {}, el("h2", {}, "circusd"), el("div", { class: "bar", role: "group", "aria-label": "circusd" },
      needing(button("Add a watcher…", find("add", false), add)), onMachine("Open log files again", "reopenlogs"), onMachine("Rolling reload of all…", "rolling-reload"),
      onMachine("Restart circusd…", "restart"), onMachine("Upgrade circusd…", "upgrade"), onMachine("Quit circusd…", "quit"))));
  const end = watch(() => {
    const names = own();
    none.hidden = names.length > 0 || model.machines.size === 0;
    if (!none.hidden) for (const [, { info }] of model.machines) offer(main, info);
    if (names.join("\n") !== [...pick.options].map((option) => option.value).join("\n")) {
      pick.replaceChildren(...names.map((name) => el("option", { value: name }, name)));
      if (!names.includes(machine)) machine = names[0] || "";
      pick.value = machine;
      // Before a machine is known there is nothing to ask.
      for (const [made, dead] of needs) made.disabled = dead || !machine;
    }
    put(pick.previousSibling, "Machine");
  });
  return end;
}
