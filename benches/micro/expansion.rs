//! Variables: in the command line of each worker that is started, and in a file as a whole.

use std::collections::BTreeMap;
use std::fs;
use std::hint::black_box;

use circus::config::{argv, load};
use criterion::Criterion;

use crate::settings::{config, host};

const PLAIN: &str = "[watcher:w]\ncmd = /usr/bin/worker --port 80\n";
const VARIED: &str = "[watcher:w]\ncmd = /usr/bin/worker --fd $(circus.sockets.web) --id $(circus.wid)\n\
                      args = --home $(circus.env.home) --dir ((circus.working_dir))\n[env:w]\nhome = /srv\n";

pub(crate) fn benches(c: &mut Criterion) {
    let sockets = BTreeMap::from([("web".to_owned(), 3)]);
    for (name, text) in [("plain", PLAIN), ("with variables", VARIED)] {
        let config = config(text);
        let watcher = config.watchers.first().expect("a watcher");
        c.bench_function(&format!("expansion/a command line, {name}"), |b| {
            b.iter(|| argv(black_box(watcher), 7, &sockets).expect("a command line"));
        });
    }
    whole_file(c);
}

/// A hundred watchers, read from the disk as at start and at `reloadconfig`.
fn whole_file(c: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("circus.ini");
    let text: String = (0..100).map(|at| VARIED.replace(":w]", &format!(":w{at}]"))).collect();
    fs::write(&path, text).expect("a temporary file");
    let (path, host) = (path.to_string_lossy(), host());
    c.bench_function("expansion/a file of 100 watchers", |b| {
        b.iter(|| load(&path, &host, &circus::sys::Machine).config.expect("a configuration"));
    });
}
