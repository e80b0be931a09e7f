//! README: generated blocks, the list of differences, the commands that it promises.

use crate::block::with_block;

/// Names of the blocks that are missing from a text or are not in step.
pub(crate) fn out_of_step(text: &str, blocks: &[(&str, String)]) -> Vec<String> {
    let wrong = blocks.iter().filter_map(|(name, body)| match with_block(text, name, body) {
        None => Some(format!("README.md has no block '{name}'")),
        Some(new) if new != text => {
            Some(format!("README.md: '{name}' is not in step; BLESS=1 cargo test --test guard"))
        }
        Some(_) => None,
    });
    wrong.collect()
}

/// The text of a section, from its heading to the next one of the same rank.
pub(crate) fn section<'t>(text: &'t str, title: &str) -> Option<&'t str> {
    let (_, rest) = text.split_once(&format!("\n## {title}\n"))?;
    Some(rest.split("\n## ").next().unwrap_or(rest))
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
            (Some(id), Some(_), _) if !has_line(section, id) => {
                Some(format!("README.md: \"Differences from Circus\" has no line `{id}`"))
            }
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
        assert!(out_of_step(TEXT, &[("x", "old\n".into())]).is_empty());
        let found = out_of_step(TEXT, &[("x", "new\n".into()), ("y", String::new())]);
        assert_eq!(found.len(), 2, "{found:?}");
    }

    #[test]
    fn sections_end_with_the_next() {
        let text = "# T\n\n## One\n\na\n### Deeper\nb\n\n## Two\nc\n";
        assert_eq!(section(text, "One"), Some("\na\n### Deeper\nb\n"));
        assert_eq!(section(text, "Two"), Some("c\n"));
        assert_eq!(section(text, "Three"), None);
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
        assert_eq!(untold(&two, "`b`"), ["README.md: \"Differences from Circus\" has no line `a`"]);
    }

    #[test]
    fn commands_are_found_by_their_markers() {
        let text = "<!-- run: tests -->\n```sh\ncargo test\n```\n";
        assert_eq!(command(text, "tests"), Some("cargo test"));
        assert_eq!(command(text, "example"), None);
        assert_eq!(command("<!-- run: tests -->\n```sh\na\nb\n```\n", "tests"), None);
    }
}
