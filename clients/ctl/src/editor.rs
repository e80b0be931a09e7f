//! Lines from a terminal: edited, called back, completed.

use std::cell::RefCell;
use std::io;

use rustyline::completion::{Completer, Pair};
use rustyline::config::Config;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::MemHistory;
use rustyline::validate::Validator;
use rustyline::{CompletionType, Context, Helper};

use super::Globals;
use super::completion::candidates;
use super::session::Session;
use super::words::{quoted, typed};

/// A line of input.
pub(super) enum Line {
    /// A command, or nothing.
    Text(String),
    /// What was typed does not count.
    Abandoned,
    /// There is no more.
    End,
}

/// The terminal.
pub(super) struct Editor<'s, 'c>(rustyline::Editor<Tabulator<'s, 'c>, MemHistory>);

/// What the tabulator does.
struct Tabulator<'s, 'c> {
    session: &'s RefCell<&'s mut Session<'c>>,
    globals: &'s Globals,
}

impl<'s, 'c> Editor<'s, 'c> {
    /// Takes the terminal over, line by line.
    pub(super) fn new(session: &'s RefCell<&'s mut Session<'c>>, globals: &'s Globals) -> io::Result<Self> {
        let config = Config::builder().completion_type(CompletionType::List).build();
        let history = MemHistory::with_config(&config);
        let mut editor = rustyline::Editor::with_history(config, history).map_err(io_error)?;
        editor.set_helper(Some(Tabulator { session, globals }));
        Ok(Self(editor))
    }

    /// Prompts for a line.
    pub(super) fn next_line(&mut self, prompt: &str) -> io::Result<Line> {
        match self.0.readline(prompt) {
            Ok(line) => {
                if !line.trim().is_empty() {
                    self.0.add_history_entry(line.as_str()).map_err(io_error)?;
                }
                Ok(Line::Text(line))
            }
            Err(ReadlineError::Interrupted) => Ok(Line::Abandoned),
            Err(ReadlineError::Eof) => Ok(Line::End),
            Err(error) => Err(io_error(error)),
        }
    }
}

fn io_error(error: ReadlineError) -> io::Error {
    match error {
        ReadlineError::Io(error) => error,
        error => io::Error::other(error),
    }
}

impl Completer for Tabulator<'_, '_> {
    type Candidate = Pair;

    fn complete(&self, line: &str, pos: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<Pair>)> {
        let typed = typed(line.get(..pos).unwrap_or(line));
        // Nothing else borrows the session while a line is edited.
        let Ok(mut session) = self.session.try_borrow_mut() else { return Ok((pos, Vec::new())) };
        let found = candidates(&mut session, self.globals, &typed.words, &typed.word);
        let pair = |word: String| Pair { replacement: replacement(&word), display: word };
        Ok((typed.start, found.into_iter().map(pair).collect()))
    }
}

/// A blank goes on to the next word, unless this one has only begun.
fn replacement(word: &str) -> String {
    if word.ends_with(['.', '_']) { word.into() } else { format!("{} ", quoted(word)) }
}

impl Hinter for Tabulator<'_, '_> {
    type Hint = String;
}

impl Highlighter for Tabulator<'_, '_> {}

impl Validator for Tabulator<'_, '_> {}

impl Helper for Tabulator<'_, '_> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_word_is_followed_by_a_blank() {
        assert_eq!(replacement("status"), "status ");
        assert_eq!(replacement("Two Words"), "'Two Words' ");
        assert_eq!(replacement("rlimit_"), "rlimit_");
        assert_eq!(replacement("stdout_stream."), "stdout_stream.");
    }
}
