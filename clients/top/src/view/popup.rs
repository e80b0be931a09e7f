//! The popup: a question, or the help.

use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Flex, Layout, Rect};
use ratatui::text::Line;
use ratatui::widgets::{Block, Clear, Paragraph};

use crate::order::Order;
use crate::state::{State, Why};

const HELP: &[&str] = &[
    "up down j k     move              n   sort by name",
    "PgUp PgDn g G   move far          c   sort by processor",
    "space Enter     fold, unfold      m   sort by memory",
    "f               fold all          a   sort by age",
    "/               filter            t   sort by restarts",
    "Esc             no filter         i   the other way round",
    "e               events            q   quit",
    "o               output            O   standard error",
    "w               what went wrong   Tab the next host",
    "",
    "To the watcher of the line, after a question:",
    "s   start       r   reload        +   one process more",
    "x   stop        R   restart       -   one process less",
    "",
    "CPU% is of one processor; a worker's line includes its descendants.",
    "RESTARTS counts workers that exited unexpectedly.",
];

pub(super) fn help(frame: &mut Frame<'_>) {
    let lines: Vec<Line<'_>> = HELP.iter().map(|line| Line::from(*line)).collect();
    draw(frame, " Keys ", lines, Alignment::Left);
}

pub(super) fn question(frame: &mut Frame<'_>, order: &Order, state: &State) {
    let key = order.watcher.to_lowercase();
    let processes = state.fleet.watchers.get(&key).map_or(0, |watcher| watcher.processes.len());
    let lines = vec![Line::from(order.question(processes)), Line::from(""), Line::from("y  yes      n  no")];
    draw(frame, " Sure? ", lines, Alignment::Center);
}

/// What went wrong in a watcher: as much of it as there is room for, from the line that was scrolled to.
pub(super) fn why(frame: &mut Frame<'_>, why: &Why) {
    let lines =
        why.lines.as_deref().map_or_else(|| vec!["asked ..."], |lines| lines.iter().map(String::as_str).collect());
    let room = usize::from(frame.area().height.saturating_sub(2));
    let lines: Vec<Line<'_>> = lines.into_iter().skip(why.first).take(room).map(Line::from).collect();
    draw(frame, " What went wrong ", lines, Alignment::Left);
}

fn draw(frame: &mut Frame<'_>, title: &'static str, lines: Vec<Line<'_>>, alignment: Alignment) {
    let length = |count: usize| u16::try_from(count).unwrap_or(u16::MAX).saturating_add(4);
    let width = length(lines.iter().map(Line::width).max().unwrap_or_default()).max(36);
    let area = middle(frame.area(), width, length(lines.len()).saturating_sub(2));
    frame.render_widget(Clear, area);
    let text = Paragraph::new(lines).alignment(alignment);
    let block = Block::bordered().title(title).padding(ratatui::widgets::Padding::horizontal(1));
    frame.render_widget(text.block(block), area);
}

fn middle(area: Rect, width: u16, height: u16) -> Rect {
    let [area] = Layout::horizontal([Constraint::Length(width)]).flex(Flex::Center).areas(area);
    let [area] = Layout::vertical([Constraint::Length(height)]).flex(Flex::Center).areas(area);
    area
}
