// Requests, and the stream of what changes.

export const session = { name: null, role: null, csrf: null, ends: false, all: true };
const ORDER = ["read", "operate", "admin"];

export class Refused extends Error {
  constructor(status, reason) {
    super(reason);
    this.status = status;
  }
}

// Whether the session's role suffices.
export function may(role) {
  return ORDER.indexOf(session.role) >= ORDER.indexOf(role);
}

// The path of names below api/: each is one part, whatever it has in it.
export function path(...names) {
  return "api/" + names.map(encodeURIComponent).join("/");
}

async function request(url, options) {
  let response;
  try {
    response = await fetch(url, { credentials: "same-origin", ...options });
  } catch {
    throw new Refused(0, "the console does not answer");
  }
  const body = await response.json().catch(() => ({}));
  if (!response.ok) throw new Refused(response.status, body.reason || "status " + response.status);
  return { status: response.status, body };
}

export async function get(url) {
  return (await request(url, {})).body;
}

export async function post(url, fields) {
  const headers = { "Content-Type": "application/json", "X-CSRF-Token": session.csrf || "" };
  return request(url, { method: "POST", headers, body: JSON.stringify(fields || {}) });
}

export async function openSession() {
  Object.assign(session, await get("api/session"));
}

export async function login(token) {
  Object.assign(session, (await post("api/login", { token })).body);
}

const RETRY = 1500;

// A stream that comes back. handlers: by the name of the event; state: live, lost, denied.
export function stream(url, handlers, state) {
  let source = null;
  let timer = 0;
  let closed = false;
  const open = () => {
    source = new EventSource(url);
    source.addEventListener("open", () => state("live"));
    for (const [name, take] of Object.entries(handlers)) {
      source.addEventListener(name, (event) => take(JSON.parse(event.data)));
    }
    source.addEventListener("error", () => {
      if (closed) return;
      source.close();
      state("lost");
      timer = setTimeout(async () => {
        // A stream does not say why it was refused.
        const answer = await get("api/session").then((body) => Object.assign(session, body), (error) => error);
        if (closed) return;
        if (answer.status === 401) state("denied");
        else open();
      }, RETRY);
    });
  };
  open();
  return () => { closed = true; clearTimeout(timer); source.close(); };
}
