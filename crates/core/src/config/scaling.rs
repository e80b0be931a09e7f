//! How many workers a watcher has by need (`scale`), and which of them may go (`drain`).

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use super::command::named_sockets;
use super::{Probe, WatcherConfig, python};

/// What the number of workers follows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Scale {
    /// The connections that wait to be accepted at the watcher's sockets.
    Queue,
    /// The processor time that its workers use.
    Cpu,
    /// What a command prints.
    Exec(Probe),
}

impl Scale {
    /// Reads one of the forms; `none` and an empty text are none.
    pub(super) fn read(text: &str) -> Result<Option<Self>, String> {
        match python::trim(text) {
            "queue" => Ok(Some(Self::Queue)),
            "cpu" => Ok(Some(Self::Cpu)),
            text => {
                let command = Probe::read_command(text).map_err(|error| match text.strip_prefix("exec:") {
                    Some(_) => error,
                    None => format!("'{text}' is not one of none, queue, cpu or exec:COMMAND"),
                })?;
                Ok(command.map(Self::Exec))
            }
        }
    }

    /// As it is written.
    pub fn text(&self) -> &str {
        match self {
            Self::Queue => "queue",
            Self::Cpu => "cpu",
            Self::Exec(command) => command.text(),
        }
    }

    /// What messages call it: without the arguments of a command, where secrets may be.
    pub fn shown(&self) -> String {
        match self {
            Self::Queue | Self::Cpu => self.text().to_owned(),
            Self::Exec(command) => command.shown(),
        }
    }

    /// What `scale_target` is where nothing is set.
    fn usual_target(&self) -> f64 {
        match self {
            Self::Queue | Self::Exec(_) => 1.0,
            Self::Cpu => 70.0,
        }
    }
}

/// The options `scale*` and `drain*` of a watcher. Each field's meaning, unit and default stand in `WATCHER_OPTIONS`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each option is described once, in config::WATCHER_OPTIONS")]
pub struct Scaling {
    pub scale: Option<Scale>,
    pub scale_min: u32,
    /// 0: not set.
    pub scale_max: u32,
    /// 0: as `scale` has it.
    pub scale_target: u32,
    pub scale_interval: f64,
    pub scale_down_after: f64,
    pub scale_timeout: f64,
    pub drain: Option<Probe>,
    pub drain_timeout: f64,
}

impl Default for Scaling {
    fn default() -> Self {
        Self {
            scale: None,
            scale_min: 1,
            scale_max: 0,
            scale_target: 0,
            scale_interval: 5.0,
            scale_down_after: 60.0,
            scale_timeout: 5.0,
            drain: None,
            drain_timeout: 5.0,
        }
    }
}

impl Scaling {
    /// Whether these are the options of a watcher that sets none of them.
    pub(crate) fn are_default(&self) -> bool {
        *self == Self::default()
    }

    /// The numbers of workers that are allowed; any, without `scale`.
    pub fn bounds(&self) -> Option<RangeInclusive<u32>> {
        self.scale.as_ref().map(|_| self.scale_min..=self.scale_max.max(self.scale_min))
    }

    /// What one worker is to have to do.
    pub fn target(&self) -> f64 {
        let usual = self.scale.as_ref().map_or(1.0, Scale::usual_target);
        if self.scale_target > 0 { f64::from(self.scale_target) } else { usual }
    }

    /// The options that have no effect without `scale` or `drain`, as far as they are set.
    pub(super) fn idle(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        let plain = Self::default();
        let of_scale = [
            ("scale_min", self.scale_min != plain.scale_min),
            ("scale_max", self.scale_max != plain.scale_max),
            ("scale_target", self.scale_target > 0),
            ("scale_interval", self.drain.is_none() && self.scale_interval.total_cmp(&plain.scale_interval).is_ne()),
            ("scale_down_after", self.scale_down_after.total_cmp(&plain.scale_down_after).is_ne()),
            ("scale_timeout", self.scale_timeout.total_cmp(&plain.scale_timeout).is_ne()),
        ];
        let (scales, drains) = (self.scale.is_some(), self.drain.is_some());
        let idle = of_scale.into_iter().filter(move |(_, is_set)| *is_set && !scales).map(|(key, _)| (key, "scale"));
        let drain_timeout = self.drain_timeout.total_cmp(&plain.drain_timeout).is_ne() && !drains;
        idle.chain(drain_timeout.then_some(("drain_timeout", "drain")))
    }
}

