// Actions: which there are, their confirmation, and what became of them.

import { el } from "./dom.js";
import { get, may, path, post, session } from "./net.js";

let known = [];

export async function loadActions() {
  known = await get("api/actions");
}

export function find(name, ofWatcher) {
  return known.find((action) => action.name === name && action.watcher === ofWatcher);
}

// What has to be confirmed, and why.
const HURTS = {
  stop: "Its processes end, and none takes their place.",
  restart: "All its processes end before new ones start: it does not work meanwhile.",
  kill: "The process is stopped and replaced.",
  signal: "What the process does with the signal is its own.",
  rm: "It stops and is forgotten until the configuration is read again.",
  disable: "It does not start with circusd any more.",
  decr: "A process ends.",
};
const HURTS_ALL = {
  stop: "All watchers of this machine stop.",
  restart: "circusd stops all watchers, reads its configuration, and starts them again. What was added by a command is gone.",
  reload: "The processes of all watchers are replaced.",
  "rolling-reload": "The processes of all watchers are replaced, one at a time.",
  reloadconfig: "What the plan says is done now.",
  upgrade: "The program of circusd is replaced; workers go on running.",
  quit: "All watchers stop, and circusd ends. Nothing in this console can start it again.",
};

const dialog = document.getElementById("ask");
const byId = (name) => document.getElementById(name);

// Asks in a dialog. fields: elements to be filled in. Whether it was confirmed.
export function confirm(title, text, label, fields = [], grave = true, detail = null) {
  byId("ask-title").textContent = title;
  byId("ask-text").textContent = text;
  byId("ask-fields").replaceChildren(...fields, ...(detail ? [detail] : []));
  const yes = byId("ask-yes");
  yes.textContent = label;
  yes.className = grave ? "grave" : "main";
  dialog.returnValue = "";
  dialog.showModal();
  (fields.length ? fields[0].querySelector("input, textarea, select") : byId("ask-no")).focus();
  return new Promise((done) => {
    dialog.addEventListener("close", () => done(dialog.returnValue === "yes"), { once: true });
  });
}
byId("ask-no").addEventListener("click", () => dialog.close(""));

// Tells at the corner of the page.
export function say(text, bad = false) {
  const line = el("p", { class: bad ? "bad" : "" }, text);
  const said = byId("said");
  said.append(line);
  while (said.children.length > 4) said.firstChild.remove();
  setTimeout(() => line.remove(), bad ? 15000 : 6000);
}

// Does something, after a confirmation where it hurts. Whether it was done.
export async function act(machine, watcher, name, fields = {}, title = null) {
  const hurts = (watcher === null ? HURTS_ALL : HURTS)[name];
  const about = watcher === null ? machine : watcher;
  if (hurts && !(await confirm(title || name + " " + about + "?", hurts, name))) return false;
  const place = watcher === null ? path("machines", machine, "actions", name) : path("machines", machine, "watchers", watcher, "actions", name);
  try {
    const { status, body } = await post(place, fields);
    say(name + " " + about + ": " + (status === 202 ? "begun; circusd works on it" : body.numprocesses !== undefined ? body.numprocesses + " processes" : "done"));
    return true;
  } catch (error) {
    say(name + " " + about + ": " + error.message, true);
    return false;
  }
}

// A button for an action; it is dead where the role does not suffice.
export function button(label, action, run) {
  const within = action && (action.watcher || session.all);
  const enough = within && may(action.role);
  const hint = action ? action.summary + (enough ? "" : within ? ": takes the role " + action.role : ": concerns every watcher") : "";
  const made = el("button", { type: "button", title: hint, disabled: !enough, onclick: run, "data-action": action ? action.name : "" }, label);
  actions.set(made, action);
  return made;
}
const actions = new WeakMap();

// Buttons below a node are dead, too, where the branch of a machine does not offer their actions. info: of the machine.
export function offer(node, info) {
  if (!info || !info.fleet) return;
  for (const child of node.querySelectorAll("[data-action]")) {
    const action = actions.get(child);
    if (!action || action.fleet) continue;
    if (!child.disabled) child.disabled = true;
    child.title = action.summary + ": the branch of this machine does not offer it";
  }
}
