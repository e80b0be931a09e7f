//! The language of manual pages, as much of it as is needed.

/// A text whose block of this name has this body; `None` where the text has no such block.
pub(crate) fn with_block(text: &str, name: &str, body: &str) -> Option<String> {
    let begin = format!(".\\\" begin {name}\n");
    let end = format!(".\\\" end {name}\n");
    let (before, rest) = text.split_once(&begin)?;
    let (_, after) = rest.split_once(&end)?;
    Some(format!("{before}{begin}{body}{end}{after}"))
}

/// A text that stands for itself, in which a dash is the one that can be typed.
pub(crate) fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\e"),
            '-' => out.push_str("\\-"),
            '\'' => out.push_str("\\(aq"),
            '`' => out.push_str("\\(ga"),
            '^' => out.push_str("\\(ha"),
            '~' => out.push_str("\\(ti"),
            c => out.push(c),
        }
    }
    out
}

/// A line of text: what it begins with is no request.
pub(crate) fn line(text: &str) -> String {
    let text = plain(text);
    if text.starts_with('.') { format!("\\&{text}\n") } else { format!("{text}\n") }
}

/// What is to be typed as it stands.
pub(crate) fn bold(text: &str) -> String {
    format!("\\fB{}\\fR", plain(text))
}

/// What stands for something else.
pub(crate) fn italic(text: &str) -> String {
    format!("\\fI{}\\fR", plain(text))
}

/// A term and what is said about it.
pub(crate) fn entry(term: &str, body: &str) -> String {
    format!(".TP\n{term}\n{body}")
}

/// Lines that are shown as they are, in a paragraph of their own.
pub(crate) fn example(lines: &str) -> String {
    format!(".PP\n.RS 4\n{}.RE\n", verbatim(lines))
}

/// The same as part of what is said about a term.
pub(crate) fn nested_example(lines: &str) -> String {
    format!(".IP\n{}", verbatim(lines))
}

fn verbatim(lines: &str) -> String {
    let lines: String = lines.lines().map(line).collect();
    format!(".EX\n{lines}.EE\n")
}

/// The form of a command line: words in capitals stand for something, others for themselves.
pub(crate) fn form(text: &str) -> String {
    let words = text.split(' ').map(|word| {
        let bare = word.trim_matches(|c| "[].".contains(c));
        let is_name = bare.chars().any(|c| c.is_ascii_uppercase()) && !bare.chars().any(|c| c.is_ascii_lowercase());
        let shown = if is_name { italic(bare) } else { bold(bare) };
        let (before, after) = word.split_once(bare).unwrap_or(("", ""));
        format!("{}{shown}{}", plain(before), plain(after))
    });
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_replaced_and_nothing_else() {
        let text = "a\n.\\\" begin x\nold\n.\\\" end x\nb\n";
        assert_eq!(with_block(text, "x", "new\n").unwrap(), "a\n.\\\" begin x\nnew\n.\\\" end x\nb\n");
        assert_eq!(with_block(text, "y", ""), None);
    }

    #[test]
    fn texts_stand_for_themselves() {
        assert_eq!(line(".\\d --x it's"), "\\&.\\ed \\-\\-x it\\(aqs\n");
        assert_eq!(form("add NAME CMD... [--start]"), "\\fBadd\\fR \\fINAME\\fR \\fICMD\\fR... [\\fB\\-\\-start\\fR]");
    }
}
