//! The pages below `/admin/`: what there is, as tables, and forms that send the same requests as any client.
//!
//! They need no script. A form has the method and the path of its request in hidden fields.

use std::fmt::Write as _;

use serde_json::Value;

use crate::core::{BrokerUrl, Reply, encoded, parse};
use crate::metrics::Sample;

/// So many instances are on one page.
pub(crate) const PAGE: usize = 100;
const FORM: &str = "application/x-www-form-urlencoded";
const STYLE: &str = "body{font:14px sans-serif;margin:1.5em;color:#222}table{border-collapse:collapse;margin:.5em 0 1.5em}\
td,th{border:1px solid #ccc;padding:.3em .6em;text-align:left;vertical-align:top}form{display:inline-block;margin:0 .3em \
.2em 0}input{width:9em}input.wide{width:18em}.said{background:#eef;padding:.5em}.bad{background:#fdd;padding:.5em}\
nav a{margin-right:1em}svg{background:#f8f8f8}";

/// A text, as it stands in HTML.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c => safe.push(c),
        }
    }
    safe
}

/// A value of JSON, as it is shown.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => escaped(text),
        Value::Array(list) => list.iter().map(shown).collect::<Vec<_>>().join(" "),
        other => escaped(&other.to_string()),
    }
}

/// The URL of a broker, without its password.
fn broker(value: &Value) -> String {
    let text = value.as_str().unwrap_or_default();
    match BrokerUrl::parse(text) {
        Ok(url) => escaped(&BrokerUrl { password: String::new(), ..url }.to_string()),
        Err(_) => escaped(text),
    }
}

/// A whole page. `said` is what came of the last request.
pub(crate) fn page(title: &str, said: Option<&str>, body: &str) -> String {
    let title = escaped(title);
    let said = said.map(|said| {
        let class = if said.starts_with('2') { "said" } else { "bad" };
        format!("<p class=\"{class}\" id=\"said\">{}</p>", escaped(said))
    });
    format!(
        "<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title><style>{STYLE}</style></head>\
         <body><nav><a href=\"/admin/\">Fleet</a></nav><h1>{title}</h1>{}{body}</body></html>",
        said.unwrap_or_default()
    )
}

/// The page that asks for the token.
pub(crate) fn login(wrong: bool) -> String {
    let said = wrong.then_some("403: this is not the token");
    let form = "<form method=\"post\" action=\"/admin/login\"><input class=\"wide\" type=\"password\" name=\"token\" \
                placeholder=\"token\" autocomplete=\"current-password\"> <button>Log in</button></form>";
    page("cyme", said, form)
}

/// A form that sends a request. A field is its name, its value, and whether it is wide.
fn form(method: &str, path: &str, back: &str, label: &str, fields: &[(&str, &str, bool)]) -> String {
    let mut text = String::from("<form method=\"post\" action=\"/admin/do\">");
    for (name, value) in [("_method", method), ("_path", path), ("_back", back)] {
        let _ = write!(text, "<input type=\"hidden\" name=\"{name}\" value=\"{}\">", escaped(value));
    }
    for (name, value, wide) in fields {
        let class = if *wide { " class=\"wide\"" } else { "" };
        let (shown, value) = (escaped(name.trim_start_matches('_')), escaped(value));
        let _ =
            write!(text, "<input{class} name=\"{name}\" value=\"{value}\" placeholder=\"{shown}\" title=\"{shown}\"> ");
    }
    let _ = write!(text, "<button>{}</button></form>", escaped(label));
    text
}

