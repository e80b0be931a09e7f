//! The pane of what workers print.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Wrap};

use super::panes::pane;
use crate::output::{Output, Shown, Subject, TailState};
use crate::state::State;
use circus_core::proto::StreamName;

/// Draws the last lines, the latest last.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, state: &State) {
    let room = usize::from(area.height.saturating_sub(1));
    let output = &state.output;
    let alone = output.subject().is_some_and(|subject| subject.wid.is_some());
    let lines: Vec<Line<'static>> = output.latest(room).map(|shown| line(shown, alone)).collect();
    let text = if lines.is_empty() { remark(state) } else { Paragraph::new(lines) };
    pane(frame, area, title(output), text);
}

fn title(output: &Output) -> String {
    let Some(Subject { watcher, stream, wid }) = output.subject() else { return "─ Output ".to_owned() };
    let stream = match stream {
        StreamName::Stdout => "Output",
        StreamName::Stderr => "Standard error",
    };
    let worker = wid.map_or_else(String::new, |wid| format!(", worker {wid}"));
    let missed = match output.missed() {
        0 => String::new(),
        1 => " (1 line missed)".to_owned(),
        count => format!(" ({count} lines missed)"),
    };
    format!("─ {stream} of {watcher}{worker}{missed} ")
}

fn line(shown: &Shown, alone: bool) -> Line<'static> {
    match shown {
        Shown::Line { text, .. } if alone => Line::from(format!("  {text}")),
        Shown::Line { pid, text } => {
            let pid = Span::styled(format!("{pid:>9} "), Style::new().add_modifier(Modifier::DIM));
            Line::from(vec![pid, Span::raw(text.clone())])
        }
        Shown::Gap(missed) => {
            Line::from(Span::styled(format!("  -- missed {missed} --"), Style::new().fg(Color::Yellow)))
        }
    }
}

/// What is to be said where there is no line.
fn remark(state: &State) -> Paragraph<'static> {
    let quiet = Style::new().add_modifier(Modifier::DIM);
    let (text, style) = match state.output.tail_state() {
        TailState::Closed => {
            ("circusd's own output is not kept: select a watcher or one of its processes".to_owned(), quiet)
        }
        TailState::Waiting => (format!("waiting for a greeting from {}", state.endpoints.events), quiet),
        TailState::Greeted | TailState::Asked => ("waiting for the last lines".to_owned(), quiet),
        TailState::Live => ("nothing was printed yet".to_owned(), quiet),
        TailState::Refused(reason) => (reason.clone(), Style::new().fg(Color::Red)),
    };
    Paragraph::new(Span::styled(text, style)).wrap(Wrap { trim: true })
}
