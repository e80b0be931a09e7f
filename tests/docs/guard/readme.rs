//! README and the pages of `docs/`: generated blocks, differences, INI files, the commands that README promises.

use std::path::Path;

use crate::block::with_block;
use crate::tables::Block;
use crate::tree::File;

/// What is wrong with a block of a page.
pub(crate) fn out_of_step(text: &str, block: &Block) -> Option<String> {
    let Block { page, name, body } = block;
    match with_block(text, name, body) {
        None => Some(format!("{page} has no block '{name}'")),
        Some(new) if new != text => Some(format!("{page}: '{name}' is not in step; BLESS=1 cargo test -p circus-docs")),
        Some(_) => None,
    }
}

/// The INI files that stand in a page, each with the line at which it begins.
pub(crate) fn ini_blocks(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((at, line)) = lines.next() {
        if line == "```ini" {
            let body: Vec<&str> = lines.by_ref().map(|(_, line)| line).take_while(|line| *line != "```").collect();
            found.push((at + 2, body.join("\n")));
        }
    }
    found
}

/// Links of a page to files that are not there. `exists` takes a path from the top of the checkout.
pub(crate) fn dead_links(page: &File, exists: &dyn Fn(&Path) -> bool) -> Vec<String> {
    let folder = Path::new(&page.path).parent().unwrap_or(Path::new(""));
    let targets = page.text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target);
    let local = targets.filter(|target| !target.contains("://") && !target.starts_with('#'));
    let files = local.map(|target| target.split('#').next().unwrap_or(target));
    let dead = files.filter(|file| !exists(&folder.join(file)));
    dead.map(|file| format!("{}: the link to {file} leads nowhere", page.path)).collect()
}

/// Deliberate differences (entries of `divergences.toml`) that have no reason, no `id`, or no line in the section where
/// the id stands in backquotes.
pub(crate) fn untold(divergences: &str, section: &str) -> Vec<String> {
    let entries = divergences.split("\n[[ignore]]\n").skip(1);
    let wrong = entries.enumerate().filter_map(|(at, entry)| {
        let value = |key: &str| entry.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = "));
        let id = value("id").map(|id| id.trim_matches('"'));
        match (id, value("reason"), value("scenario").unwrap_or("?")) {
            (None, _, scenario) => Some(format!("divergences.toml: entry {} ({scenario}) has no id", at + 1)),
            (Some(id), None, _) => Some(format!("divergences.toml: {id} has no reason")),
            (Some(id), Some(_), _) if !has_line(section, id) => Some(format!("docs/differences.md has no line `{id}`")),
            (Some(_), Some(_), _) => None,
        }
    });
    wrong.collect()
}

fn has_line(section: &str, id: &str) -> bool {
    section.lines().any(|line| line.contains(&format!("`{id}`")))
}

/// The command in the one `sh` block that a marker `<!-- run: NAME -->` stands before.
pub(crate) fn command<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let (_, rest) = text.split_once(&format!("<!-- run: {name} -->\n```sh\n"))?;
    let (block, _) = rest.split_once("\n```")?;
    (!block.contains('\n')).then_some(block)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# A\n<!-- begin x -->\n\nold\n\n<!-- end x -->\nb\n";

    #[test]
    fn blocks_are_replaced_and_nothing_else() {
        let new = with_block(TEXT, "x", "new\n").unwrap();
        assert_eq!(new, "# A\n<!-- begin x -->\n\nnew\n\n<!-- end x -->\nb\n");
        assert_eq!(with_block(&new, "x", "new\n").as_ref(), Some(&new));
        assert_eq!(with_block(TEXT, "y", ""), None);
        assert_eq!(with_block("<!-- begin x -->\n", "x", ""), None);
    }

    #[test]
    fn a_block_that_is_not_in_step_is_found() {
        let block = |name, body: &str| Block { page: "p.md", name, body: body.into() };
        assert_eq!(out_of_step(TEXT, &block("x", "old\n")), None);
        assert!(out_of_step(TEXT, &block("x", "new\n")).is_some());
        assert!(out_of_step(TEXT, &block("y", "")).is_some());
    }

    #[test]
    fn dead_links_are_found() {
        let text = "[a](here.md#x) [b](../there.md) [c](https://example.com) [d](#e)".to_owned();
        let page = File { path: "docs/p.md".into(), text };
        assert!(dead_links(&page, &|_| true).is_empty());
        let found = dead_links(&page, &|path| path == Path::new("docs/here.md"));
        assert_eq!(found, ["docs/p.md: the link to ../there.md leads nowhere"]);
    }

    #[test]
    fn ini_blocks_have_their_lines() {
        let text = "a\n```ini\n[x]\ny = 1\n```\n```sh\nls\n```\n";
        assert_eq!(ini_blocks(text), [(3, "[x]\ny = 1".to_owned())]);
    }

    #[test]
    fn a_difference_without_its_line_is_found() {
        let entry = |lines: &str| format!("# [[ignore]] entries\n\n[[ignore]]\nscenario = \"s\"\n{lines}\n");
        assert!(untold(&entry("id = \"octal\"\nreason = \"r\""), "| `octal` | a | b |").is_empty());
        for (lines, section) in [
            ("id = \"octal\"\nreason = \"r\"", "| `other` | octal | b |"),
            ("id = \"octal\"", "`octal`"),
            ("reason = \"r\"", "`octal`"),
        ] {
            assert_eq!(untold(&entry(lines), section).len(), 1, "{lines}");
        }
        let two = entry("id = \"a\"\nreason = \"r\"") + &entry("id = \"b\"\nreason = \"r\"");
        assert_eq!(untold(&two, "`b`"), ["docs/differences.md has no line `a`"]);
    }

    #[test]
    fn commands_are_found_by_their_markers() {
        let text = "<!-- run: tests -->\n```sh\ncargo test\n```\n";
        assert_eq!(command(text, "tests"), Some("cargo test"));
        assert_eq!(command(text, "example"), None);
        assert_eq!(command("<!-- run: tests -->\n```sh\na\nb\n```\n", "tests"), None);
    }
}
