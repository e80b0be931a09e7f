//! What is printed at a terminal only: tables, and colour where it is wanted.

/// How output looks. By default it is for programs: the original's texts, no colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// Standard output is a terminal: tables where a command has one.
    pub tables: bool,
    /// Standard output takes colour.
    pub colour: bool,
    /// Standard error takes colour.
    pub coloured_errors: bool,
}

const RED: &str = "31";
const GREEN: &str = "32";
const YELLOW: &str = "33";
const DIM: &str = "2";
const BOLD: &str = "1";

/// A table: columns as wide as their widest cell, two blanks between them, none at the end of a line.
pub(crate) fn table(header: &[&str], rows: &[Vec<String>], look: Look) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain(header.get(column).map(|head| head.len())).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let line = |cells: &[&str], style: &dyn Fn(usize) -> Option<&'static str>| {
        let last = cells.iter().rposition(|cell| !cell.is_empty()).map_or(0, |last| last + 1);
        let mut line = String::new();
        for (column, (cell, width)) in cells.iter().zip(&widths).take(last).enumerate() {
            line.push_str(&styled(cell, style(column).filter(|_| look.colour)));
            if column + 1 < last {
                line.push_str(&" ".repeat(width - cell.chars().count() + 2));
            }
        }
        line
    };
    let state = header.iter().position(|head| *head == "STATE");
    let body = rows.iter().map(|row| {
        let cells: Vec<&str> = row.iter().map(String::as_str).collect();
        line(&cells, &|column| state.filter(|state| *state == column).and_then(|_| state_style(cells.get(column)?)))
    });
    std::iter::once(line(header, &|_| Some(BOLD))).chain(body).collect::<Vec<_>>().join("\n")
}

fn state_style(state: &str) -> Option<&'static str> {
    match state {
        "ready" | "succeeded" | "scheduled" => Some(GREEN),
        "failed" | "backing off" => Some(RED),
        "degraded" | "starting" | "running" | "stopping" => Some(YELLOW),
        _ => Some(DIM),
    }
}

/// An error text whose first word is marked.
pub(crate) fn error(text: &str, look: Look) -> String {
    match text.strip_prefix("error:") {
        Some(rest) if look.coloured_errors => format!("{}{rest}", styled("error:", Some(RED))),
        Some(_) | None => text.to_owned(),
    }
}

fn styled(text: &str, style: Option<&str>) -> String {
    match style {
        Some(style) if !text.is_empty() => format!("\x1b[{style}m{text}\x1b[0m"),
        Some(_) | None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_colour_takes_no_room() {
        let rows =
            [vec!["a".into(), "ready".into(), String::new()], vec!["long name".into(), "failed".into(), "x".into()]];
        let header = ["NAME", "STATE", "REASON"];
        let plain = Look { tables: true, ..Look::default() };
        let text = "NAME       STATE   REASON\na          ready\nlong name  failed  x";
        assert_eq!(table(&header, &rows, plain), text);
        let coloured = table(&header, &rows, Look { colour: true, ..plain });
        assert!(
            coloured.contains("a          \x1b[32mready\x1b[0m\nlong name  \x1b[31mfailed\x1b[0m  x"),
            "{coloured}"
        );
    }

    #[test]
    fn only_a_terminal_gets_colour() {
        assert_eq!(error("error: no\n", Look::default()), "error: no\n");
        let look = Look { coloured_errors: true, ..Look::default() };
        assert_eq!(error("error: no\n", look), "\x1b[31merror:\x1b[0m no\n");
        assert_eq!(error("other\n", look), "other\n");
    }
}
