//! What `--check` prints.

use serde_json::{Value, json};

use crate::config::assemble::Assembled;
use crate::config::{Grade, Problem};

/// What was found, and how much there is.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// Those of the main file first, each file's in the order of its lines.
    pub problems: Vec<Problem>,
    /// What circusd would start.
    pub totals: Totals,
}

/// How many sections of each kind are valid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// `[watcher:NAME]`
    pub watchers: usize,
    /// `[socket:NAME]`
    pub sockets: usize,
    /// `[plugin:NAME]`
    pub plugins: usize,
}

impl Totals {
    pub(in crate::config) fn of(assembled: &Assembled<'_>) -> Self {
        let plugins = assembled.watchers.iter().filter(|watcher| watcher.config.plugin.is_some()).count();
        Self { watchers: assembled.watchers.len() - plugins, sockets: assembled.sockets.len(), plugins }
    }
}

impl Report {
    /// The exit status: 0 where nothing needs mending, 1 with an error, 3 with warnings only. 2 is a wrong command line.
    pub fn status(&self) -> u8 {
        match (self.count(Grade::Error), self.count(Grade::Warning)) {
            (0, 0) => 0,
            (0, _) => 3,
            (_, _) => 1,
        }
    }

    /// One line for each problem, and one that sums up.
    pub fn text(&self) -> String {
        let lines: String = self.problems.iter().map(|problem| format!("{}\n", problem.diagnostic())).collect();
        format!("{lines}{}\n", self.summary())
    }

    /// The same for programs: editors and CI.
    pub fn json(&self) -> Value {
        let problems: Vec<Value> = self.problems.iter().map(Problem::json).collect();
        let Totals { watchers, sockets, plugins } = self.totals;
        json!({
            "ok": self.status() == 0,
            "errors": self.count(Grade::Error),
            "warnings": self.count(Grade::Warning),
            "watchers": watchers,
            "sockets": sockets,
            "plugins": plugins,
            "problems": problems,
        })
    }

    fn count(&self, grade: Grade) -> usize {
        self.problems.iter().filter(|problem| problem.grade() == grade).count()
    }

    fn summary(&self) -> String {
        let Totals { watchers, sockets, plugins } = self.totals;
        let found = [(self.count(Grade::Error), "error"), (self.count(Grade::Warning), "warning")];
        let found: Vec<String> = found.into_iter().filter(|(number, _)| *number > 0).map(counted).collect();
        let verdict = if found.is_empty() { "ok".to_owned() } else { found.join(", ") };
        let plugins = if plugins > 0 { format!(", {}", counted((plugins, "plugin"))) } else { String::new() };
        format!("{verdict}: {}, {}{plugins}", counted((watchers, "watcher")), counted((sockets, "socket")))
    }
}

fn counted((number, what): (usize, &str)) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Place;

    fn report(problems: Vec<Problem>) -> Report {
        Report { problems, totals: Totals { watchers: 3, sockets: 1, plugins: 0 } }
    }

    #[test]
    fn the_last_line_sums_up_and_the_status_follows() {
        let place = Place { file: "web.ini".into(), line: 7 };
        let (note, warning) = (Problem::note(&place, "n"), Problem::warning(&place, "w"));
        let (skipped, fatal) = (Problem::skipped(&place, "s"), Problem::fatal(&place, "f"));
        for (problems, status, last) in [
            (vec![], 0, "ok: 3 watchers, 1 socket"),
            (vec![note.clone()], 0, "ok: 3 watchers, 1 socket"),
            (vec![warning.clone()], 3, "1 warning: 3 watchers, 1 socket"),
            (vec![skipped.clone(), fatal, warning], 1, "2 errors, 1 warning: 3 watchers, 1 socket"),
        ] {
            let report = report(problems);
            assert_eq!((report.status(), report.text().lines().last()), (status, Some(last)));
        }
        assert_eq!(report(vec![skipped]).text(), "web.ini:7: error: s\n1 error: 3 watchers, 1 socket\n");
    }

    #[test]
    fn programs_get_json() {
        let place = Place { file: "web.ini".into(), line: 7 };
        let json = report(vec![Problem::skipped(&place, "s"), Problem::note(&place, "n")]).json();
        assert_eq!((&json["ok"], &json["errors"], &json["watchers"]), (&json!(false), &json!(1), &json!(3)));
        assert_eq!(json["problems"][0], json!({"file": "web.ini", "line": 7, "level": "error", "text": "s"}));
        assert_eq!(json["problems"][1]["level"], "note");
    }
}