impl WatcherConfig {
    /// Brings the number of workers, with which a watcher begins, within `scale_min` and `scale_max`.
    pub(super) fn settle_number(&mut self) {
        if let Some(bounds) = self.scaling.bounds() {
            self.numprocesses = self.numprocesses.clamp(*bounds.start(), *bounds.end());
        }
    }
}

/// Why these options of a watcher cannot hold together.
pub(super) fn fault(watcher: &WatcherConfig) -> Option<String> {
    let Scaling { scale, scale_min, scale_max, .. } = &watcher.scaling;
    let scale = scale.as_ref()?;
    if *scale_max == 0 {
        return Some("scale needs scale_max, the greatest number of workers".into());
    }
    if scale_min > scale_max {
        return Some(format!("scale_min ({scale_min}) is more than scale_max ({scale_max})"));
    }
    if watcher.singleton {
        return Some("scale: a singleton has one process".into());
    }
    if let Some(text) = watcher.lacks_slots(*scale_max) {
        return Some(format!("scale_max: {text}"));
    }
    let has_sockets = watcher.use_sockets || !named_sockets(watcher).is_empty();
    if *scale == Scale::Queue && !has_sockets {
        return Some("scale = queue needs a managed socket: see sockets and use_sockets".into());
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watcher(scale: &str, change: impl FnOnce(&mut WatcherConfig)) -> WatcherConfig {
        let mut watcher = WatcherConfig::new("w", "x", "/");
        watcher.scaling.scale = Scale::read(scale).unwrap();
        watcher.scaling.scale_max = 4;
        change(&mut watcher);
        watcher
    }

    #[test]
    fn every_form_is_read_and_others_are_refused() {
        for text in ["", "none", " None "] {
            assert_eq!(Scale::read(text), Ok(None));
        }
        assert_eq!((Scale::read("queue"), Scale::read(" cpu ")), (Ok(Some(Scale::Queue)), Ok(Some(Scale::Cpu))));
        let command = Scale::read("exec:/bin/count --secret x").unwrap().unwrap();
        assert_eq!((command.text(), command.shown()), ("exec:/bin/count --secret x", "exec:/bin/count".into()));
        assert_eq!(Scale::read("exec:").unwrap_err(), "a command is missing");
        assert_eq!(Scale::read("load").unwrap_err(), "'load' is not one of none, queue, cpu or exec:COMMAND");
    }

    #[test]
    fn impossible_options_are_named() {
        assert_eq!(fault(&watcher("cpu", |_| {})), None);
        for (watcher, text) in [
            (watcher("cpu", |w| w.scaling.scale_max = 0), "scale needs scale_max, the greatest number of workers"),
            (watcher("cpu", |w| w.scaling.scale_min = 5), "scale_min (5) is more than scale_max (4)"),
            (watcher("cpu", |w| w.singleton = true), "scale: a singleton has one process"),
            (watcher("queue", |_| {}), "scale = queue needs a managed socket: see sockets and use_sockets"),
        ] {
            assert_eq!(fault(&watcher).as_deref(), Some(text));
        }
        assert_eq!(fault(&watcher("queue", |w| w.use_sockets = true)), None);
        assert_eq!(fault(&watcher("queue", |w| w.cmd = "x $(circus.sockets.web)".into())), None);
    }

    #[test]
    fn number_is_brought_within_its_bounds() {
        for (number, expected) in [(0, 2), (2, 2), (3, 3), (9, 4)] {
            let mut watcher = watcher("cpu", |w| (w.scaling.scale_min, w.numprocesses) = (2, number));
            watcher.settle_number();
            assert_eq!(watcher.numprocesses, expected);
        }
    }
}
