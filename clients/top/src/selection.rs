//! The line that keys are about, and whose output is shown.

use super::fleet::OWN;
use super::output::Subject;
use super::rows::{Row, RowId, rows};
use super::state::State;

impl State {
    /// The selected line, and where it stands among all.
    pub(super) fn selection(&self) -> Option<(RowId, usize)> {
        let rows = rows(&self.fleet, &self.settings);
        let last = rows.len().checked_sub(1)?;
        let position = |id: &RowId| rows.iter().position(|row| row.is(id));
        // A process that is gone leaves its place to its watcher.
        let watcher = |id: &RowId| RowId { watcher: id.watcher.clone(), pid: None };
        let at = self.selected.as_ref().and_then(|id| position(id).or_else(|| position(&watcher(id))));
        let at = at.unwrap_or(self.at.min(last));
        Some((rows.get(at)?.id(), at))
    }

    /// Whose output is to be shown: that of the selected line, while the pane is open.
    pub(super) fn subject(&self) -> Option<Subject> {
        let stream = self.settings.output?;
        let (RowId { watcher, pid }, _) = self.selection()?;
        let watcher = self.fleet.watchers.get(&watcher)?;
        let wid = pid.and_then(|pid| watcher.processes.get(&pid)?.wid);
        Some(Subject { watcher: watcher.name.clone(), stream, wid })
    }

    pub(super) fn step(&mut self, to: impl FnOnce(usize, usize) -> usize) {
        let Some((_, at)) = self.selection() else { return };
        let rows = rows(&self.fleet, &self.settings);
        let at = to(at, rows.len()).min(rows.len().saturating_sub(1));
        let selected = rows.get(at).map(Row::id);
        self.selected = selected;
        self.at = at;
    }

    /// Folds the watcher of the selected line, or unfolds it.
    pub(super) fn fold(&mut self, wanted: Option<bool>) {
        let Some((RowId { watcher, .. }, _)) = self.selection() else { return };
        let folded = &mut self.settings.folded;
        if wanted.unwrap_or(!folded.contains(&watcher)) {
            folded.insert(watcher.clone());
            self.selected = Some(RowId { watcher, pid: None });
        } else {
            folded.remove(&watcher);
        }
    }

    /// Folds all, or unfolds all where all are.
    pub(super) fn fold_all(&mut self) {
        let all: Vec<String> = self.fleet.watchers.keys().cloned().chain([OWN.to_owned()]).collect();
        let selected = self.selection().map(|(id, _)| RowId { pid: None, ..id });
        if all.iter().all(|name| self.settings.folded.contains(name)) {
            self.settings.folded.clear();
        } else {
            self.settings.folded.extend(all);
        }
        self.selected = selected;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::Input;
    use crate::testing::{NOW, press, state};
    use circus_core::proto::StreamName;

    fn selected(state: &State) -> String {
        let (id, _) = state.selection().unwrap();
        id.pid.map_or(id.watcher, |pid| pid.to_string())
    }

    #[test]
    fn the_selection_stays_with_its_line() {
        let mut state = state();
        assert_eq!(selected(&state), "api");
        press(&mut state, "jjj");
        assert_eq!(selected(&state), "idle");
        press(&mut state, "jc");
        assert_eq!(selected(&state), "web");
        press(&mut state, "jm");
        assert_eq!(selected(&state), "22");
        state.feed(
            Input::Event { topic: b"watcher.web.reap", body: br#"{"process_pid": 22, "time": 1, "exit_code": 0}"# },
            NOW,
        );
        assert_eq!(selected(&state), "web", "the line that takes its place");
        press(&mut state, "G");
        assert_eq!(selected(&state), "91");
        press(&mut state, "g/nobody");
        assert_eq!(state.selection(), None);
        press(&mut state, "x");
    }

    #[test]
    fn folding() {
        let mut state = state();
        press(&mut state, "j ");
        assert_eq!((selected(&state).as_str(), state.settings.folded.len()), ("api", 1));
        press(&mut state, " f");
        assert_eq!(state.settings.folded.len(), 4);
        press(&mut state, "f");
        assert!(state.settings.folded.is_empty());
    }

    #[test]
    fn output_follows_the_selected_line() {
        let mut state = state();
        let subject = |state: &State| state.subject().map(|subject| (subject.watcher, subject.stream, subject.wid));
        assert_eq!(subject(&state), None);
        press(&mut state, "o");
        assert_eq!(subject(&state), Some(("api".into(), StreamName::Stdout, None)));
        press(&mut state, "jjO");
        assert_eq!(subject(&state), Some(("api".into(), StreamName::Stderr, Some(2))));
        press(&mut state, "G");
        assert_eq!(subject(&state), None, "circusd itself");
        press(&mut state, "gO");
        assert_eq!((subject(&state), state.settings.output), (None, None));
    }
}
