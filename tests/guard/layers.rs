//! Who may see whom (DESIGN section 1), and what of the world outside.
//!
//! The table says what is allowed; everything else is a violation, in tests too, so that a test cannot become the first
//! to need what its room must not know.

use crate::lexer::lex;
use crate::paths::{Named, paths};
use crate::tree::File;

/// A room of the house: a folder of `src`.
pub(crate) struct Room {
    pub(crate) name: &'static str,
    /// The other rooms that it may name.
    rooms: &'static [&'static str],
    /// The crates that it may name, beside `std` and those for tests.
    crates: &'static [&'static str],
    /// Whether it computes and does nothing else.
    pure: bool,
}

/// From the bottom to the top.
pub(crate) const ROOMS: &[Room] = &[
    Room { name: "proto", rooms: &[], crates: &["serde", "serde_json", "rmp_serde"], pure: true },
    Room { name: "config", rooms: &["proto"], crates: &["serde", "serde_json", "shlex"], pure: true },
    Room { name: "commands", rooms: &["config", "proto"], crates: &["serde_json", "regex"], pure: true },
    Room { name: "arbiter", rooms: &["commands", "config", "proto"], crates: &["serde", "serde_json"], pure: true },
    Room {
        name: "sys",
        rooms: &["commands", "config", "proto"],
        crates: &["jiff", "libc", "nix", "serde", "signal_hook", "socket2"],
        pure: false,
    },
    Room {
        name: "output",
        rooms: &["commands", "config", "proto"],
        crates: &["jiff", "libc", "memchr", "mio", "nix", "serde", "serde_json"],
        pure: false,
    },
    Room {
        name: "net",
        rooms: &["commands", "config", "proto"],
        crates: &["libc", "mio", "nix", "serde_json", "signal_hook", "zmq", "zmq_sys"],
        pure: false,
    },
    Room {
        name: "plugin",
        rooms: &["net", "sys", "commands", "config", "proto"],
        crates: &["clap", "mio", "nix", "serde_json"],
        pure: false,
    },
    Room {
        name: "daemon",
        rooms: &["arbiter", "net", "output", "sys", "commands", "config", "proto"],
        crates: &["clap", "jiff", "mio", "nix", "serde_json"],
        pure: false,
    },
    Room {
        name: "stats",
        rooms: &["net", "sys", "commands", "config", "proto"],
        crates: &["clap", "jiff", "mio", "nix", "rmp_serde", "serde", "serde_json"],
        pure: false,
    },
    Room {
        name: "ctl",
        rooms: &["net", "sys", "commands", "config", "proto"],
        crates: &["clap", "nix", "rustyline", "serde_json", "shlex"],
        pure: false,
    },
    Room { name: "munin", rooms: &["net", "sys", "commands", "config", "proto"], crates: &["serde_json"], pure: false },
    Room {
        name: "top",
        rooms: &["net", "sys", "commands", "config", "proto"],
        crates: &["clap", "jiff", "mio", "nix", "ratatui", "serde_json"],
        pure: false,
    },
];

/// What a pure room must not name of the standard library: whatever looks outside, waits, or reads a clock.
const IMPURE: &[&str] = &[
    "std::env",
    "std::fs",
    "std::net",
    "std::os",
    "std::process",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
    "std::time::UNIX_EPOCH",
];

/// The licensed exceptions: this file may name this.
pub(crate) const EXCEPTIONS: &[(&str, &str)] = &[
    // An address is text here, and this tells whether a text is one.
    ("src/config/circus.rs", "std::net"),
    // The one part of the configuration that reads the disk.
    ("src/config/load.rs", "std::fs"),
];

/// Every crate that the project depends on, as code spells it, but those that only tests can name.
const CRATES: &[&str] = &[
    "clap",
    "jiff",
    "libc",
    "memchr",
    "mio",
    "nix",
    "ratatui",
    "redis",
    "regex",
    "rmp_serde",
    "rustyline",
    "serde",
    "serde_json",
    "shlex",
    "signal_hook",
    "socket2",
    "ureq",
    "zmq",
    "zmq_sys",
];

