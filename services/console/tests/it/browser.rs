//! Every page and every action, in Chromium.

use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::driver::{Browser, there_is};
use crate::rig::{ADMIN, OPERATE, READ, Rig, eventually, has_circusd, skipped};

const INI: &str = "statsd = yes\nstats_interval = 0.3\n\
    [socket:web]\nhost = 127.0.0.1\nport = 0\n\
    [watcher:web]\ncmd = sleep 1000\nnumprocesses = 3\nsockets = web\ngraceful_timeout = 5\n\
    [watcher:talk]\ncmd = sh -c 'echo \"<script>alert(1)</script><b>bold</b>\"; echo a warning >&2; n=0; while :; do n=$((n+1)); echo line $n; sleep 0.3; done'\n\
    stdout_stream.class = FileStream\nstdout_stream.filename = FOLDER/talk.log\n\
    stderr_stream.class = FileStream\nstderr_stream.filename = FOLDER/talk.err\n\
    [watcher:crash]\ncmd = sh -c 'echo no such table; sleep 0.1; exit 3'\n\
    stdout_stream.class = FileStream\nstdout_stream.filename = FOLDER/crash.log\n\
    [watcher:night]\ncmd = true\nkind = cron\nschedule = 0 3 * * *\n";

fn both(test: &str) -> bool {
    has_circusd(test) && there_is(test)
}

fn url(rig: &Rig) -> String {
    format!("http://127.0.0.1:{}/", rig.port)
}

/// Logs in by the form.
fn log_in(rig: &Rig, token: &str) -> Browser {
    let browser = Browser::start(&rig.path("driver.log"));
    browser.go(&url(rig));
    browser.keys("#token", token);
    browser.press(".login", "Log in");
    live(&browser);
    browser
}

fn live(browser: &Browser) {
    browser.until("the stream", "document.getElementById('link').dataset.state === 'live'");
}

fn page(browser: &Browser, hash: &str) {
    // The page hears of it later: until then, what is seen is the page before.
    browser.script_later(&format!(
        "const done = arguments[arguments.length - 1]; if (location.hash === {hash:?}) return done(); \
         addEventListener('hashchange', () => done(), {{once: true}}); location.hash = {hash:?}"
    ));
    live(browser);
}

const WEB: &str = "#/w/box/web";

/// Confirms the dialog that is open.
fn confirm(browser: &Browser) {
    browser.until("a dialog", "document.getElementById('ask').open");
    browser.click("#ask-yes");
    browser.until("the dialog is closed", "!document.getElementById('ask').open");
}

/// Waits until the page says this, at its corner.
fn said(browser: &Browser, text: &str) {
    browser.until(text, &format!("document.getElementById('said').textContent.includes({text:?})"));
    browser.script("document.getElementById('said').replaceChildren()");
}

fn state(browser: &Browser, word: &str) {
    browser.until(word, &format!("document.querySelector('h1 .state').textContent === {word:?}"));
}

fn silent(browser: &Browser) {
    let complaints = browser.complaints();
    // A refused login is a request that fails; so is one that circusd, on a machine with much else to do, does not answer
    // in time, and the page says so itself.
    let expected = |text: &String| ["status of 401", "status of 503"].iter().any(|status| text.contains(status));
    let other: Vec<_> = complaints.iter().filter(|text| !expected(text)).collect();
    assert!(other.is_empty(), "{other:?}");
}

