//! The description of the HTTP interface, as OpenAPI 3.1.

use serde_json::{Map, Value, json};

/// One method at one path.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    /// The method.
    pub method: &'static str,
    /// The path; what stands in braces is a name.
    pub path: &'static str,
    /// What it does.
    pub summary: &'static str,
    /// The names of its parameters, in the query or in a form.
    pub params: &'static [&'static str],
    /// The statuses that it answers with, beside those of every route.
    pub statuses: &'static [u16],
    /// `!/` may stand before the last name, or at the end: the answer does not wait.
    pub asynchronous: bool,
}

const APP: &[&str] =
    &["broker", "arguments", "extra_config", "hostname", "port", "userid", "password", "virtual_host", "vhost"];
const INSTANCE: &[&str] = &["broker", "pool", "arguments", "extra_config", "placement", "branch", "label"];
const QUEUE: &[&str] = &["exchange", "exchange_type", "routing_key", "options"];

/// What requests to circusd are answered.
const WATCHER: &[u16] = &[200, 409];

const fn get(path: &'static str, summary: &'static str) -> Route {
    Route { method: "GET", path, summary, params: &[], statuses: &[200], asynchronous: false }
}

const fn change(
    method: &'static str,
    path: &'static str,
    summary: &'static str,
    params: &'static [&'static str],
    statuses: &'static [u16],
) -> Route {
    Route { method, path, summary, params, statuses, asynchronous: false }
}

const fn later(route: Route) -> Route {
    Route { asynchronous: true, ..route }
}

/// All routes.
pub const ROUTES: &[Route] = &[
    get("/ping/", "Whether the branch works"),
    get("/healthz", "Whether the branch, its broker and its circusd work"),
    get("/metrics", "Figures, in the format of Prometheus"),
    get("/openapi.json", "This description"),
    get("/branches/", "The ids of all branches"),
    get("/branches/{branch}/", "One branch"),
    get("/machines/", "The machines, as their branches announce them"),
    Route {
        params: &["verbose"],
        ..get("/machines/{branch}/watchers/", "The states of the watchers of a machine's circusd")
    },
    Route { params: &["verbose"], ..get("/machines/{branch}/watchers/{watcher}/", "The state of one watcher") },
    get("/machines/{branch}/stats/", "What all processes of a machine's circusd use"),
    get("/machines/{branch}/watchers/{watcher}/stats/", "What its processes use"),
    get("/machines/{branch}/watchers/{watcher}/why/", "What went wrong with it last, and what was printed then"),
    Route { params: &["all"], ..get("/machines/{branch}/watchers/{watcher}/options/", "Its options") },
    Route { params: &["after"], ..get("/machines/{branch}/events/", "What a machine's circusd reports; also as SSE") },
    Route {
        params: &["after"],
        ..get("/machines/{branch}/watchers/{watcher}/events/", "What it reports of one watcher; also as SSE")
    },
    Route {
        params: &["stream", "lines", "after", "wid"],
        ..get("/machines/{branch}/watchers/{watcher}/tail/", "What its processes have printed last; also as SSE")
    },
    change("POST", "/machines/{branch}/watchers/{watcher}/start/", "Starts a watcher", &[], WATCHER),
    change("POST", "/machines/{branch}/watchers/{watcher}/stop/", "Stops a watcher", &[], WATCHER),
    change("POST", "/machines/{branch}/watchers/{watcher}/restart/", "Restarts a watcher", &[], WATCHER),
    change(
        "POST",
        "/machines/{branch}/watchers/{watcher}/reload/",
        "Replaces its processes",
        &["graceful", "sequential"],
        WATCHER,
    ),
    change("POST", "/machines/{branch}/watchers/{watcher}/incr/", "More processes", &["nb"], WATCHER),
    change("POST", "/machines/{branch}/watchers/{watcher}/decr/", "Fewer processes", &["nb"], WATCHER),
    change(
        "POST",
        "/machines/{branch}/watchers/{watcher}/signal/",
        "A signal, to each of its processes or to one",
        &["signum", "pid", "recursive"],
        WATCHER,
    ),
    change("POST", "/leases/{lease}/", "Takes a lease, or keeps it", &["holder", "life"], WATCHER),
    change("DELETE", "/leases/{lease}/", "Gives a lease back", &["holder"], WATCHER),
    get("/", "The names of all applications"),
    change("PUT", "/", "Makes an application with a name of its own", APP, &[201]),
    change("POST", "/", "Makes an application with a name of its own", APP, &[201]),
    get("/{app}/", "One application"),
    change("PUT", "/{app}/", "Makes an application, or changes the fields that are given", APP, &[201]),
    change("POST", "/{app}/", "Makes an application, or changes the fields that are given", APP, &[201]),
    change("DELETE", "/{app}/", "Deletes an application; with force its instances too", &["force"], &[200, 409]),
    get("/{app}/instances/", "The names of the instances of an application"),
    later(change("PUT", "/{app}/instances/", "Makes an instance with a name of its own", INSTANCE, &[201, 409])),
    later(change("POST", "/{app}/instances/", "Makes an instance with a name of its own", INSTANCE, &[201, 409])),
    get("/{app}/instances/{instance}/", "One instance"),
    later(change(
        "PUT",
        "/{app}/instances/{instance}/",
        "Makes an instance unless there is one",
        INSTANCE,
        &[200, 201, 409],
    )),
    later(change("POST", "/{app}/instances/{instance}/", "Makes an instance", INSTANCE, &[201, 409])),
    later(change("DELETE", "/{app}/instances/{instance}/", "Deletes an instance, and ends its worker", &[], &[200])),
    get("/{app}/instances/{instance}/queues/", "The queues that a worker consumes from, as it reports"),
    later(change("PUT", "/{app}/instances/{instance}/queues/{queue}/", "Consumes from a queue", &[], &[201])),
    later(change("POST", "/{app}/instances/{instance}/queues/{queue}/", "Consumes from a queue", &[], &[201])),
    later(change("DELETE", "/{app}/instances/{instance}/queues/{queue}/", "Stops consuming from a queue", &[], &[200])),
    get("/{app}/instances/{instance}/autoscale/", "The bounds of a worker's concurrency"),
    later(change("POST", "/{app}/instances/{instance}/autoscale/", "Other bounds", &["max", "min"], &[200])),
    get("/{app}/instances/{instance}/stats/", "What a worker reports about itself"),
    later(change("POST", "/{app}/instances/{instance}/enable/", "Runs an instance", &[], &[200])),
    later(change("POST", "/{app}/instances/{instance}/disable/", "Stops an instance, and keeps it", &[], &[200])),
    later(change("POST", "/{app}/instances/{instance}/restart/", "Restarts a worker", &[], &[200])),
    get("/{app}/queues/", "The names of all queues"),
    get("/{app}/queues/{queue}/", "How a queue is declared"),
    later(change("PUT", "/{app}/queues/{queue}/", "Declares a queue unless there is one", QUEUE, &[201])),
    later(change("POST", "/{app}/queues/{queue}/", "Declares a queue unless there is one", QUEUE, &[201])),
    later(change(
        "DELETE",
        "/{app}/queues/{queue}/",
        "Deletes a queue; no instance consumes from it any more",
        &[],
        &[200],
    )),
    get("/{app}/query/{task}/state/", "The state of a task"),
    get("/{app}/query/{task}/result/", "The result of a task, null as long as there is none"),
    Route { params: &["timeout"], ..get("/{app}/query/{task}/wait/", "The result of a task, once there is one") },
];

