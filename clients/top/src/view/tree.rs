//! Watchers and their processes.

use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Cell, Paragraph, Row as Drawn, Table};

use super::columns::{Column, fitting};
use crate::rows::{Row, rows};
use crate::state::{Daemon, State};

/// Where the tree was looked at last.
#[derive(Debug, Default)]
pub(crate) struct Scroll {
    first: usize,
}

impl Scroll {
    /// The first line that is seen, so that the selected one is, and no more moves than must.
    pub(super) fn follow(&mut self, selected: usize, count: usize, room: usize) -> usize {
        let lowest = (selected + 1).saturating_sub(room);
        let highest = count.saturating_sub(room).min(selected);
        self.first = self.first.clamp(lowest.min(highest), highest);
        self.first
    }
}

/// Draws the part of the tree that the selected line is in.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, state: &State, scroll: &mut Scroll) {
    let columns = fitting(area.width);
    let titles = columns.iter().map(|(column, _)| title(*column, state));
    let header = Drawn::new(titles).style(Style::new().add_modifier(Modifier::BOLD));
    let rows = rows(&state.fleet, &state.settings);
    let room = usize::from(area.height.saturating_sub(1));
    let selected = state.selection().map(|(_, at)| at);
    let first = scroll.follow(selected.unwrap_or_default(), rows.len(), room);
    let visible = rows.iter().enumerate().skip(first).take(room);
    let lines = visible.map(|(at, row)| {
        let style = if selected == Some(at) { Modifier::REVERSED } else { Modifier::empty() };
        line(row, &columns, state).style(Style::new().add_modifier(style))
    });
    let widths = columns.iter().map(|(_, width)| Constraint::Length(*width));
    frame.render_widget(Table::new(lines, widths).header(header).column_spacing(1), area);
    if rows.is_empty() {
        let [_, below] = ratatui::layout::Layout::vertical([Constraint::Length(2), Constraint::Fill(1)]).areas(area);
        frame.render_widget(Paragraph::new(nothing(state)).alignment(Alignment::Center), below);
    }
}

fn nothing(state: &State) -> &'static str {
    match state.daemon {
        Daemon::Answers if !state.settings.filter.is_empty() => "nothing matches; Esc clears the filter",
        Daemon::Answers => "there is no watcher",
        Daemon::Asked | Daemon::Silent => "*** Waiting for data ***",
    }
}

fn title(column: Column, state: &State) -> Cell<'static> {
    let mut style = Style::new();
    if column.is_sorted_by(state.settings.sort) {
        style = style.add_modifier(Modifier::UNDERLINED);
    }
    Cell::new(aligned(column, Span::styled(column.title(), style)))
}

fn aligned(column: Column, span: Span<'static>) -> Line<'static> {
    let line = Line::from(span);
    if column.is_number() { line.right_aligned() } else { line }
}

fn line(row: &Row<'_>, columns: &[(Column, u16)], state: &State) -> Drawn<'static> {
    let (metrics, is_watcher) = match row {
        Row::Watcher { watcher, .. } => (watcher.metrics(), true),
        Row::Process { process, .. } => (process.metrics, false),
    };
    let cells = columns.iter().map(|(column, width)| {
        let text = column.cell(row, &metrics, usize::from(*width), state.now);
        let style = match column {
            Column::Name if is_watcher => Style::new().add_modifier(Modifier::BOLD),
            Column::State => Style::new().fg(colour(&text)),
            Column::CpuLine | Column::MemoryLine => Style::new().fg(Color::Cyan),
            Column::Name | Column::Count | Column::Cpu | Column::Memory | Column::Share => Style::new(),
            Column::Threads | Column::Files | Column::Age | Column::Restarts => Style::new(),
        };
        Cell::new(aligned(*column, Span::styled(text, style)))
    });
    Drawn::new(cells.collect::<Vec<_>>())
}

fn colour(state: &str) -> Color {
    match state {
        "active" => Color::Green,
        "failed" | "backoff" | "held" | "stopped" => Color::Red,
        _ => Color::Yellow,
    }
}