#[test]
fn people_log_in_look_and_steer() {
    let test = "people_log_in_look_and_steer";
    if !both(test) {
        return;
    }
    let rig = Rig::new(INI);
    let browser = Browser::start(&rig.path("driver.log"));
    browser.go(&url(&rig));
    browser.keys("#token", "wrong-0123456789abcdef\u{e007}");
    browser.until("a refusal", "document.querySelector('[role=alert]').textContent.includes('wrong')");
    browser.fill("#token", &format!("{ADMIN}\u{e007}"));
    live(&browser);
    browser.until("rows", "document.querySelectorAll('.watchers .body .row').length >= 5");
    browser.until("a socket", "document.querySelector('.sockets .body .row').textContent.includes('web')");
    browser.until("memory", "/[0-9.]+[KM]/.test([...document.querySelectorAll('.watchers .row')].find((row) => row.textContent.startsWith('web')).textContent)");
    browser.until("trouble", "document.querySelector('.watchers').textContent.includes('backing off')");
    // A machine is folded and unfolded.
    browser.click(".watchers .row.machine");
    browser.until("folded", "document.querySelectorAll('.watchers .body .row').length === 1");
    browser.click(".watchers .row.machine");
    browser.keys("#filter", "we");
    browser.until("filtered", "document.querySelectorAll('.watchers .body .row').length === 2");

    // By the keyboard, to a watcher.
    browser.script("document.querySelector('.watchers').focus()");
    browser.keys(".watchers", "\u{e015}\u{e015}\u{e007}");
    browser.until("the page of the watcher", &format!("location.hash === {WEB:?}"));
    live(&browser);
    state(&browser, "ready");
    browser.until("processes", "document.querySelectorAll('.processes .body .row').length === 3");
    browser.until("a curve", "document.querySelectorAll('.plot path')[1].getAttribute('d').length > 5");
    let bar = "[aria-label=Actions]";
    browser.press(bar, "Stop");
    // Cancel is where the focus is.
    browser.until("a dialog", "document.getElementById('ask').open && document.activeElement.id === 'ask-no'");
    browser.click("#ask-no");
    state(&browser, "ready");
    browser.press(bar, "Stop");
    confirm(&browser);
    said(&browser, "stop web: done");
    state(&browser, "stopped");
    browser.press(bar, "Start");
    said(&browser, "start web: done");
    state(&browser, "ready");
    for (label, action, asks) in
        [("Restart", "restart", true), ("Reload", "reload", false), ("Rolling reload", "rolling-reload", false)]
    {
        browser.press(bar, label);
        if asks {
            confirm(&browser);
        }
        said(&browser, &format!("{action} web: done"));
    }
    browser.press(bar, "More processes");
    browser.fill("#ask-fields input", "2");
    confirm(&browser);
    said(&browser, "incr web: 5 processes");
    browser.until("five", "document.querySelectorAll('.processes .body .row').length === 5");
    browser.press(bar, "Fewer processes");
    browser.fill("#ask-fields input", "3");
    confirm(&browser);
    said(&browser, "decr web: 2 processes");
    browser.until("two", "document.querySelectorAll('.processes .body .row').length === 2");
    browser.press(bar, "Signal…");
    browser.fill("#ask-fields input[type=text]", "CONT");
    confirm(&browser);
    said(&browser, "signal web: done");
    let pid = browser.until("a process", "document.querySelector('.processes .body .row span').textContent");
    browser.press(".processes .body .row", "Kill");
    confirm(&browser);
    said(&browser, "kill web: done");
    browser.until("another process", &format!("![...document.querySelectorAll('.processes .body .row span:first-child')].some((cell) => cell.textContent === {pid})"));
    browser.press(bar, "Disable");
    confirm(&browser);
    said(&browser, "disable web: done");
    browser.press(bar, "Enable");
    said(&browser, "enable web: done");
    browser.until("options", "document.querySelector('input[name=numprocesses]')");
    browser.fill("input[name=numprocesses]", "4");
    browser.press("main", "Set…");
    confirm(&browser);
    said(&browser, "set web: done");
    browser.until("four", "document.querySelectorAll('.processes .body .row').length === 4");
    browser.press(bar, "Run");
    said(&browser, "run web");
    silent_but_refusals(&browser);

    page(&browser, "#/w/box/crash");
    browser.until(
        "why",
        "document.querySelector('main ol') && document.querySelector('main ol').textContent.includes('status 3')",
    );
    browser.until("what it printed", "document.querySelector('main pre').textContent.includes('no such table')");

    page(&browser, "#/events");
    browser.until("events", "document.querySelectorAll('.happened .body .row').length > 5");
    browser.keys("#events-filter", "web");
    browser.until(
        "filtered",
        "[...document.querySelectorAll('.happened .body .row')].every((row) => row.textContent.includes('web'))",
    );
    browser.click("#events-pause");
    browser.until("paused", "document.getElementById('events-pause').getAttribute('aria-pressed') === 'true'");

    page(&browser, WEB);
    browser.press(bar, "Remove…");
    confirm(&browser);
    browser.until("the overview", "location.hash === '#/'");
    browser.click("#logout");
    browser.until("logged out", "document.getElementById('token')");
    browser.go(&url(&rig));
    browser.until("still logged out", "document.getElementById('token')");
}

