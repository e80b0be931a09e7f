//! `watch`: files of `include_dir` that appear, change and disappear.

use std::fs::{self, File};
use std::io::Write as _;

use serde_json::json;

use crate::rig::{Circusd, Site, wait_until};

const A: &str = "[watcher:a]\ncmd = {knobs}\n";

/// A circusd that watches `conf.d`, in which `a.ini` has one watcher.
fn start() -> Circusd {
    let site = Site::new();
    fs::create_dir(site.path("conf.d")).unwrap();
    site.write("conf.d/a.ini", A);
    site.start("[circus]\ninclude_dir = conf.d\nwatch = yes\n")
}

fn watchers(circusd: &Circusd) -> Vec<String> {
    let list = circusd.tell("list", json!({}));
    list["watchers"].as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect()
}

fn wait_for_watchers(circusd: &Circusd, expected: &[&str]) {
    wait_until(&format!("the watchers are {expected:?}"), || watchers(circusd) == expected);
}

#[test]
fn watchers_follow_the_files_of_a_directory() {
    let circusd = start();
    let a = circusd.wait_for_workers("a", 1);
    circusd.write("conf.d/b.ini", "[watcher:b]\ncmd = {knobs}\n");
    wait_for_watchers(&circusd, &["a", "b"]);
    circusd.wait_for_workers("b", 1);
    // As editors and package managers do: another file takes its place.
    circusd.write("conf.d/b.ini.new", "[watcher:b]\ncmd = {knobs}\nnumprocesses = 2\n");
    fs::rename(circusd.path("conf.d/b.ini.new"), circusd.path("conf.d/b.ini")).unwrap();
    circusd.wait_for_workers("b", 2);
    fs::remove_file(circusd.path("conf.d/b.ini")).unwrap();
    wait_for_watchers(&circusd, &["a"]);
    assert_eq!(circusd.workers("a"), a, "what does not concern a watcher does not touch it");
}

#[test]
fn half_written_file_is_left_alone() {
    let circusd = start();
    circusd.wait_for_workers("a", 1);
    // Every write of it alone would be a watcher that runs something else.
    let mut file = File::create(circusd.path("conf.d/b.ini")).unwrap();
    file.write_all(b"[watcher:b]\ncmd = false\n").unwrap();
    circusd.write("conf.d/c.ini", "[watcher:c]\ncmd = {knobs}\n");
    // By the time that another circusd, whose files are all whole, has seen what came later, this one would have, too.
    let other = start();
    other.write("conf.d/c.ini", "[watcher:c]\ncmd = {knobs}\n");
    wait_for_watchers(&other, &["a", "c"]);
    assert_eq!(watchers(&circusd), ["a"]);
    file.write_all(b"autostart = no\n").unwrap();
    drop(file);
    wait_for_watchers(&circusd, &["a", "b", "c"]);
    assert_eq!(circusd.status("b"), "stopped", "no half of it was ever in force");
    assert!(!circusd.log().contains("b: worker"), "{}", circusd.log());
}

#[test]
fn broken_file_changes_nothing_until_it_is_mended() {
    let circusd = start();
    let a = circusd.wait_for_workers("a", 1);
    circusd.write("conf.d/b.ini", "[watcher:b]\ncmd = {knobs}\nnumprocesses = many\n");
    circusd.wait_for_log("conf.d/b.ini:3");
    assert_eq!((watchers(&circusd), circusd.workers("a")), (vec!["a".to_owned()], a));
    circusd.write("conf.d/b.ini", "[watcher:b]\ncmd = {knobs}\n");
    wait_for_watchers(&circusd, &["a", "b"]);
    circusd.wait_for_workers("b", 1);
}

#[test]
fn directory_that_comes_and_goes_is_watched_also_after_an_upgrade() {
    let circusd = start();
    circusd.wait_for_workers("a", 1);
    fs::remove_dir_all(circusd.path("conf.d")).unwrap();
    wait_for_watchers(&circusd, &[]);
    circusd.tell("upgrade", json!({}));
    fs::create_dir(circusd.path("conf.d")).unwrap();
    circusd.write("conf.d/a.ini", A);
    wait_for_watchers(&circusd, &["a"]);
    circusd.write("conf.d/b.ini", "[watcher:b]\ncmd = {knobs}\n");
    wait_for_watchers(&circusd, &["a", "b"]);
    circusd.wait_for_workers("b", 1);
}

#[test]
fn nothing_is_watched_unless_it_is_asked_for() {
    let circusd = start();
    circusd.ini("circus.ini", "[circus]\ninclude_dir = conf.d\n");
    circusd.tell("reloadconfig", json!({"waiting": true}));
    let watches = || circusd.process().fds().into_values().any(|target| target.to_string_lossy().contains("inotify"));
    wait_until("inotify is closed", || !watches());
    circusd.ini("circus.ini", "[circus]\ninclude_dir = conf.d\nwatch = yes\n");
    circusd.tell("reloadconfig", json!({"waiting": true}));
    wait_until("it is open again", watches);
}
