//! Chromium, driven over WebDriver (https://www.w3.org/TR/webdriver2/).

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::rig::{Process, eventually, free_port, request, skipped};

/// How an element is called on the wire.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

pub(crate) struct Browser {
    port: u16,
    session: String,
    _driver: Process,
    _profile: tempfile::TempDir,
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
        let driver = Process::start(&mut command, log);
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
            format!("--user-data-dir={}", profile.path().display())
        ]);
        let wanted = json!({"capabilities": {"alwaysMatch": {"browserName": "chrome", "goog:loggingPrefs": {"browser": "ALL"},
            "goog:chromeOptions": {"args": arguments}}}});
        let reply =
            request(port, "POST", "/session", &[("Content-Type", "application/json")], &wanted.to_string()).unwrap();
        let session =
            reply.json()["value"]["sessionId"].as_str().unwrap_or_else(|| panic!("{}", reply.body)).to_owned();
        Self { port, session, _driver: driver, _profile: profile }
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

    /// Waits until an expression is true, and returns it.
    pub(crate) fn until(&self, what: &str, expression: &str) -> Value {
        eventually(what, || {
            let value = self.script(&format!("return {expression}"));
            (!matches!(value, Value::Null | Value::Bool(false)) && value != 0 && value != "").then_some(value)
        })
    }

    fn element(&self, selector: &str) -> String {
        let found = eventually(selector, || {
            self.send("POST", "/element", &json!({"using": "css selector", "value": selector})).ok()
        });
        found[ELEMENT].as_str().unwrap().to_owned()
    }

    /// Clicks as a mouse does: what is covered or dead cannot be clicked.
    pub(crate) fn click(&self, selector: &str) {
        eventually(&format!("click {selector}"), || {
            let element = self.element(selector);
            self.send("POST", &format!("/element/{element}/click"), &json!({})).ok()
        });
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
        eventually(&format!("a button {label}"), || (self.script(&mark) == true).then_some(()));
        self.click("[data-test=this]");
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