/// The request of a form, and where its page is: method, path, other fields as a form, way back.
pub(crate) fn request(body: &[u8]) -> Option<(String, String, String, String)> {
    let pairs = crate::core::api::form(body);
    let field = |name: &str| pairs.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    let mut path = field("_path")?.to_owned();
    if let Some(name) = field("_name").filter(|name| !name.is_empty()) {
        path = format!("{path}{}/", encoded(name));
    }
    let others = pairs.iter().filter(|(name, _)| !name.starts_with('_'));
    let others: Vec<String> = others.map(|(name, value)| format!("{}={}", encoded(name), encoded(value))).collect();
    let back = field("_back").filter(|back| back.starts_with("/admin/")).unwrap_or("/admin/");
    Some((field("_method")?.to_owned(), path, others.join("&"), back.to_owned()))
}

/// What came of a request, in a line.
pub(crate) fn outcome(method: &str, path: &str, reply: &Reply) -> String {
    let reason = reply.body["nok"][0].as_str().map(|reason| format!(": {reason}"));
    format!("{} {method} {path}{}", reply.status, reason.unwrap_or_default())
}

/// A request as the interface has it.
pub(crate) fn parsed(method: &str, path: &str, fields: &str) -> Result<crate::core::Parsed, Reply> {
    parse(method, path, FORM, fields.as_bytes())
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

/// What the first page shows.
pub(crate) struct Fleet {
    pub(crate) branch: String,
    pub(crate) healthy: bool,
    pub(crate) machines: Vec<Value>,
    pub(crate) apps: Vec<Value>,
    pub(crate) queues: Vec<Value>,
    pub(crate) history: Vec<Sample>,
}

pub(crate) fn fleet(fleet: &Fleet, said: Option<&str>) -> String {
    let back = "/admin/";
    let state = if fleet.healthy { "healthy" } else { "not healthy: see /healthz and /metrics" };
    let mut body = format!("<p>Branch <b>{}</b> is {state}.</p>{}", escaped(&fleet.branch), plot(&fleet.history));
    body.push_str("<h2>Branches</h2><table id=\"branches\"><tr><th>id<th>instances<th>labels<th>url</tr>");
    for one in &fleet.machines {
        let id = text(one, "id");
        let (link, shown_id, instances) = (encoded(id), escaped(id), shown(&one["instances"]));
        let (labels, url) = (shown(&one["labels"]), shown(&one["url"]));
        let link = format!("<a href=\"/admin/machines/{link}/\">{shown_id}</a>");
        let _ = write!(body, "<tr><td>{link}<td>{instances}<td>{labels}<td>{url}</tr>");
    }
    body.push_str(
        "</table><h2>Applications and their brokers</h2><table id=\"apps\"><tr><th>name<th>broker<th>fields<th></tr>",
    );
    let fields = |of: &Value| {
        let (arguments, extra) = (text(of, "arguments").to_owned(), text(of, "extra_config").to_owned());
        (arguments, extra)
    };
    for app in &fleet.apps {
        let name = text(app, "name");
        let (path, (arguments, extra)) = (format!("/{}/", encoded(name)), fields(app));
        let edit = [("arguments", arguments.as_str(), true), ("extra_config", extra.as_str(), true)];
        let edit = form("POST", &path, back, "Save", &edit);
        let rebroker = form("POST", &path, back, "Change broker", &[("broker", "", true)]);
        let (delete, force) = (form("DELETE", &path, back, "Delete", &[]), format!("{path}?force=1"));
        let force = form("DELETE", &force, back, "Delete with instances", &[]);
        let link = format!("<a href=\"/admin/apps/{}/\">{}</a>", encoded(name), escaped(name));
        let url = broker(&app["broker"]);
        let _ = write!(body, "<tr><td>{link}<td>{url}<br>{rebroker}<td>{edit}<td>{delete}{force}</tr>");
    }
    let new = [("_name", "", false), ("broker", "", true), ("arguments", "", true), ("extra_config", "", true)];
    let _ = write!(body, "</table>{}", form("PUT", "/", back, "Add application", &new));
    body.push_str(
        "<h2>Queues</h2><table id=\"queues\"><tr><th>name<th>exchange<th>type<th>routing key<th>options<th></tr>",
    );
    for queue in &fleet.queues {
        let path = format!("/cyme/queues/{}/", encoded(text(queue, "name")));
        let delete = form("DELETE", &path, back, "Delete", &[]);
        let cell = |name: &str| shown(&queue[name]);
        let cells =
            [cell("name"), cell("exchange"), cell("exchange_type"), cell("routing_key"), cell("options"), delete];
        let _ = write!(body, "<tr><td>{}</tr>", cells.join("<td>"));
    }
    let names = ["_name", "exchange", "exchange_type", "routing_key", "options"].map(|name| (name, "", false));
    let _ = write!(body, "</table>{}", form("PUT", "/cyme/queues/", back, "Add queue", &names));
    page("cyme", said, &body)
}

/// The instances of an application: those from this number on.
pub(crate) fn app(name: &str, count: usize, from: usize, instances: &[Value], said: Option<&str>) -> String {
    let back = format!("/admin/apps/{}/?from={from}", encoded(name));
    let base = format!("/{}/instances/", encoded(name));
    let mut body = format!("<p>Instances: {count}");
    for begin in (0..count).step_by(PAGE).filter(|_| count > PAGE) {
        let _ = write!(body, " <a href=\"?from={begin}\">{begin}</a>");
    }
    body.push_str(
        "</p><table id=\"instances\"><tr><th>name<th>state<th>consumes from<th>concurrency<th>pool<th>broker<th></tr>",
    );
    for one in instances {
        let path = format!("{base}{}/", encoded(text(one, "name")));
        let enabled = one["is_enabled"].as_bool().unwrap_or(false);
        let state = format!("{} {}", if enabled { "enabled" } else { "disabled" }, shown(&one["note"]));
        let mut queues = String::new();
        for queue in one["queues"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            let consumer = format!("{path}queues/{}/", encoded(queue));
            let _ = write!(queues, "{} {}", escaped(queue), form("DELETE", &consumer, &back, "Stop", &[]));
        }
        queues.push_str(&form("PUT", &format!("{path}queues/"), &back, "Consume", &[("_name", "", false)]));
        let (max, min) = (shown(&one["max_concurrency"]), shown(&one["min_concurrency"]));
        let scale = [("max", max.as_str(), false), ("min", min.as_str(), false)];
        let scale = form("POST", &format!("{path}autoscale/"), &back, "Scale", &scale);
        let mut act = String::new();
        for action in ["enable", "disable", "restart"] {
            act.push_str(&form("POST", &format!("{path}{action}/"), &back, action, &[]));
        }
        act.push_str(&form("DELETE", &path, &back, "delete", &[]));
        let (name, pool, url) = (shown(&one["name"]), shown(&one["pool"]), broker(&one["broker"]));
        let cells = [name, state, queues, scale, pool, url, act];
        let _ = write!(body, "<tr><td>{}</tr>", cells.join("<td>"));
    }
    let new = [
        ("_name", "", false),
        ("pool", "", false),
        ("broker", "", true),
        ("arguments", "", true),
        ("branch", "", false),
    ];
    let asynchronous = format!("{base}!/");
    let _ = write!(body, "</table>{}", form("POST", &asynchronous, &back, "Add instance", &new));
    page(&format!("Application {name}"), said, &body)
}

/// The watchers of a machine.
pub(crate) fn machine(id: &str, watchers: &Reply, said: Option<&str>) -> String {
    let back = format!("/admin/machines/{}/", encoded(id));
    let Some(states) = watchers.body.as_object().filter(|_| watchers.status == 200) else {
        let said = format!("{} this machine's circusd cannot be asked", watchers.status);
        return page(&format!("Machine {id}"), Some(&said), "");
    };
    let mut body = String::from("<table id=\"watchers\"><tr><th>watcher<th>state<th></tr>");
    for (name, state) in states {
        let path = format!("/machines/{}/watchers/{}", encoded(id), encoded(name));
        let mut act = String::new();
        for action in ["start", "stop", "restart", "reload", "incr", "decr"] {
            act.push_str(&form("POST", &format!("{path}/{action}/"), &back, action, &[]));
        }
        let _ = write!(body, "<tr><td>{}<td>{}<td>{act}</tr>", escaped(name), shown(state));
    }
    body.push_str("</table>");
    page(&format!("Machine {id}"), said, &body)
}

/// The instances of a branch over time: those that are enabled (grey), and those whose worker answers (blue).
fn plot(history: &[Sample]) -> String {
    const WIDTH: f64 = 600.0;
    const HEIGHT: f64 = 100.0;
    let (Some(first), Some(last)) = (history.first(), history.last()) else {
        return String::from("<p>The history of instances begins within a minute.</p>");
    };
    let most = history.iter().map(|sample| sample.enabled.max(sample.answering)).max().unwrap_or(0).max(1);
    let span = (last.time - first.time).max(1.0);
    let line = |value: fn(&Sample) -> u32, colour: &str| {
        let mut points = String::new();
        for sample in history {
            let x = (sample.time - first.time) / span * WIDTH;
            let y = HEIGHT - f64::from(value(sample)) / f64::from(most) * HEIGHT;
            let _ = write!(points, "{x:.1},{y:.1} ");
        }
        format!("<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" points=\"{points}\"/>")
    };
    let (enabled, answering) = (line(|sample| sample.enabled, "#999"), line(|sample| sample.answering, "#26c"));
    let hours = span / 3600.0;
    format!(
        "<figure><svg id=\"history\" width=\"{WIDTH}\" height=\"{HEIGHT}\" viewBox=\"0 -2 {WIDTH} {}\">{enabled}{answering}\
         </svg><figcaption>Instances of this branch in the last {hours:.1} hours, at most {most}: enabled (grey), answering \
         (blue). <a href=\"/admin/history.json\">JSON</a></figcaption></figure>",
        HEIGHT + 4.0
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nothing_that_is_shown_becomes_html() {
        let evil = "<script>'\"&";
        let one = json!({"name": evil, "note": evil, "queues": [evil], "pool": evil, "broker": evil});
        let html = app(evil, 1, 0, &[one], Some(evil));
        assert!(!html.contains("<script"), "{html}");
        assert!(html.contains("&lt;script&gt;&#39;&quot;&amp;"), "{html}");
    }

    #[test]
    fn passwords_are_not_shown() {
        let apps = vec![json!({"name": "foo", "broker": "amqp://me:secret@h//"})];
        let (machines, queues, history) = Default::default();
        let all = Fleet { branch: "b".into(), healthy: true, machines, apps, queues, history };
        let html = fleet(&all, None);
        assert!(html.contains("amqp://me:@h:5672//") && !html.contains("secret"), "{html}");
    }

    #[test]
    fn forms_are_requests() {
        let html = form("PUT", "/foo/queues/", "/admin/", "Add", &[("_name", "a/b", false), ("exchange", "e", false)]);
        assert!(html.contains("name=\"_method\" value=\"PUT\""), "{html}");
        let body = b"_method=PUT&_path=%2Ffoo%2Fqueues%2F&_back=%2Fadmin%2Fapps%2Ffoo%2F&_name=t+1&exchange=e%26x";
        let (method, path, fields, back) = request(body).unwrap();
        assert_eq!((method.as_str(), path.as_str()), ("PUT", "/foo/queues/t%201/"));
        assert_eq!((fields.as_str(), back.as_str()), ("exchange=e%26x", "/admin/apps/foo/"));
        let elsewhere = b"_method=PUT&_path=%2F&_back=https%3A%2F%2Fevil%2F";
        assert_eq!(request(elsewhere).unwrap().3, "/admin/");
        assert_eq!(request(b"x=y"), None);
    }
}
