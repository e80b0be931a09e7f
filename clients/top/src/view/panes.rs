//! What stands above and below the tree: the head, sockets, events, and the foot.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Paragraph};

use crate::event_log::Entry;
use crate::metrics::{Metrics, count, percent, size};
use crate::state::{Daemon, Mode, State};

/// What there is altogether.
pub(super) fn head(frame: &mut Frame<'_>, area: Rect, state: &State) {
    let all: Vec<Metrics> = state.fleet.watchers.values().map(|watcher| watcher.metrics()).collect();
    let sum = Metrics::sum(all.iter());
    let watchers = counted(state.fleet.watchers.len(), "watcher", "watchers");
    let processes = counted(state.fleet.processes(), "process", "processes");
    let (word, colour) = match state.daemon {
        Daemon::Asked => ("connecting", Color::Yellow),
        Daemon::Answers => ("connected", Color::Green),
        Daemon::Silent => ("no answer", Color::Red),
    };
    let metrics = format!("  {watchers}  {processes}  cpu {}%  mem {}  ", percent(sum.cpu), size(sum.resident));
    let before = "circus-top".len() + metrics.len() + word.len() + 2;
    let room = usize::from(area.width).saturating_sub(before);
    let line = Line::from(vec![
        Span::styled("circus-top", Style::new().add_modifier(Modifier::BOLD)),
        Span::raw(metrics),
        Span::styled(word, Style::new().fg(colour)),
        Span::raw(format!("  {}", end_of(&state.endpoints.control, room))),
    ]);
    frame.render_widget(Paragraph::new(line), area);
}

/// The hosts, and what is wrong at each; where there is not room for all, from the one that is shown on.
pub(super) fn hosts(frame: &mut Frame<'_>, area: Rect, state: &State) {
    let labels: Vec<String> = state
        .hosts
        .iter()
        .map(|host| {
            host.trouble.as_ref().map_or_else(|| host.name.clone(), |trouble| format!("{} ({trouble})", host.name))
        })
        .collect();
    let wanted: usize = labels.iter().map(|label| label.chars().count() + 2).sum();
    let shown = state.hosts.iter().position(|host| host.is_shown).unwrap_or_default();
    let first = if wanted > usize::from(area.width) { shown } else { 0 };
    let spans = state.hosts.iter().zip(labels).skip(first).flat_map(|(host, label)| {
        let colour = if host.trouble.is_some() { Color::Red } else { Color::Green };
        let style = Style::new().fg(colour);
        let style = if host.is_shown { style.add_modifier(Modifier::REVERSED) } else { style };
        [Span::styled(label, style), Span::raw("  ")]
    });
    frame.render_widget(Paragraph::new(Line::from(spans.collect::<Vec<_>>())), area);
}

/// The end of an endpoint that is too long, which distinguishes it better than its beginning.
fn end_of(endpoint: &str, room: usize) -> String {
    let count = endpoint.chars().count();
    if count <= room {
        return endpoint.to_owned();
    }
    let end: String = endpoint.chars().skip(count - room.saturating_sub(1)).collect();
    if room == 0 { String::new() } else { format!("…{end}") }
}

fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// A pane: a rule with its name, and what is below.
pub(super) fn pane(frame: &mut Frame<'_>, area: Rect, title: String, text: Paragraph<'static>) {
    let block = Block::new().borders(Borders::TOP).title(title);
    frame.render_widget(text.block(block), area);
}

/// How many lines the sockets would like, with their rule.
pub(super) fn wanted_for_sockets(state: &State) -> u16 {
    match state.fleet.sockets.len() {
        0 => 0,
        some => u16::try_from(some).unwrap_or(u16::MAX).saturating_add(1),
    }
}

/// The sockets, the busiest first.
pub(super) fn sockets(frame: &mut Frame<'_>, area: Rect, state: &State) {
    let mut sockets: Vec<_> = state.fleet.sockets.values().collect();
    sockets.sort_by(|one, other| other.hits.cmp(&one.hits).then_with(|| one.name.cmp(&other.name)));
    let room = usize::from(area.height.saturating_sub(1));
    let width = usize::from(area.width);
    let lines = sockets.into_iter().take(room).map(|socket| {
        let (hits, total) = (count(socket.hits), socket.total);
        let start = format!("  {:<14} {:<28} {hits:>5} hits {total:>8} in all  ", socket.name, socket.address);
        let spare = width.saturating_sub(start.chars().count());
        let history = if spare < 4 { String::new() } else { socket.history.line(spare, 10.0, state.now) };
        Line::from(vec![Span::raw(start), Span::styled(history, Style::new().fg(Color::Cyan))])
    });
    pane(frame, area, "─ Sockets ".to_owned(), Paragraph::new(lines.collect::<Vec<_>>()));
}

/// The latest events, the latest last.
pub(super) fn events(frame: &mut Frame<'_>, area: Rect, state: &State) {
    let room = usize::from(area.height.saturating_sub(1));
    let lines = state.event_log.latest(room).map(|entry| event(entry, &state.zone));
    pane(frame, area, "─ Events ".to_owned(), Paragraph::new(lines.collect::<Vec<_>>()));
}

fn event(entry: &Entry, zone: &TimeZone) -> Line<'static> {
    let time = entry.time.map_or_else(String::new, |time| clock(time, zone));
    let style = if entry.bad { Style::new().fg(Color::Red) } else { Style::new() };
    let text = format!("  {time:<8} {:<20} {:<12} {}", entry.watcher, entry.what, entry.detail);
    Line::from(Span::styled(text, style))
}

/// The time of day.
fn clock(time: f64, zone: &TimeZone) -> String {
    // Beyond the range of numbers, and of times, there is none.
    let Ok(time) = Timestamp::from_second(time as i64) else { return String::new() };
    time.to_zoned(zone.clone()).strftime("%H:%M:%S").to_string()
}

const HINTS: &str = "q quit  ? help  / filter  n c m a t sort  s x r R + - orders  o output  w why";

/// What is typed, what is to be known, or what the keys are.
pub(super) fn foot(frame: &mut Frame<'_>, area: Rect, state: &State) {
    let line = match (&state.mode, state.notice()) {
        (Mode::Filter(_), _) => Line::from(format!("filter: {}▏", state.settings.filter)),
        (Mode::Look | Mode::Confirm(_) | Mode::Help | Mode::Why(_), Some(notice)) => {
            let colour = if notice.bad { Color::Red } else { Color::Green };
            Line::from(Span::styled(notice.text, Style::new().fg(colour)))
        }
        (Mode::Look | Mode::Confirm(_) | Mode::Help | Mode::Why(_), None) => {
            let filter = match state.settings.filter.as_str() {
                "" => String::new(),
                filter => format!("filter: {filter} (Esc)  "),
            };
            Line::from(Span::styled(format!("{filter}{HINTS}"), Style::new().add_modifier(Modifier::DIM)))
        }
    };
    frame.render_widget(Paragraph::new(line), area);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_day() {
        assert_eq!(clock(1_700_000_000.9, &TimeZone::UTC), "22:13:20");
        assert_eq!(clock(f64::MAX, &TimeZone::UTC), "");
    }
}
