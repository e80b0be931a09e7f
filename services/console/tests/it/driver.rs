//! Chromium, driven over WebDriver (https://www.w3.org/TR/webdriver2/).

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use circus_test_support::{Signal, look_until, signal};
use serde_json::{Value, json};

use crate::rig::{LIMIT, Process, eventually, free_port, request, skipped};

/// How an element is called on the wire.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

pub(crate) struct Browser {
    port: u16,
    session: String,
    _driver: Driver,
}

/// The driver, and with it whatever it has started.
struct Driver {
    process: Process,
    profile: tempfile::TempDir,
}

impl Driver {
    /// Processes of the browser: each has the folder of its profile in its arguments.
    fn left(&self) -> Vec<u32> {
        let profile = self.profile.path().to_str().unwrap().as_bytes();
        let has = |pid: &u32| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            line.windows(profile.len()).any(|part| part == profile)
        };
        let all = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        all.filter(has).collect()
    }
}

impl Drop for Driver {
    /// A browser that outlives its test takes the machine from the next one.
    fn drop(&mut self) {
        self.process.end();
        look_until(LIMIT, Duration::from_millis(20), || {
            let left = self.left();
            left.iter().for_each(|pid| signal(*pid, Signal::SIGKILL));
            left.is_empty().then_some(())
        });
    }
}

/// Whether there are Chromium and its driver; a test without them says so.
pub(crate) fn there_is(test: &str) -> bool {
    let runs = |name: &str| {
        let mut command = Command::new(name);
        command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    let there = runs("chromium") && runs("chromedriver");
    if !there {
        skipped(test, "there are no chromium and chromedriver");
    }
    there
}

impl Browser {
    pub(crate) fn start(log: &Path) -> Self {
        let port = free_port();
        let profile = tempfile::tempdir().unwrap();
        let mut command = Command::new("chromedriver");
        command.arg(format!("--port={port}")).env("HOME", profile.path());
        let driver = Driver { process: Process::start(&mut command, log), profile };
        eventually("the driver answers", || {
            let reply = request(port, "GET", "/status", &[], "").ok()?;
            (reply.json()["value"]["ready"] == true).then_some(())
        });
        let arguments = json!([
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--enable-precise-memory-info",
            "--js-flags=--expose-gc",
            "--window-size=1300,1000",
            "--force-device-scale-factor=1",
            format!("--user-data-dir={}", driver.profile.path().display())
        ]);
        let wanted = json!({"capabilities": {"alwaysMatch": {"browserName": "chrome",
            "timeouts": {"script": LIMIT.as_millis() as u64, "pageLoad": LIMIT.as_millis() as u64}, "goog:loggingPrefs": {"browser": "ALL"},
            "goog:chromeOptions": {"args": arguments}}}});
        let reply =
            request(port, "POST", "/session", &[("Content-Type", "application/json")], &wanted.to_string()).unwrap();
        let session =
            reply.json()["value"]["sessionId"].as_str().unwrap_or_else(|| panic!("{}", reply.body)).to_owned();
        Self { port, session, _driver: driver }
    }

    fn send(&self, method: &str, path: &str, body: &Value) -> Result<Value, String> {
        let target = format!("/session/{}{path}", self.session);
        let body = if method == "GET" { String::new() } else { body.to_string() };
        let reply = request(self.port, method, &target, &[("Content-Type", "application/json")], &body);
        let reply = reply.map_err(|error| error.to_string())?;
        let value = reply.json()["value"].clone();
        if reply.status == 200 { Ok(value) } else { Err(value["message"].as_str().unwrap_or("no message").to_owned()) }
    }

    pub(crate) fn go(&self, url: &str) {
        self.send("POST", "/url", &json!({"url": url})).unwrap();
    }

    /// What a function's body returns.
    pub(crate) fn script(&self, body: &str) -> Value {
        self.send("POST", "/execute/sync", &json!({"script": body, "args": []}))
            .unwrap_or_else(|error| panic!("{body}: {error}"))
    }

    /// What a function's body gives to its last argument.
    pub(crate) fn script_later(&self, body: &str) -> Value {
        self.send("POST", "/execute/async", &json!({"script": body, "args": []}))
            .unwrap_or_else(|error| panic!("{error}"))
    }

    /// Waits until an expression is true, and returns it. One that fails is not true yet: its element may come.
    pub(crate) fn until(&self, what: &str, expression: &str) -> Value {
        let body = json!({"script": format!("return {expression}"), "args": []});
        eventually(what, || {
            let value = self.send("POST", "/execute/sync", &body).ok()?;
            (!matches!(value, Value::Null | Value::Bool(false)) && value != 0 && value != "").then_some(value)
        })
    }

    fn find(&self, selector: &str) -> Option<String> {
        let found = self.send("POST", "/element", &json!({"using": "css selector", "value": selector})).ok()?;
        found[ELEMENT].as_str().map(str::to_owned)
    }

    fn element(&self, selector: &str) -> String {
        eventually(selector, || self.find(selector))
    }

    /// As a mouse does: what is covered or dead cannot be clicked.
    fn click_at(&self, element: &str) -> Option<()> {
        self.send("POST", &format!("/element/{element}/click"), &json!({})).ok().map(drop)
    }

    pub(crate) fn click(&self, selector: &str) {
        eventually(&format!("click {selector}"), || self.click_at(&self.find(selector)?));
    }

    /// Types into an element; `\u{e007}` is the Enter key.
    pub(crate) fn keys(&self, selector: &str, text: &str) {
        let element = self.element(selector);
        self.send("POST", &format!("/element/{element}/value"), &json!({"text": text})).unwrap();
    }

    /// Replaces what an input has.
    pub(crate) fn fill(&self, selector: &str, text: &str) {
        let element = self.element(selector);
        self.send("POST", &format!("/element/{element}/clear"), &json!({})).unwrap();
        self.keys(selector, text);
    }

    /// The button with this text among those of a selector.
    pub(crate) fn press(&self, within: &str, label: &str) {
        let mark = format!(
            "const all = [...document.querySelectorAll('{within} button')]; \
             const one = all.find((button) => button.textContent === {label:?} || button.getAttribute('aria-label') === {label:?}); \
             document.querySelectorAll('[data-test]').forEach((node) => delete node.dataset.test); \
             if (one && !one.disabled) {{ one.dataset.test = 'this'; one.scrollIntoView({{block: 'center'}}); return true; }} return false;"
        );
        // The table may take the element for another row meanwhile: then it is looked for again.
        eventually(&format!("a button {label}"), || {
            let found = self.script(&mark) == true;
            let element = if found { self.find("[data-test=this]") } else { None };
            self.click_at(&element?)
        });
    }

    pub(crate) fn resize(&self, width: u32, height: u32) {
        self.send("POST", "/window/rect", &json!({"width": width, "height": height})).unwrap();
    }

    /// A picture, in PNG, coded in base64.
    pub(crate) fn picture(&self) -> String {
        self.send("GET", "/screenshot", &Value::Null).unwrap().as_str().unwrap().to_owned()
    }

    /// What the page has complained about since the last look.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let logged = self.send("POST", "/se/log", &json!({"type": "browser"})).unwrap_or_default();
        let all = logged.as_array().into_iter().flatten();
        all.filter(|entry| entry["level"] == "SEVERE")
            .map(|entry| entry["message"].as_str().unwrap_or_default().to_owned())
            .collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        drop(self.send("DELETE", "", &Value::Null));
    }
}
