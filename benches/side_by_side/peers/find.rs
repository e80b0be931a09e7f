//! Where the managers are.
#![expect(clippy::disallowed_methods, reason = "peers are looked for where the shell would look")]

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::circus::Circus;
use super::floor::Floor;
use super::peer::{OURS, Peer};
use super::s6::S6;
use super::supervisord::Supervisord;
use crate::harness::command;
use crate::outcome::{Outcome, fault};

/// Those that are there, and the names of those that are not, with what was looked for.
#[derive(Default)]
pub(crate) struct Found {
    pub(crate) peers: Vec<Box<dyn Peer>>,
    pub(crate) missing: Vec<String>,
}

/// The floor and this circusd: what each manager is compared with.
pub(crate) fn ours(circusd: &Path) -> Vec<Box<dyn Peer>> {
    vec![Box::new(Floor), Box::new(Circus { name: OURS.to_owned(), program: circusd.to_owned() })]
}

/// Finds peers: each is a name, or `NAME=PATH`.
pub(crate) fn find(wanted: &[String], venv: Option<&Path>) -> Outcome<Found> {
    let mut found = Found::default();
    for entry in wanted.iter().filter(|entry| !entry.is_empty()) {
        let (name, path) = match entry.split_once('=') {
            Some((name, path)) => (name, Some(PathBuf::from(path))),
            None => (entry.as_str(), None),
        };
        let program = match name {
            "circus" => "circusd",
            "supervisord" => "supervisord",
            "s6" => "s6-svscan",
            other => return Err(fault(format!("unknown peer {other}: there are circus, supervisord, s6"))),
        };
        let place = path.or_else(|| look_up(program, venv)).filter(|place| place.is_file());
        match place.filter(|place| name != "circus" || is_script(place)) {
            Some(place) => found.peers.push(peer(name, place)),
            None => found.missing.push(format!("{name} ({program} is not installed; see --with and --venv)")),
        }
    }
    Ok(found)
}

fn peer(name: &str, program: PathBuf) -> Box<dyn Peer> {
    match name {
        "circus" => Box::new(Circus { name: titled("Circus", &program), program }),
        "supervisord" => Box::new(Supervisord { name: titled("supervisord", &program), program }),
        _ => Box::new(S6 { program }),
    }
}

/// The name with the version that the program tells.
fn titled(name: &str, program: &Path) -> String {
    let told = command(program).arg("--version").output().map(|output| output.stdout).unwrap_or_default();
    format!("{name} {}", String::from_utf8_lossy(&told).trim()).trim_end().to_owned()
}

fn look_up(program: &str, venv: Option<&Path>) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> =
        venv.map(|venv| venv.join("bin")).into_iter().chain(std::env::split_paths(&path)).collect();
    folders.into_iter().map(|folder| folder.join(program)).find(|place| place.is_file())
}

/// The original is a script of Python; a circusd that is none may be ours, installed.
fn is_script(program: &Path) -> bool {
    let mut begin = [0_u8; 2];
    File::open(program).is_ok_and(|mut file| file.read_exact(&mut begin).is_ok() && &begin == b"#!")
}