/// What circusd refuses is a request that fails; the browser notes its status.
fn silent_but_refusals(browser: &Browser) {
    let complaints = browser.complaints();
    let other: Vec<_> =
        complaints.iter().filter(|text| !text.contains("the server responded with a status of")).collect();
    assert!(other.is_empty(), "{other:?}");
}

#[test]
fn people_read_output() {
    let test = "people_read_output";
    if !both(test) {
        return;
    }
    let rig = Rig::new(INI);
    let browser = log_in(&rig, READ);
    page(&browser, "#/w/box/talk");
    let text = "[...document.querySelectorAll('.lines .pad > div')].map((line) => line.textContent).join('\\n')";
    browser.until("lines", &format!("{text}.includes('line 3')"));
    browser.keys("#tail-search", "script");
    browser.until("the one line", &format!("{text}.includes('<script>alert(1)</script><b>bold</b>')"));
    browser.until("only it", "document.querySelectorAll('.lines .pad > div').length === 1");
    browser.until("it is text", "!document.querySelector('.lines script') && !document.querySelector('.lines b') && document.querySelector('.lines mark')");
    browser.until(
        "it can be downloaded",
        "document.getElementById('tail-download').getAttribute('href').includes('search=script')",
    );
    browser.fill("#tail-search", " ");
    browser.click("#tail-pause");
    browser.until("lines are held", "/[1-9][0-9]* held/.test(document.getElementById('tail-count').textContent)");
    browser.click("#tail-pause");
    browser.until("no line is held", "!document.getElementById('tail-count').textContent.includes('held')");
    browser.script("const pick = document.getElementById('tail-stream'); pick.value = 'stderr'; pick.dispatchEvent(new Event('change'))");
    browser.until("standard error", &format!("{text}.includes('a warning')"));
    // The role read can press nothing.
    assert_eq!(
        browser.script(
            "return [...document.querySelectorAll('[data-action]')].filter((button) => !button.disabled).length"
        ),
        0
    );
    assert!(browser.script("return document.querySelectorAll('[data-action]').length").as_u64() > Some(5));
    page(&browser, "#/configuration");
    assert_eq!(
        browser.script(
            "return [...document.querySelectorAll('[data-action]')].filter((button) => !button.disabled).length"
        ),
        0
    );
    silent(&browser);
}

#[test]
fn the_configuration_is_checked_before_it_is_applied() {
    let test = "the_configuration_is_checked_before_it_is_applied";
    if !both(test) {
        return;
    }
    let rig = Rig::new(INI);
    let browser = log_in(&rig, ADMIN);
    page(&browser, "#/configuration");
    browser.until("a machine", "document.getElementById('machine').value === 'box'");
    assert_eq!(browser.script("return document.getElementById('apply').disabled"), true);
    browser.click("#check");
    browser.until("nothing to do", "document.getElementById('plan').textContent.includes('nothing in it has changed')");
    rig.configure("[watcher:bad]\ncmd = sleep 1\nnumprocesses = many\n");
    browser.click("#check");
    browser.until("what is wrong", "document.getElementById('plan').textContent.includes('numprocesses')");
    assert_eq!(browser.script("return document.getElementById('apply').disabled"), true);
    rig.configure(&INI.replace("numprocesses = 3", "numprocesses = 1"));
    browser.click("#check");
    browser.until("the plan", "document.getElementById('plan').textContent.includes('scaled from 3 to 1')");
    browser.click("#apply");
    confirm(&browser);
    said(&browser, "reloadconfig box: done");
    eventually("one process", || {
        let web = rig.get("/api/machines/box/watchers/web");
        (web["processes"].as_array().unwrap().len() == 1).then_some(())
    });
    browser.press("main", "Add a watcher…");
    browser.until("a dialog", "document.getElementById('ask').open");
    browser.keys("#ask-fields label:nth-of-type(1) input", "more");
    browser.keys("#ask-fields label:nth-of-type(2) input", "sleep 1000");
    confirm(&browser);
    said(&browser, "add more: done");
    assert_eq!(rig.get("/api/machines/box/watchers/more")["state"], "active");
    browser.press("main", "Open log files again");
    said(&browser, "reopenlogs box: done");
    browser.press("main", "Rolling reload of all…");
    confirm(&browser);
    said(&browser, "rolling-reload box");
    page(&browser, "#/");
    for (label, action) in [("Stop all", "stop"), ("Start all", "start"), ("Reload all", "reload")] {
        browser.press("main", label);
        if action != "start" {
            confirm(&browser);
        }
        said(&browser, &format!("{action} box"));
    }
    silent_but_refusals(&browser);
}

