//! A line that shows that a worker is ready: `ready = log:REGEX`.

use regex_lite::Regex;

/// The line that is waited for.
#[derive(Clone, Debug)]
pub(crate) struct AwaitedLine(Regex);

impl AwaitedLine {
    /// A line that matches this regular expression; `None` if it is none.
    pub(crate) fn new(pattern: &str) -> Option<Self> {
        Regex::new(pattern).ok().map(Self)
    }

    pub(crate) fn pattern(&self) -> &str {
        self.0.as_str()
    }

    /// Whether it is among these lines.
    pub(crate) fn is_in(&self, lines: &[u8]) -> bool {
        lines
            .split(|byte| *byte == b'\n')
            .any(|line| !line.is_empty() && self.0.is_match(&String::from_utf8_lossy(line)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_is_matched_by_itself() {
        let awaited = AwaitedLine::new("^listening on [0-9]+$").unwrap();
        assert!(awaited.is_in(b"loading\nlistening on 80\nand more\n"));
        assert!(!awaited.is_in(b"loading, not listening on 80\nlistening on\n80\n"));
        assert!(!awaited.is_in(b"\xff\xfe\n\n"));
        assert!(AwaitedLine::new("(").is_none());
    }
}