/// Crates that only tests and benches can name.
const TEST_CRATES: &[&str] = &["criterion", "plotters", "proptest", "tempfile"];

/// What is wrong in one file of the library.
pub(crate) fn violations(file: &File) -> Vec<String> {
    let Some(module) = module(&file.path) else { return Vec::new() };
    let Some(name) = module.first().filter(|name| *name != "bin") else { return Vec::new() };
    let Some(room) = ROOMS.iter().find(|room| room.name == name) else {
        return vec![
            file.complaint(1, &format!("{name} is no room of this house; add it to ROOMS with what it may see")),
        ];
    };
    let named = paths(&lex(&file.text).tokens, &module);
    let wrong = named.iter().filter_map(|named| Some(file.complaint(named.line, &objection(room, file, named)?)));
    wrong.collect()
}

fn objection(room: &Room, file: &File, named: &Named) -> Option<String> {
    let path = named.path.join("::");
    let words: Vec<&str> = named.path.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["crate", other, ..] if *other == room.name || room.rooms.contains(other) => None,
        ["crate", ..] => Some(format!("{} must not see {path}", room.name)),
        ["std" | "core" | "alloc"] => Some(format!("{} imports a whole crate, {path}", room.name)),
        ["std", ..] => forbidden(room, file, &path),
        [name, ..] if CRATES.contains(name) && !room.crates.contains(name) => {
            Some(format!("{} must not know the crate {name}", room.name))
        }
        _ => None,
    }
}

fn forbidden(room: &Room, file: &File, path: &str) -> Option<String> {
    let licensed = |impure| EXCEPTIONS.contains(&(file.path.as_str(), impure));
    // A glob of a module, or the module itself, names what is in it as well.
    let reaches = |impure: &str| is_below(path, impure) || is_below(impure, path.trim_end_matches("::*"));
    let found = IMPURE.iter().find(|impure| room.pure && reaches(impure) && !licensed(**impure))?;
    Some(format!("{} is pure and must not name {found}", room.name))
}

