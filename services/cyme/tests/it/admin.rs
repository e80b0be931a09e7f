//! The pages of a branch, in Chromium.
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use serde_json::json;

use crate::rig::{self, Process, eventually, free_port, skipped};

/// Chromium, where there is one.
fn chromium() -> Option<&'static str> {
    let found = |name: &&str| Command::new(name).arg("--version").output().is_ok_and(|done| done.status.success());
    ["chromium", "chromium-browser", "google-chrome"].into_iter().find(found)
}

/// What a page has become once it is loaded.
fn browse(browser: &str, folder: &Path, arguments: &[&str], url: &str) -> String {
    let profile = tempfile::tempdir_in(folder).unwrap();
    let mut command = Command::new(browser);
    command.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]);
    command.args(["--no-first-run", "--disable-dev-shm-usage", "--window-size=1300,1000"]);
    command.arg(format!("--user-data-dir={}", profile.path().display())).args(arguments).arg(url);
    let done = command.env("HOME", folder).stderr(Stdio::null()).output().unwrap();
    String::from_utf8_lossy(&done.stdout).into_owned()
}

fn start(folder: &Path, more: &[&str]) -> (Process, String) {
    let port = free_port();
    let mut command = Command::new(env!("CARGO_BIN_EXE_cyme-branch"));
    command.args([&port.to_string(), "-b", "memory://", "-i", "alone", "--circus-endpoint", "ipc:///nowhere/control"]);
    command.args(["--circus-pubsub", "ipc:///nowhere/events", "-D", "branch"]).args(more).current_dir(folder);
    let branch = Process::start(&mut command, &folder.join("branch.log"));
    let url = format!("http://127.0.0.1:{port}");
    eventually("the branch answers", || (rig::ask(&format!("{url}/ping/"), "GET", None).0 == 200).then_some(()));
    (branch, url)
}

/// The value of a hidden field of the form with this button.
fn fields(html: &str, button: &str) -> String {
    let end = html.find(&format!("<button>{button}</button>")).unwrap_or_else(|| panic!("no {button}: {html}"));
    let form = &html[html[..end].rfind("<form").unwrap()..end];
    let pairs = form.split("<input ").skip(1).map(|input| {
        let part = |name: &str| {
            let rest = input.split(&format!("{name}=\"")).nth(1).unwrap_or_default();
            rest.split('"').next().unwrap_or_default().replace('/', "%2F").replace('?', "%3F").replace('=', "%3D")
        };
        format!("{}={}", part("name"), part("value"))
    });
    pairs.collect::<Vec<_>>().join("&")
}

#[test]
fn people_see_and_change_what_there_is() {
    let test = "people_see_and_change_what_there_is";
    let Some(browser) = chromium() else { return skipped(test, "there is no chromium") };
    let folder = tempfile::tempdir().unwrap();
    let (_branch, url) = start(folder.path(), &[]);
    let ask = |method: &str, path: &str| rig::ask(&format!("{url}{path}"), method, None);
    assert_eq!(ask("PUT", "/foo/?broker=redis://:hidden@127.0.0.1:1/0").0, 201);
    assert_eq!(ask("PUT", "/foo/queues/tasks/?exchange=e%3Cx%3E").0, 201);
    assert_eq!(ask("PUT", "/foo/instances/!/worker-1/").0, 202);

    let see = |path: &str| browse(browser, folder.path(), &["--dump-dom"], &format!("{url}{path}"));
    let page = see("/admin/");
    for part in ["<b>alone</b>", "href=\"/admin/apps/foo/\"", "<td>tasks", "e&lt;x&gt;", "id=\"history\""] {
        assert!(page.contains(part), "{part}: {page}");
    }
    assert!(!page.contains("hidden@"), "{page}");
    let app = see("/admin/apps/foo/");
    assert!(app.contains("<td>worker-1") && app.contains("enabled"), "{app}");

    let picture = folder.path().join("page.png");
    browse(
        browser,
        folder.path(),
        &[&format!("--screenshot={}", picture.display())],
        &format!("{url}/admin/apps/foo/"),
    );
    let picture_bytes = fs::read(&picture).unwrap();
    assert!(picture_bytes.starts_with(b"\x89PNG") && picture_bytes.len() > 5000, "{} bytes", picture_bytes.len());
    // CIRCUS_KEEP_SCREENSHOTS is a folder for a look at it.
    if let Some(kept) = std::env::var_os("CIRCUS_KEEP_SCREENSHOTS") {
        fs::copy(&picture, Path::new(&kept).join("cyme-app.png")).unwrap();
        let first = Path::new(&kept).join("cyme-fleet.png");
        browse(browser, folder.path(), &[&format!("--screenshot={}", first.display())], &format!("{url}/admin/"));
    }

    // The forms of these pages, sent as a browser sends them.
    let send = |form: &str| rig::ask(&format!("{url}/admin/do"), "POST", Some(form)).0;
    assert_eq!(send(&fields(&app, "disable")), 200);
    assert_eq!(ask("GET", "/foo/instances/worker-1/").1["is_enabled"], false);
    assert!(see("/admin/apps/foo/").contains("disabled"));
    let queue = fields(&page, "Add queue").replace("_name=", "_name=others").replace("routing_key=", "routing_key=k");
    assert_eq!(send(&queue), 200);
    assert_eq!(ask("GET", "/foo/queues/others/").1["routing_key"], "k");
    let refused = see("/admin/?said=409%20DELETE%20%2Ffoo%2F");
    assert!(refused.contains("class=\"bad\""), "{refused}");
    assert_eq!(ask("GET", "/admin/none/").0, 404);

    another_site(browser, folder.path(), &url);
    assert_eq!(ask("GET", "/foo/").0, 200);
}

