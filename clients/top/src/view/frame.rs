//! The screen as a whole.

use circus_core::escape::unfit_for_a_name;
use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout};

use super::tree::Scroll;
use super::{output, panes, popup, tree};
use crate::state::{Mode, State};

/// Lines of a screen that are enough for panes below the tree ...
const ENOUGH: u16 = 16;
/// ... and for both events and output.
const PLENTY: u16 = 40;

/// Draws everything.
pub(crate) fn render(frame: &mut Frame<'_>, state: &State, scroll: &mut Scroll) {
    let area = frame.area();
    let Rooms { sockets, output, events } = rooms(area.height, state);
    let [head, hosts, body, below, printed, log, foot] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(u16::from(!state.hosts.is_empty())),
        Constraint::Fill(1),
        Constraint::Length(sockets),
        Constraint::Length(output),
        Constraint::Length(events),
        Constraint::Length(1),
    ])
    .areas(area);
    panes::head(frame, head, state);
    panes::hosts(frame, hosts, state);
    tree::draw(frame, body, state, scroll);
    if sockets > 0 {
        panes::sockets(frame, below, state);
    }
    if output > 0 {
        output::draw(frame, printed, state);
    }
    if events > 0 {
        panes::events(frame, log, state);
    }
    panes::foot(frame, foot, state);
    match &state.mode {
        Mode::Look | Mode::Filter(_) => {}
        Mode::Confirm(order) => popup::question(frame, order, state),
        Mode::Help => popup::help(frame),
        Mode::Why(why) => popup::why(frame, why),
    }
    tame(frame.buffer_mut());
}

/// ratatui leaves control characters out, but not what changes the direction of writing: one such mark in the name of a
/// process, and the rest of the line reads as another.
fn tame(buffer: &mut Buffer) {
    for cell in &mut buffer.content {
        if unfit_for_a_name(cell.symbol()).is_some() {
            cell.set_symbol("\u{fffd}");
        }
    }
}

/// How many lines the panes below the tree get.
struct Rooms {
    sockets: u16,
    output: u16,
    events: u16,
}

