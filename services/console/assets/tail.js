// What workers print, as it comes. The page keeps the last lines only, and makes elements for those that are seen.

import { clock, el, paced, put } from "./dom.js";
import { get, path, stream } from "./net.js";

const KEPT = 5000;
const HEIGHT = 18;
const LONGEST = 4000;

export function tail(machine, watcher) {
  let lines = [];
  let shown = [];
  let paused = false;
  let held = [];
  let search = "";
  let which = "stdout";
  let follows = true;
  let dropped = 0;
  let beyond = 0;
  let close = null;
  let turn = 0;

  const box = el("div", { class: "lines", tabindex: "0", role: "log", "aria-label": "Output", "aria-live": "off" });
  const pad = el("div", { class: "pad" });
  box.append(pad);
  const count = el("span", { class: "dim", id: "tail-count" });
  const state = el("span", { class: "state" }, "connecting");
  const pause = el("button", { type: "button", id: "tail-pause", "aria-pressed": "false", onclick: () => setPaused(!paused) }, "Pause");
  const input = el("input", { type: "search", id: "tail-search", placeholder: "text", oninput: () => { search = input.value.toLowerCase(); sift(); } });
  const pick = el("select", { id: "tail-stream", onchange: () => { which = pick.value; open(); } },
    el("option", { value: "stdout" }, "stdout"), el("option", { value: "stderr" }, "stderr"));
  const download = el("a", { id: "tail-download", download: "" }, "Download");
  const clear = el("button", { type: "button", onclick: () => { lines = []; held = []; sift(); } }, "Clear");

  function draw() {
    pad.style.height = shown.length * HEIGHT + "px";
    if (follows && !paused) box.scrollTop = pad.offsetHeight;
    const first = Math.max(0, Math.floor(box.scrollTop / HEIGHT) - 4);
    const last = Math.min(shown.length, Math.ceil((box.scrollTop + box.clientHeight) / HEIGHT) + 4);
    const made = [];
    for (let at = first; at < last; at++) {
      const line = shown[at];
      const text = line.line.length > LONGEST ? line.line.slice(0, LONGEST) + "…" : line.line;
      const node = el("div", {}, el("span", { class: "when" }, clock(line.time) + " " + line.wid));
      node.style.top = at * HEIGHT + "px";
      const found = search ? text.toLowerCase().indexOf(search) : -1;
      if (found < 0) node.append(text);
      else node.append(text.slice(0, found), el("mark", {}, text.slice(found, found + search.length)), text.slice(found + search.length));
      made.push(node);
    }
    pad.replaceChildren(...made);
    put(count, shown.length + " lines" + (dropped ? ", " + dropped + " dropped" : "") + (beyond ? ", " + beyond + " older ones gone" : "") + (paused && held.length ? ", " + held.length + " held" : ""));
  }
  const later = paced(100, draw);

  function sift() {
    shown = search ? lines.filter((line) => line.line.toLowerCase().includes(search)) : lines.slice();
    const query = new URLSearchParams({ stream: which, ...(search ? { search } : {}) });
    download.setAttribute("href", path("machines", machine, "watchers", watcher, "tail", "download") + "?" + query);
    later();
  }

  function keep(news) {
    for (const line of news) {
      lines.push(line);
      if (!search || line.line.toLowerCase().includes(search)) shown.push(line);
    }
    if (lines.length > KEPT) { beyond += lines.length - KEPT; lines = lines.slice(-KEPT); }
    if (shown.length > KEPT) shown = shown.slice(-KEPT);
  }

  function setPaused(now) {
    paused = now;
    pause.setAttribute("aria-pressed", String(paused));
    put(pause, paused ? "Go on" : "Pause");
    if (!paused) { keep(held); held = []; follows = true; }
    later();
  }

  box.addEventListener("scroll", () => {
    follows = box.scrollTop + box.clientHeight >= pad.offsetHeight - HEIGHT;
    later();
  }, { passive: true });

  function tell(mood, text) {
    state.className = "state " + mood;
    put(state, text);
  }

  async function open() {
    const mine = ++turn;
    if (close) close();
    close = null;
    [lines, held, dropped, beyond] = [[], [], 0, 0];
    sift();
    const url = path("machines", machine, "watchers", watcher, "tail") + "?stream=" + which;
    // A stream does not say why there is none.
    const none = await get(url + "&lines=1").then(() => null, (error) => error);
    if (mine !== turn) return;
    if (none && [404, 409].includes(none.status)) return tell("", none.message);
    let fresh = true;
    close = stream(url + "&lines=500", {
      lines(batch) {
        // A stream that has come back begins with the last lines again.
        if (fresh) { fresh = false; lines = []; held = []; sift(); }
        dropped += batch.dropped + batch.missed;
        if (paused) { held.push(...batch.lines); if (held.length > KEPT) { dropped += held.length - KEPT; held = held.slice(-KEPT); } } else keep(batch.lines);
        later();
      },
    }, (now) => {
      if (now === "lost") fresh = true;
      tell(now === "live" ? "good" : "bad", now === "live" ? "live" : "no output can be had; trying again");
    });
  }

  const node = el("section", { "aria-label": "Output" }, el("div", { class: "bar" }, el("h2", {}, "Output"), el("label", {}, "Stream", pick), el("label", {}, "Search", input), pause, clear, download, state, count), box);
  open();
  return { node, end() { turn++; if (close) close(); } };
}
