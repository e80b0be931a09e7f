//! The description of the interface, as OpenAPI 3.1.

use serde_json::{Map, Value, json};

use super::action::{ACTIONS, Action};

/// A path that asks.
#[derive(Clone, Copy, Debug)]
pub struct Question {
    /// What stands in braces is a name.
    pub path: &'static str,
    /// What it answers.
    pub summary: &'static str,
    /// The parameters of its query.
    pub params: &'static [&'static str],
    /// The role that it takes; none where nobody needs one.
    pub role: Option<&'static str>,
}

const fn ask(path: &'static str, summary: &'static str, params: &'static [&'static str]) -> Question {
    Question { path, summary, params, role: Some("read") }
}

const fn open(path: &'static str, summary: &'static str) -> Question {
    Question { path, summary, params: &[], role: None }
}

/// All of them.
pub const QUESTIONS: &[Question] = &[
    open("/healthz", "Whether the console works"),
    open("/api/openapi.json", "This description"),
    ask("/api/session", "Who asks, with which role, and the secret that changes have to bring along", &[]),
    ask("/api/actions", "The actions, their roles and properties", &[]),
    ask(
        "/api/stream",
        "What changes, as server-sent events: machines, machine, names, rows, event, watcher",
        &["machine", "watcher"],
    ),
    ask("/api/machines", "The machines, each with its circusd and its sockets, or its fleet and labels", &[]),
    ask("/api/machines/{machine}", "One machine with the rows of its watchers", &[]),
    ask("/api/machines/{machine}/watchers", "The watchers: state, readiness, cpu, memory", &[]),
    ask("/api/machines/{machine}/watchers/{watcher}", "One watcher with its processes", &[]),
    ask("/api/machines/{machine}/watchers/{watcher}/history", "Its cpu and memory over the last hour", &[]),
    ask("/api/machines/{machine}/watchers/{watcher}/why", "What went wrong last, and what was printed then", &[]),
    ask(
        "/api/machines/{machine}/watchers/{watcher}/options",
        "Its options; below admin without arguments and environments",
        &["all"],
    ),
    ask(
        "/api/machines/{machine}/watchers/{watcher}/tail",
        "The last lines that its workers have printed; also as SSE",
        &["stream", "lines", "wid", "search"],
    ),
    ask(
        "/api/machines/{machine}/watchers/{watcher}/tail/download",
        "All lines that circusd keeps, as a file",
        &["stream", "wid", "search"],
    ),
    ask("/api/machines/{machine}/sockets", "circusd's sockets and their accept queues", &[]),
    ask("/api/machines/{machine}/events", "What has happened; also as SSE", &["after"]),
    Question {
        path: "/api/machines/{machine}/plan",
        summary: "What reloadconfig would find wrong, and would do",
        params: &["prune"],
        role: Some("admin"),
    },
];

fn meaning(status: u16) -> &'static str {
    match status {
        200 => "Found, or done",
        202 => "circusd has begun, and is not done yet",
        400 => "A property or parameter that is not understood",
        401 => "The token is missing or wrong",
        403 => "The role does not suffice, or the request comes from another page or by another name",
        404 => "There is no such machine or watcher",
        405 => "This path does not take that method",
        409 => "circusd has refused, or the branch of the machine does not offer it; reason says why",
        413 => "The body is too long",
        _ => "circusd does not answer",
    }
}

fn responses(own: &[u16]) -> Value {
    let common = [400, 401, 403, 404, 405, 409, 413, 503];
    let all = own.iter().chain(&common);
    Value::Object(all.map(|status| (status.to_string(), json!({"description": meaning(*status)}))).collect())
}

fn in_path(path: &str) -> Vec<Value> {
    let names = path.split(['{', '}']).skip(1).step_by(2);
    let text = json!({"type": "string", "minLength": 1});
    names.map(|name| json!({"name": name, "in": "path", "required": true, "schema": text})).collect()
}

/// The path of an action.
pub fn path_of(action: &Action) -> String {
    let place = if action.of_watcher { "/watchers/{watcher}" } else { "" };
    format!("/api/machines/{{machine}}{place}/actions/{}", action.name)
}

/// The description.
pub fn document() -> Value {
    let mut paths = Map::new();
    for question in QUESTIONS {
        let mut parameters = in_path(question.path);
        let query = |name: &&str| json!({"name": name, "in": "query", "schema": {"type": "string"}});
        parameters.extend(question.params.iter().map(query));
        let mut operation =
            json!({"summary": question.summary, "parameters": parameters, "responses": responses(&[200])});
        match question.role {
            Some(role) => operation["x-role"] = role.into(),
            None => operation["security"] = json!([{}]),
        }
        paths.insert(question.path.into(), json!({"get": operation}));
    }
    for (path, summary, field) in
        [("/api/login", "Opens a session for a token", Some("token")), ("/api/logout", "Ends the session", None)]
    {
        let properties: Map<String, Value> =
            field.map(|field| (field.to_owned(), json!({"type": "string"}))).into_iter().collect();
        let required: Vec<&str> = field.into_iter().collect();
        let body = json!({"type": "object", "properties": properties, "required": required});
        let operation = json!({"summary": summary, "responses": responses(&[200]),
                               "requestBody": {"content": {"application/json": {"schema": body}}}});
        paths.insert(path.into(), json!({"post": operation}));
    }
    for action in ACTIONS {
        let path = path_of(action);
        let mut properties: Map<String, Value> =
            action.properties().map(|(name, _, doc)| (name.to_owned(), json!({"description": doc}))).collect();
        if action.name == "reloadconfig" {
            properties.insert(
                "plan".into(),
                json!({"description": "The digest of the plan that was seen: another is refused."}),
            );
        }
        let required: Vec<_> =
            action.properties().filter(|(_, required, _)| *required).map(|(name, ..)| name).collect();
        let body = json!({"type": "object", "properties": properties, "required": required});
        let operation = json!({"summary": action.summary, "parameters": in_path(&path), "x-role": action.role().name(),
                               "requestBody": {"content": {"application/json": {"schema": body}}},
                               "responses": responses(&[200, 202])});
        paths.insert(path, json!({"post": operation}));
    }
    json!({"openapi": "3.1.0",
        "info": {"title": "circushttpd", "version": env!("CARGO_PKG_VERSION"),
                 "description": "circusds, their watchers and what their workers print. A change needs a token, or the \
                     cookie of a session with its secret in X-CSRF-Token. x-role is the role that a request takes."},
        "paths": paths,
        "components": {"securitySchemes": {
            "token": {"type": "http", "scheme": "bearer"},
            "session": {"type": "apiKey", "in": "cookie", "name": super::access::COOKIE}}},
        "security": [{"token": []}, {"session": []}]})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_has_every_path() {
        let document = document();
        for question in QUESTIONS {
            assert!(document["paths"][question.path]["get"].is_object(), "{}", question.path);
        }
        for action in ACTIONS {
            let operation = &document["paths"][path_of(action)]["post"];
            assert_eq!(operation["x-role"], action.role().name(), "{}", action.name);
        }
        let signal = &document["paths"]["/api/machines/{machine}/watchers/{watcher}/actions/signal"]["post"];
        assert_eq!(signal["requestBody"]["content"]["application/json"]["schema"]["required"], json!(["signum"]));
        assert_eq!(signal["parameters"][1]["name"], "watcher");
    }
}