#[test]
fn the_page_comes_back_after_restart_and_upgrade() {
    let test = "the_page_comes_back_after_restart_and_upgrade";
    if !both(test) {
        return;
    }
    let mut rig = Rig::new(INI);
    let browser = log_in(&rig, ADMIN);
    let up = |word: &str| {
        let of = "document.querySelector('.watchers .row.machine .state')";
        browser.until(word, &format!("{of} && {of}.textContent === {word:?}"));
    };
    up("up");
    rig.hears("web");
    page(&browser, "#/configuration");
    browser.press("main", "Upgrade circusd…");
    confirm(&browser);
    said(&browser, "upgrade box: done");
    page(&browser, "#/events");
    browser.until("the upgrade", "document.querySelector('.happened').textContent.includes('circusd upgraded')");
    page(&browser, "#/");
    up("up");
    page(&browser, "#/configuration");
    browser.press("main", "Restart circusd…");
    confirm(&browser);
    said(&browser, "restart box");
    page(&browser, "#/");
    up("up");
    page(&browser, "#/configuration");
    browser.press("main", "Quit circusd…");
    confirm(&browser);
    said(&browser, "quit box");
    page(&browser, "#/");
    up("down");
    browser.until("the reason", "document.querySelector('.note.bad').textContent.includes('box: ')");
    rig.circusd = None;
    rig.start_circusd();
    up("up");
    browser.until("no reason", "document.querySelector('.note.bad').hidden");
    // The console itself.
    rig.console.as_mut().unwrap().kill();
    browser.until("lost", "document.getElementById('link').dataset.state === 'lost'");
    rig.console = None;
    rig.start_console(&[]);
    // Its sessions are gone with it.
    browser.until("the login", "document.getElementById('token')");
    browser.keys("#token", &format!("{OPERATE}\u{e007}"));
    live(&browser);
    browser.until("the watchers", "document.querySelector('.watchers').textContent.includes('web')");
}

#[test]
fn a_thousand_workers_are_few_elements() {
    let test = "a_thousand_workers_are_few_elements";
    if !both(test) {
        return;
    }
    let mut ini =
        String::from("statsd = yes\nstats_interval = 2\n[watcher:many]\ncmd = sleep 10000\nnumprocesses = 500\n");
    for number in 0..500 {
        ini.push_str(&format!("[watcher:w{number:03}]\ncmd = sleep 10000\n"));
    }
    let rig = Rig::new(&ini);
    let browser = log_in(&rig, ADMIN);
    browser.until("502 watchers", "document.querySelector('.watchers').getAttribute('aria-rowcount') === '504'");
    let many = |expression: &str| browser.script(&format!("return {expression}")).as_u64().unwrap();
    assert!(many("document.querySelectorAll('.watchers .body .row').length") < 80);
    browser.until("all run", "Number(document.querySelector('.watchers .row.machine .num').textContent) >= 1001");
    browser.script("document.querySelector('.watchers').scrollTop = 1e9");
    browser.until("the last one", "document.querySelector('.watchers').textContent.includes('w499')");
    assert!(many("document.querySelectorAll('.watchers .body .row').length") < 80);
    browser.keys("#filter", "w123");
    browser.until("one row", "document.querySelectorAll('.watchers .body .row').length === 2");
    page(&browser, "#/w/box/many");
    browser.until("500 processes", "document.querySelector('.processes').getAttribute('aria-rowcount') === '501'");
    browser.until("their figures", "/[0-9][KM]/.test(document.querySelector('.processes .body .row').textContent)");
    assert!(many("document.querySelectorAll('.processes .body .row').length") < 80);
    // The page goes on to answer, and keeps no more than it shows.
    let heap = "(gc(), performance.memory.usedJSHeapSize)";
    let before = many(heap);
    let told = many("performance.now() | 0");
    browser.until("some seconds of figures", &format!("performance.now() > {told} + 10000"));
    let grown = many(heap).saturating_sub(before);
    assert!(grown < 8 << 20, "{grown} bytes more");
    silent_but_refusals(&browser);
}

