// Elements and texts. Whatever comes from a circusd goes into a page as text, never as HTML.

// el("p", {class: "dim"}, "text", child)
export function el(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, String(value));
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

// Sets a text only where it differs: the browser has less to do, and a selection stays.
export function put(node, text) {
  const shown = text === null || text === undefined ? "" : String(text);
  if (node.textContent !== shown) node.textContent = shown;
}

export function size(bytes) {
  if (bytes === null || bytes === undefined) return "–";
  let value = bytes;
  for (const unit of ["B", "K", "M", "G"]) {
    if (value < 1024) return (value < 10 && unit !== "B" ? value.toFixed(1) : Math.round(value)) + unit;
    value /= 1024;
  }
  return value.toFixed(1) + "T";
}

export function percent(value) {
  return value === null || value === undefined ? "–" : value.toFixed(value < 100 ? 1 : 0);
}

export function span(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  const whole = Math.max(0, Math.floor(seconds));
  if (whole < 60) return whole + "s";
  if (whole < 3600) return Math.floor(whole / 60) + "m" + String(whole % 60).padStart(2, "0") + "s";
  if (whole < 86400) return Math.floor(whole / 3600) + "h" + String(Math.floor(whole / 60) % 60).padStart(2, "0") + "m";
  return Math.floor(whole / 86400) + "d" + (Math.floor(whole / 3600) % 24) + "h";
}

export function clock(seconds) {
  return new Date(seconds * 1000).toLocaleTimeString([], { hour12: false });
}

const GOOD = ["ready", "succeeded", "running"];
const WARN = ["starting", "stopping", "degraded", "backing off", "held back"];

// The class of a state, as colours tell it. The word stands beside it always.
export function mood(health) {
  if (GOOD.includes(health)) return "state good";
  if (WARN.includes(health)) return "state warn";
  return health === "failed" ? "state bad" : "state";
}

// At most so often, and once more at the end.
export function paced(milliseconds, run) {
  let waits = false;
  let last = 0;
  return () => {
    if (waits) return;
    waits = true;
    const rest = Math.max(0, last + milliseconds - performance.now());
    setTimeout(() => requestAnimationFrame(() => { waits = false; last = performance.now(); run(); }), rest);
  };
}