fn is_below(path: &str, ancestor: &str) -> bool {
    path.strip_prefix(ancestor).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// The module that a file of the library is, from its path.
fn module(path: &str) -> Option<Vec<String>> {
    let inner = path.strip_prefix("src/")?.strip_suffix(".rs")?;
    let inner = inner.strip_suffix("/mod").unwrap_or(inner);
    Some(inner.split('/').filter(|word| *word != "lib").map(str::to_owned).collect())
}

/// Exceptions that nobody needs any more: the list may only shrink.
pub(crate) fn stale(files: &[File]) -> Vec<String> {
    let needed = |path: &str, impure: &str| {
        let file = files.iter().find(|file| file.path == path)?;
        let named = paths(&lex(&file.text).tokens, &module(path)?);
        named.iter().find(|named| is_below(&named.path.join("::"), impure)).map(drop)
    };
    let stale = EXCEPTIONS.iter().filter(|(path, impure)| needed(path, impure).is_none());
    stale.map(|(path, impure)| format!("{path} no longer names {impure}: take it off EXCEPTIONS")).collect()
}

/// Dependencies of a manifest that the table of crates has not heard of, whose use would go unseen.
pub(crate) fn unknown_crates(manifest: &str) -> Vec<String> {
    let mut table = "";
    let mut unknown = Vec::new();
    for line in manifest.lines() {
        if let Some(name) = line.strip_prefix('[') {
            table = name.trim_end_matches(']');
        } else if let Some((name, _)) = line.split_once(" = ").filter(|_| table.ends_with("dependencies"))
            && !name.starts_with('#')
        {
            let name = name.replace('-', "_");
            if !CRATES.contains(&name.as_str()) && !TEST_CRATES.contains(&name.as_str()) {
                unknown.push(format!("[{table}] {name}: say in CRATES and ROOMS who may know it"));
            }
        }
    }
    unknown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(path: &str, text: &str) -> Vec<String> {
        violations(&File::new(path, text))
    }

    #[test]
    fn each_forbidden_edge_is_found() {
        for room in ROOMS {
            let others = ROOMS.iter().filter(|other| other.name != room.name);
            for other in others {
                let text = format!("use crate::{}::Thing;", other.name);
                let found = wrong(&format!("src/{}/file.rs", room.name), &text);
                assert_eq!(found.is_empty(), room.rooms.contains(&other.name), "{} -> {}", room.name, other.name);
            }
        }
    }

    #[test]
    fn each_forbidden_crate_is_found() {
        for room in ROOMS {
            for name in CRATES {
                let found = wrong(&format!("src/{}/mod.rs", room.name), &format!("fn f() {{ {name}::f() }}"));
                assert_eq!(found.is_empty(), room.crates.contains(name), "{} -> {name}", room.name);
            }
        }
    }

    #[test]
    fn the_table_has_no_way_up() {
        for (at, room) in ROOMS.iter().enumerate() {
            for other in room.rooms {
                assert!(ROOMS[..at].iter().any(|below| below.name == *other), "{} -> {other}", room.name);
            }
        }
        let sees = |name: &str, other: &str| ROOMS.iter().any(|room| room.name == name && room.rooms.contains(&other));
        for (name, other) in
            [("sys", "net"), ("net", "sys"), ("arbiter", "sys"), ("arbiter", "net"), ("arbiter", "output")]
        {
            assert!(!sees(name, other), "{name} -> {other}");
        }
    }

    #[test]
    fn the_core_may_not_look_outside() {
        for text in [
            "use std::time::Instant;",
            "use std::{fs, mem};",
            "fn f() { std::thread::spawn(g) }",
            "use std::time::*;",
            "use std::time;",
            "use std::net::IpAddr;",
            "use std::*;",
            "use std as s;",
            "mod tests { use std::env; }",
            "use super::super::net::Router;",
            "use crate::*;",
            "use crate::unheard_of;",
        ] {
            assert_eq!(wrong("src/arbiter/core.rs", text).len(), 1, "{text}");
        }
        for text in [
            "use std::time::Duration; use std::collections::BTreeMap;",
            "use super::worker; use crate::arbiter::ids; pub(in crate::arbiter) fn f() {}",
            "// use std::fs",
            "mod tests { use super::*; }",
        ] {
            assert_eq!(wrong("src/arbiter/core.rs", text), Vec::<String>::new(), "{text}");
        }
    }

    #[test]
    fn a_complaint_says_where_and_what() {
        let found = wrong("src/proto/codec.rs", "\n\nuse crate::{proto::Reply, net::Router};");
        assert_eq!(found, ["src/proto/codec.rs:3: proto must not see crate::net::Router"]);
        assert_eq!(wrong("src/attic/mod.rs", "").len(), 1);
    }

    #[test]
    fn licences_are_for_one_file_and_end_with_their_use() {
        assert!(wrong("src/config/load.rs", "use std::fs;").is_empty());
        assert_eq!(wrong("src/config/ini.rs", "use std::fs;").len(), 1);
        assert_eq!(stale(&[File::new("src/config/load.rs", "use std::io;")]).len(), EXCEPTIONS.len());
    }

    #[test]
    fn a_dependency_that_nobody_placed_is_found() {
        let manifest = "[dependencies]\n# a = b\nserde = \"1\"\nrmp-serde = \"1\"\n[dev-dependencies]\ntokio = \"1\"\n[profile]\nx = 1\n";
        let found = unknown_crates(manifest);
        assert_eq!(found, ["[dev-dependencies] tokio: say in CRATES and ROOMS who may know it"]);
    }
}
