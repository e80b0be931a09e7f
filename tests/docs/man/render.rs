//! Pages as a reader sees them.

use std::io::Write as _;
use std::path::Path;
use std::process::Command;

/// A page after groff.
pub(crate) struct Rendered {
    pub(crate) text: String,
    pub(crate) warnings: String,
}

/// The page, or nothing and a word about it: CI counts those.
#[expect(clippy::disallowed_methods, reason = "a test that asks the program that readers use")]
pub(crate) fn render(page: &Path) -> Option<Rendered> {
    let output =
        Command::new("groff").args(["-man", "-Tutf8", "-Kutf8", "-ww", "-P-cbou", "-rLL=100n"]).arg(page).output();
    let Ok(output) = output else {
        // Not by eprintln, which the test harness keeps to itself where a test passes.
        let line = format!("SKIPPED rendering of {}: there is no groff\n", page.display());
        drop(std::io::stderr().write_all(line.as_bytes()));
        return None;
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Some(Rendered { text: text(&output.stdout), warnings: text(&output.stderr) })
}