fn rooms(height: u16, state: &State) -> Rooms {
    if height < ENOUGH {
        return Rooms { sockets: 0, output: 0, events: 0 };
    }
    let is_followed = state.settings.output.is_some();
    let output = if is_followed { height / 3 } else { 0 };
    // On a small screen output takes the place of events.
    let events = if state.settings.events && (!is_followed || height >= PLENTY) { height / 4 } else { 0 };
    Rooms { sockets: panes::wanted_for_sockets(state).min(height / 6), output, events }
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use serde_json::json;

    use super::*;
    use crate::input::Asked;
    use crate::state::HostLabel;
    use crate::testing::{answer, open_output, press, publish, state};

    /// What is on a screen of this size, without the blanks at the ends of lines.
    fn screen(state: &State, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| render(frame, state, &mut Scroll::default())).unwrap();
        let buffer = terminal.backend().buffer();
        let lines = buffer.content.chunks(usize::from(width)).map(|cells| {
            let line: String = cells.iter().map(ratatui::buffer::Cell::symbol).collect();
            line.trim_end().to_owned()
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    /// Compares with a file beside this one; compiled with `BLESS` in the environment, writes it.
    fn expect(name: &str, seen: &str) {
        let path = format!("{}/src/view/snapshots/{name}.txt", env!("CARGO_MANIFEST_DIR"));
        if option_env!("BLESS").is_some() {
            std::fs::write(&path, format!("{seen}\n")).unwrap();
        }
        let wanted = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(wanted.trim_end() == seen, "{path} is not what is drawn:\n{seen}");
    }

    #[test]
    fn a_small_terminal() {
        expect("small", &screen(&state(), 80, 24));
    }

    #[test]
    fn a_large_terminal() {
        expect("large", &screen(&state(), 200, 60));
    }

    #[test]
    fn a_question_and_the_help() {
        let mut state = state();
        press(&mut state, "Gkkkkkkx");
        expect("question", &screen(&state, 80, 24));
        press(&mut state, "n?");
        expect("help", &screen(&state, 80, 24));
    }

    #[test]
    fn what_went_wrong_and_where() {
        let mut state = state();
        let label = |name: &str, trouble: Option<&str>, is_shown| HostLabel {
            name: name.into(),
            trouble: trouble.map(str::to_owned),
            is_shown,
        };
        state.hosts = vec![label("web1", Some("1 in trouble"), true), label("web2", None, false)];
        press(&mut state, "Gkkkkkkw");
        assert!(screen(&state, 80, 24).contains("asked ..."));
        let event = |text: &str| json!({"time": 4.0, "text": text});
        let reply = json!({"name": "web", "health": "backing off", "reason": "worker 1 was ended by SIGSEGV", "time": 5.0,
            "events": [event("worker 1 (pid 21) was ended by SIGSEGV after 200 ms"), event("started")],
            "worker": {"wid": 1, "pid": 21}, "output_kept": true,
            "lines": [{"stream": "stderr", "line": "no such table"}]});
        answer(&mut state, Asked::Why(1), reply);
        expect("why", &screen(&state, 80, 24));
        // Where there is not room for all, the host that is shown is seen.
        state.hosts = (0..40).map(|n| label(&format!("host{n}"), None, n == 30)).collect();
        assert!(screen(&state, 80, 24).lines().nth(1).is_some_and(|line| line.starts_with("host30 ")));
    }

    #[test]
    fn folded_filtered_and_sorted() {
        let mut state = state();
        press(&mut state, "fce/e");
        expect("folded", &screen(&state, 80, 24));
    }

    /// web is selected, and prints.
    fn chatty() -> State {
        let mut state = state();
        press(&mut state, "jjjjo");
        let line = |wid: u32, line: &str| json!({"pid": 20 + wid, "wid": wid, "time": 1.5, "line": line});
        let lines = json!([line(1, "listening on 8080"), line(2, "\u{1b}[31mslow\u{1b}[0m:\t7 s"), line(1, "GET /")]);
        open_output(&mut state, json!({"lines": lines, "cursor": 100, "missed": 0, "next": 3, "began": 1.0}));
        publish(&mut state, 3, 3, "published after the last lines were there");
        publish(&mut state, 45, 2, &"long ".repeat(60));
        publish(&mut state, 46, 1, "the last");
        state
    }

    #[test]
    fn output_replaces_events_on_a_small_terminal_only() {
        expect("output_small", &screen(&chatty(), 80, 24));
        expect("output_large", &screen(&chatty(), 200, 60));
        let mut state = chatty();
        press(&mut state, "o");
        assert!(screen(&state, 80, 24).contains("─ Events ─"));
    }

    #[test]
    fn output_of_one_worker_and_what_cannot_be_shown() {
        let mut state = state();
        press(&mut state, "jjjjjjO");
        assert!(screen(&state, 80, 24).contains("select a watcher"));
        let reason = "web has no stderr_stream, so its stderr does not pass through circusd: give it one";
        open_output(&mut state, json!({"status": "error", "reason": reason}));
        let seen = screen(&state, 80, 24);
        assert!(seen.contains("─ Standard error of web, worker 2 ─"), "{seen}");
        let words = seen.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words.contains(reason), "a reason is longer than a line:\n{seen}");
        state.output.begin(state.subject());
        assert!(screen(&state, 80, 24).contains("waiting for a greeting from e"));
        open_output(&mut state, json!({"lines": [], "cursor": 0, "missed": 0, "next": 0, "began": 1.0}));
        assert!(screen(&state, 80, 24).contains("nothing was printed yet"));
    }

    #[test]
    fn nothing_that_a_terminal_obeys_is_drawn() {
        let mut state = chatty();
        let hostile = "a\u{1b}[2J\u{202e}b\u{2066}\u{200f}\u{9b}";
        for watcher in state.fleet.watchers.values_mut() {
            watcher.name = hostile.into();
        }
        state.endpoints.control = hostile.into();
        publish(&mut state, 47, 1, hostile);
        let seen = screen(&state, 200, 60);
        // Whether the mark has a cell of its own or shares that of a letter is ratatui's affair.
        assert!(seen.contains("a[2") && seen.contains('\u{fffd}'), "{seen}");
        assert!(seen.lines().all(|line| unfit_for_a_name(line).is_none()), "{seen:?}");
    }

    #[test]
    fn no_size_is_a_panic() {
        let mut state = chatty();
        for keys in ["", "?", "x", "n/web"] {
            press(&mut state, keys);
            for (width, height) in [(1, 1), (2, 40), (300, 2), (20, 5), (79, 16), (500, 200)] {
                assert_eq!(screen(&state, width, height).lines().count().max(1), usize::from(height).max(1));
            }
        }
    }

    #[test]
    fn scrolling_keeps_the_selected_line_visible() {
        let mut scroll = Scroll::default();
        assert_eq!(scroll.follow(0, 100, 10), 0);
        assert_eq!(scroll.follow(10, 100, 10), 1);
        assert_eq!(scroll.follow(5, 100, 10), 1);
        assert_eq!(scroll.follow(99, 100, 10), 90);
        assert_eq!(scroll.follow(4, 5, 10), 0);
        assert_eq!(scroll.follow(3, 5, 0), 3);
        assert_eq!(scroll.follow(0, 0, 0), 0);
    }
}