/// circusd is slow, and the page was opened by its address: it asks once there is something to ask for.
#[test]
fn a_page_that_comes_before_circusds_answer_fills_itself() {
    let test = "a_page_that_comes_before_circusds_answer_fills_itself";
    if !both(test) {
        return;
    }
    let mut rig = Rig::bare(INI);
    rig.start_circusd();
    rig.circusd.as_ref().unwrap().signal(Signal::SIGSTOP);
    rig.start_console(&[]);
    let browser = log_in(&rig, ADMIN);
    page(&browser, WEB);
    browser.until("the page", "document.querySelector('h1 .state').textContent === '…'");
    rig.circusd.as_ref().unwrap().signal(Signal::SIGCONT);
    state(&browser, "ready");
    browser.until("options", "document.querySelector('input[name=numprocesses]')");
    browser.until("curves", "document.querySelectorAll('.plot path')[1].getAttribute('d').length > 5");
    page(&browser, "#/w/box/none");
    browser.until("it says so", "document.querySelector('.note.bad').textContent === 'There is no such watcher.'");
    // Nothing was asked for in vain, but for output that is not kept.
    let complaints = browser.complaints();
    let other: Vec<_> = complaints
        .iter()
        .filter(|text| !["/tail?", "status of 401", "status of 503"].iter().any(|known| text.contains(known)))
        .collect();
    assert!(other.is_empty(), "{other:?}");
}

#[test]
fn a_flood_of_output_stays_bounded() {
    let test = "a_flood_of_output_stays_bounded";
    if !both(test) {
        return;
    }
    let rig = Rig::new(
        "[watcher:flood]\ncmd = sh -c 'while :; do cat FOLDER/page; done'\n\
        stdout_stream.class = FileStream\nstdout_stream.filename = /dev/null\nstdout_stream.max_bytes = 0\n",
    );
    let text: String = (0..2000).map(|number| format!("{number:0100}\n")).collect();
    std::fs::write(rig.path("page"), text).unwrap();
    let browser = log_in(&rig, OPERATE);
    page(&browser, "#/w/box/flood");
    let dropped = "Number((/([0-9]+) dropped/.exec(document.getElementById('tail-count').textContent) || [0, 0])[1])";
    let many = |expression: &str| browser.script(&format!("return {expression}")).as_u64().unwrap();
    browser.until("lines are dropped", &format!("{dropped} > 50000"));
    let heap = "(gc(), performance.memory.usedJSHeapSize)";
    let (first, before) = (many(dropped), many(heap));
    browser.until("more lines are dropped", &format!("{dropped} > {first} + 500000"));
    let grown = many(heap).saturating_sub(before);
    assert!(grown < 16 << 20, "{grown} bytes more");
    assert!(many("document.querySelectorAll('.lines .pad > div').length") < 100);
    browser.until("5000 lines are kept", "document.getElementById('tail-count').textContent.startsWith('5000 lines')");
    // It still listens to people.
    browser.press("[aria-label=Actions]", "Stop");
    confirm(&browser);
    state(&browser, "stopped");
    silent(&browser);
}

/// Pages in both colours and at the width of a phone.
fn everywhere(browser: &Browser, mut look: impl FnMut(&str, &str)) {
    for (width, size) in [(1300, "wide"), (400, "phone")] {
        browser.resize(width, 1000);
        for theme in ["light", "dark"] {
            for (name, hash, ready) in [
                ("overview", "#/", "document.querySelectorAll('.watchers .body .row').length > 4"),
                (
                    "watcher",
                    "#/w/box/talk",
                    "document.querySelector('main table') && document.querySelector('.lines .pad > div')",
                ),
                ("events", "#/events", "document.querySelector('.happened .body .row')"),
                ("configuration", "#/configuration", "document.getElementById('machine').value"),
            ] {
                page(browser, hash);
                browser.script(&format!("document.documentElement.dataset.theme = {theme:?}"));
                browser.until(name, ready);
                look(name, &format!("{theme}-{size}"));
            }
        }
    }
}

