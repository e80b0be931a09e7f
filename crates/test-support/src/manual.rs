use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The long options that a manual page of `man/` describes: a line that begins with an option in bold.
pub fn described(page: &str) -> BTreeSet<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../man").join(page);
    let text = fs::read_to_string(path).unwrap().replace("\\-", "-");
    let terms = text.lines().filter(|line| line.starts_with("\\fB-"));
    terms.filter_map(|line| line.split("--").nth(1)?.split("\\fR").next().map(str::to_owned)).collect()
}

/// The long options of a program and of all its commands.
pub fn offered(command: &clap::Command) -> BTreeSet<String> {
    let own = command.get_arguments().filter_map(|argument| argument.get_long()).map(str::to_owned);
    own.chain(command.get_subcommands().flat_map(offered)).collect()
}
