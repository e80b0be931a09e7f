// The pages: which one is shown, who looks, and the stream that feeds them.

import { loadActions } from "./act.js";
import { configuration } from "./configuration.js";
import { el, put } from "./dom.js";
import { events } from "./events.js";
import { handlers, model, reset } from "./model.js";
import { login, openSession, post, session, stream } from "./net.js";
import { overview } from "./overview.js";
import { watcher } from "./watcher.js";

const main = document.getElementById("main");
const state = document.getElementById("link");
const theme = document.getElementById("theme");
const logout = document.getElementById("logout");
const WORDS = { connecting: "connecting", live: "live", lost: "no connection; trying again" };

let leave = null;
let close = null;
let detail = null;

function linked(now) {
  state.dataset.state = now;
  put(state, WORDS[now]);
  if (now === "live") reset();
  if (now === "denied") shut();
}

// One stream feeds all pages; that of a watcher has its details too.
function feed(wanted) {
  if (close && wanted === detail) return;
  detail = wanted;
  if (close) close();
  model.watcher = null;
  linked("connecting");
  close = stream("api/stream" + (wanted ? "?" + wanted : ""), handlers, linked);
}

function show() {
  const [page, ...names] = location.hash.replace(/^#\/?/, "").split("/").map(decodeURIComponent);
  if (leave) leave();
  leave = null;
  main.replaceChildren();
  const known = { "": "overview", w: "overview", events: "events", configuration: "configuration" }[page] || "overview";
  for (const link of document.querySelectorAll("nav a")) {
    if (link.dataset.page === known) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  const isWatcher = page === "w" && names.length === 2;
  feed(isWatcher ? new URLSearchParams({ machine: names[0], watcher: names[1] }).toString() : "");
  document.title = (isWatcher ? names[1] : known) + " – circus";
  if (isWatcher) leave = watcher(main, names[0], names[1]);
  else if (known === "events") leave = events(main);
  else if (known === "configuration") leave = configuration(main, names[0]);
  else leave = overview(main);
}

function shut() {
  if (close) close();
  if (leave) leave();
  close = leave = null;
  removeEventListener("hashchange", show);
  linked("connecting");
  logout.hidden = true;
  put(document.getElementById("who"), "");
  put(state, "not logged in");
  const input = el("input", { type: "password", id: "token", name: "token", autocomplete: "current-password", required: true });
  const wrong = el("p", { class: "bad", role: "alert" });
  const form = el("form", {}, el("h1", {}, "Log in"), el("label", {}, "Token", input), wrong, el("button", { type: "submit", class: "main" }, "Log in"));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    try { await login(input.value.trim()); await start(); } catch (error) { put(wrong, error.message); input.select(); }
  });
  main.replaceChildren(el("section", { class: "login" }, form));
  input.focus();
}

async function start() {
  await loadActions();
  put(document.getElementById("who"), session.name + " (" + session.role + ")");
  logout.hidden = !session.ends;
  addEventListener("hashchange", show);
  show();
}

logout.addEventListener("click", async () => {
  await post("api/logout").catch(() => {});
  shut();
});

document.getElementById("skip").addEventListener("click", (event) => { event.preventDefault(); main.focus(); });

const THEMES = { "": "as the system has them", light: "light", dark: "dark" };
function paint(name) {
  if (name) document.documentElement.dataset.theme = name;
  else delete document.documentElement.dataset.theme;
  theme.setAttribute("aria-label", "Colours: " + THEMES[name]);
  theme.title = "Colours: " + THEMES[name];
}
theme.addEventListener("click", () => {
  const names = Object.keys(THEMES);
  const next = names[(names.indexOf(document.documentElement.dataset.theme || "") + 1) % names.length];
  localStorage.setItem("circus-theme", next);
  paint(next);
});
const kept = localStorage.getItem("circus-theme");
paint(kept in THEMES ? kept : "");

// A link with a token in its fragment, which no server sees, logs in.
const given = /^#token=(.+)$/.exec(location.hash);
if (given) {
  history.replaceState(null, "", location.pathname + "#/");
  await login(given[1]).catch(() => {});
}
try {
  await openSession();
  await start();
} catch (error) {
  if (error.status === 401) shut();
  else main.replaceChildren(el("p", { class: "note bad", role: "alert" }, error.message));
}