fn axe(test: &str) -> Option<String> {
    let modules = std::env::var_os("CIRCUS_TEST_NODE_MODULES").map(PathBuf::from);
    let source = modules.and_then(|modules| std::fs::read_to_string(modules.join("axe-core/axe.min.js")).ok());
    if source.is_none() {
        skipped(test, "CIRCUS_TEST_NODE_MODULES has no axe-core");
    }
    source
}

#[test]
fn pages_are_for_everybody() {
    let test = "pages_are_for_everybody";
    if !both(test) {
        return;
    }
    let Some(source) = axe(test) else { return };
    let rig = Rig::new(INI);
    let browser = log_in(&rig, ADMIN);
    let serious = |place: &str| {
        let found = browser.script_later(
            "const done = arguments[arguments.length - 1]; \
             axe.run(document, {resultTypes: ['violations']}).then((result) => done(result.violations.map((one) => \
             [one.impact, one.id, one.nodes.map((node) => node.target.join(' ') + ': ' + node.failureSummary)])), (error) => done([['serious', String(error)]]))",
        );
        let grave = |one: &&Value| one[0] == "serious" || one[0] == "critical";
        let grave: Vec<_> = found.as_array().unwrap().iter().filter(grave).collect();
        assert!(grave.is_empty(), "{place}: {}", json!(grave));
    };
    browser.script(&source);
    everywhere(&browser, |name, look| {
        let wide = browser.script("return document.documentElement.scrollWidth > innerWidth");
        assert_eq!(wide, false, "{name} {look} is wider than the window");
        serious(&format!("{name} {look}"));
    });
    page(&browser, "#/w/box/web");
    browser.press("[aria-label=Actions]", "Signal…");
    browser.until("a dialog", "document.getElementById('ask').open");
    serious("a dialog");
    browser.click("#ask-no");
    browser.click("#logout");
    browser.until("the login", "document.getElementById('token')");
    serious("the login");
}

/// Pictures for the documentation: CIRCUS_SCREENSHOTS names their folder.
#[test]
fn pictures() {
    let test = "pictures";
    let Some(folder) = std::env::var_os("CIRCUS_SCREENSHOTS").map(PathBuf::from) else { return };
    assert!(both(test), "pictures need a circusd and Chromium");
    let rig = Rig::new(INI);
    let browser = log_in(&rig, ADMIN);
    browser.resize(1100, 760);
    page(&browser, "#/");
    browser.until("memory", "/[0-9.]+[KM]/.test(document.querySelector('.watchers').textContent)");
    browser.until("trouble", "document.querySelector('.watchers').textContent.includes('backing off')");
    keep(&browser, &folder.join("console-overview.png"));
    page(&browser, "#/w/box/talk");
    let told = browser.script("return performance.now()").as_f64().unwrap();
    browser.until("half a minute of figures", &format!("performance.now() > {told} + 30000"));
    keep(&browser, &folder.join("console-watcher.png"));
    browser.resize(400, 760);
    page(&browser, "#/");
    browser.script("document.documentElement.dataset.theme = 'dark'");
    browser.until("rows", "document.querySelectorAll('.watchers .body .row').length > 4");
    keep(&browser, &folder.join("console-phone.png"));
}

fn keep(browser: &Browser, path: &Path) {
    let text = browser.picture();
    let letters: Vec<u32> = text
        .bytes()
        .filter_map(|byte| match byte {
            b'A'..=b'Z' => Some(u32::from(byte - b'A')),
            b'a'..=b'z' => Some(u32::from(byte - b'a') + 26),
            b'0'..=b'9' => Some(u32::from(byte - b'0') + 52),
            b'+' => Some(62),
            b'/' => Some(63),
            _ => None,
        })
        .collect();
    let mut bytes = Vec::new();
    for four in letters.chunks(4) {
        let all = four.iter().enumerate().fold(0, |all, (at, letter)| all | letter << (18 - 6 * at));
        bytes.extend_from_slice(&all.to_be_bytes()[1..four.len()]);
    }
    assert!(bytes.starts_with(b"\x89PNG"), "{} bytes", bytes.len());
    std::fs::write(path, bytes).unwrap();
}
