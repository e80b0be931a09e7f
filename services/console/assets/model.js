// What is known of the machines. Views subscribe, and are told at most once in a while, however much comes.

import { paced } from "./dom.js";

const EVENTS = 2000;

export const model = {
  machines: new Map(), // name -> {info, names, rows: Map}
  events: [],
  dropped: 0,
  watcher: null, // what the page of a watcher shows
  gone: false,
  turn: 0, // how many streams there were
};

const views = new Set();
const tell = paced(150, () => { for (const view of views) view(); });

// Calls the view now and after changes; what is returned ends that.
export function watch(view) {
  views.add(view);
  view();
  return () => views.delete(view);
}

function machine(name) {
  if (!model.machines.has(name)) model.machines.set(name, { info: null, names: [], rows: new Map() });
  return model.machines.get(name);
}

// A new stream tells everything anew.
export function reset() {
  model.turn++;
  model.events = [];
  model.watcher = null;
  model.gone = false;
  tell();
}

export const handlers = {
  // Machines of fleets come and go.
  machines({ names }) {
    for (const old of [...model.machines.keys()]) if (!names.includes(old)) model.machines.delete(old);
    tell();
  },
  machine(info) { machine(info.name).info = info; tell(); },
  names({ machine: name, watchers }) {
    const known = machine(name);
    known.names = watchers;
    const names = new Set(watchers);
    for (const old of known.rows.keys()) if (!names.has(old)) known.rows.delete(old);
    tell();
  },
  rows({ machine: name, rows }) {
    const known = machine(name);
    for (const row of rows) { row.seen = performance.now(); known.rows.set(row.name, row); }
    tell();
  },
  watcher({ watcher }) { model.watcher = watcher; model.watcher.seen = performance.now(); model.gone = false; tell(); },
  gone() { model.gone = true; tell(); },
  event(event) {
    model.events.push(event);
    if (model.events.length > EVENTS) { model.dropped += model.events.length - EVENTS; model.events.splice(0, model.events.length - EVENTS); }
    tell();
  },
};

// A time that grows by itself since the row was told.
export function grown(row, seconds) {
  return seconds === null || seconds === undefined ? seconds : seconds + (performance.now() - row.seen) / 1000;
}