/// A page of another site sends a form as soon as it is loaded: the branch does not do it.
fn another_site(browser: &str, folder: &Path, url: &str) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let evil = format!("http://{}/", listener.local_addr().unwrap());
    let page = format!(
        "<form id=f method=post action={url}/admin/do><input name=_method value=DELETE><input name=_path \
         value='/foo/?force=1'></form><script>document.getElementById('f').submit()</script>"
    );
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut head = [0; 4096];
            drop(stream.read(&mut head));
            let length = page.len();
            let kind = "Content-Type: text/html\r\nConnection: close";
            drop(
                stream.write_all(
                    format!("HTTP/1.1 200 OK\r\n{kind}\r\nContent-Length: {length}\r\n\r\n{page}").as_bytes(),
                ),
            );
        }
    });
    let seen = browse(browser, folder, &["--dump-dom", "--virtual-time-budget=4000"], &evil);
    assert!(seen.contains("own pages only"), "{seen}");
}

#[test]
fn with_a_token_people_log_in() {
    let test = "with_a_token_people_log_in";
    let Some(browser) = chromium() else { return skipped(test, "there is no chromium") };
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("token"), "secret\n").unwrap();
    let (_branch, url) = start(folder.path(), &["--token-file", "token"]);
    let page = browse(browser, folder.path(), &["--dump-dom"], &format!("{url}/admin/"));
    assert!(page.contains("type=\"password\"") && !page.contains("alone"), "{page}");

    let config = ureq::Agent::config_builder().http_status_as_error(false).max_redirects(0).build();
    let agent = ureq::Agent::new_with_config(config);
    let log_in = |token: &str| agent.post(format!("{url}/admin/login")).send_form([("token", token)]).unwrap();
    assert_eq!(log_in("wrong").status(), 403);
    let answer = log_in("secret");
    let cookie = answer.headers()["set-cookie"].to_str().unwrap().to_owned();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
    let cookie = cookie.split(';').next().unwrap();
    let mut seen = agent.get(format!("{url}/admin/")).header("Cookie", cookie).call().unwrap();
    assert!(seen.body_mut().read_to_string().unwrap().contains("<b>alone</b>"));
    // The cookie is for pages only, and for none of another site.
    assert_eq!(agent.get(format!("{url}/branches/")).header("Cookie", cookie).call().unwrap().status(), 401);
    let form = [("_method", "PUT"), ("_path", "/foo/")];
    let post = |origin: &str| {
        let request = agent.post(format!("{url}/admin/do")).header("Cookie", cookie).header("Origin", origin);
        request.send_form(form).unwrap().status().as_u16()
    };
    assert_eq!((post("http://evil.example"), post(&url)), (403, 303));
    let apps = agent.get(format!("{url}/")).header("Authorization", "Bearer secret").call().unwrap();
    assert_eq!(apps.into_body().read_to_string().unwrap(), json!(["foo"]).to_string());
}