/// The statuses that every route may answer with.
const COMMON: &[u16] = &[400, 401, 403, 404, 405, 408, 503];

fn meaning(status: u16) -> &'static str {
    match status {
        200 => "Done, or found",
        201 => "Made",
        202 => "Scheduled",
        400 => "A value that its field does not take; `field` names the field",
        401 => "The token is missing or wrong",
        403 => "Not allowed from that page, or to that host",
        404 => "No branch has it",
        405 => "This path does not take that method",
        408 => "The branch that has it did not answer in time",
        409 => "It exists already or is still in use, or circusd has refused",
        _ => "The broker cannot be reached",
    }
}

/// The description.
pub fn document() -> Value {
    let mut paths = Map::new();
    for route in ROUTES {
        add(&mut paths, route, route.path, false);
        if route.asynchronous {
            add(&mut paths, route, &asynchronous(route.path), true);
        }
    }
    json!({"openapi": "3.1.0",
        "info": {"title": "cyme-branch", "version": env!("CARGO_PKG_VERSION"),
                 "description": "Instances of Celery workers, their queues and their tasks, on many machines. Any \
                     method at /APP/queue/[QUEUE/]URL queues that URL: a worker requests it, and the reply 202 has \
                     the id of the task."},
        "paths": paths,
        "components": {"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
        "security": [{}, {"token": []}]})
}

/// How many operations the description has.
pub fn operations() -> usize {
    ROUTES.len() + ROUTES.iter().filter(|route| route.asynchronous).count()
}

/// The path with the mark of requests that do not wait.
pub fn asynchronous(path: &str) -> String {
    let after = ["/instances/", "/queues/"].iter().filter_map(|part| path.find(part).map(|at| at + part.len())).min();
    let (before, rest) = path.split_at(after.unwrap_or(path.len()));
    format!("{before}!/{rest}")
}

fn add(paths: &mut Map<String, Value>, route: &Route, path: &str, asynchronous: bool) {
    let names = path.split(['{', '}']).skip(1).step_by(2);
    let in_path = names.map(|name| json!({"name": name, "in": "path", "required": true, "schema": text()}));
    let in_query = route.params.iter().map(|name| json!({"name": name, "in": "query", "schema": {"type": "string"}}));
    let parameters: Vec<Value> = in_path.chain(in_query).collect();
    let own: Vec<u16> = match asynchronous {
        // What is there already is the answer, also where nothing waits.
        true if route.statuses.contains(&200) && route.statuses.contains(&201) => vec![200, 202, 409],
        true => vec![202, 409],
        false => route.statuses.to_vec(),
    };
    let responses: Map<String, Value> =
        own.iter().chain(COMMON).map(|status| (status.to_string(), json!({"description": meaning(*status)}))).collect();
    let operation = json!({"summary": route.summary, "parameters": parameters, "responses": responses});
    let methods = paths.entry(path).or_insert_with(|| json!({}));
    methods[route.method.to_lowercase()] = operation;
}

fn text() -> Value {
    json!({"type": "string", "minLength": 1, "maxLength": super::model::NAME})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::api::parse;

    /// Paths that the server answers without asking the branch.
    const OWN: &[&str] = &["/healthz", "/metrics", "/openapi.json"];

    fn filled(path: &str) -> String {
        path.replace("{app}", "foo")
            .replace("{watcher}", "web")
            .replace("{instance}", "i")
            .replace("{queue}", "q")
            .replace("{task}", "1")
            .replace("{branch}", "b")
            .replace("{lease}", "l")
    }

    #[test]
    fn every_route_is_understood() {
        for route in ROUTES.iter().filter(|route| !OWN.contains(&route.path)) {
            let parsed = parse(route.method, &format!("{}?signum=1&holder=h", filled(route.path)), "", b"");
            assert!(parsed.is_ok_and(|parsed| !parsed.nowait), "{} {}", route.method, route.path);
            if route.asynchronous {
                let path = filled(&asynchronous(route.path));
                let parsed = parse(route.method, &path, "", b"");
                assert!(parsed.is_ok_and(|parsed| parsed.nowait), "{} {path}", route.method);
            }
        }
    }

    /// A value that a parameter does not take.
    fn wrong(name: &str) -> String {
        match name {
            "options" | "exchange_type" | "pool" | "placement" | "stream" | "force" | "port" | "max" | "min" | "nb"
            | "lines" | "after" | "life" | "signum" | "timeout" | "verbose" | "all" | "wid" | "graceful"
            | "sequential" | "pid" | "recursive" => "x".into(),
            "broker" => "x".into(),
            _ => "x".repeat(5000),
        }
    }

    /// Every parameter of every route has a limit, and what is beyond it is answered with its name.
    #[test]
    fn every_limit_names_its_parameter() {
        let mut seen = std::collections::BTreeSet::new();
        for route in ROUTES.iter().filter(|route| !OWN.contains(&route.path)) {
            for name in route.params {
                let others = match *name {
                    "port" | "userid" | "password" | "virtual_host" | "vhost" => "hostname=h&",
                    "life" => "holder=h&",
                    "pid" | "recursive" => "signum=1&",
                    _ => "",
                };
                let target = format!("{}?{others}{name}={}", filled(route.path), wrong(name));
                let reply = parse(route.method, &target, "", b"").unwrap_err();
                assert_eq!((reply.status, &reply.body["field"]), (400, &json!(name)), "{} {target}", route.method);
                seen.insert(name);
            }
        }
        assert!(seen.len() > 20, "{seen:?}");
    }

    #[test]
    fn what_no_route_offers_is_refused() {
        for path in ROUTES.iter().map(|route| route.path).filter(|path| !OWN.contains(path)) {
            for method in ["GET", "PUT", "POST", "DELETE", "PATCH"] {
                let offered = ROUTES.iter().any(|route| route.path == path && route.method == method);
                let status = parse(method, &format!("{}?signum=1&holder=h", filled(path)), "", b"")
                    .map_or_else(|reply| reply.status, |_| 200);
                assert_eq!(status, if offered { 200 } else { 405 }, "{method} {path}");
            }
        }
    }

    #[test]
    fn the_document_has_every_route() {
        let document = document();
        for route in ROUTES {
            assert!(document["paths"][route.path][route.method.to_lowercase()].is_object(), "{}", route.path);
        }
        assert!(document["paths"]["/{app}/instances/!/{instance}/queues/{queue}/"]["put"].is_object());
        assert!(document["paths"]["/{app}/instances/!/"]["post"]["responses"]["202"].is_object());
    }
}
