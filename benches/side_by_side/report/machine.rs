//! The machine, as far as it matters to figures, and without what would identify its owner.

/// What was measured on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Machine {
    pub(crate) processor: String,
    pub(crate) cores: usize,
    pub(crate) memory_gib: f64,
    pub(crate) kernel: String,
    /// The load of the last minute when it began.
    pub(crate) load: f64,
    /// Which share of the time that its processors were wanted its host gave to others meanwhile (steal).
    pub(crate) stolen: f64,
    /// The day, as 2026-01-31.
    pub(crate) date: String,
}

impl Machine {
    /// From the texts of `/proc/cpuinfo`, `/proc/meminfo` and `/proc/loadavg`.
    pub(crate) fn read(cpuinfo: &str, meminfo: &str, loadavg: &str) -> Self {
        let value = |text: &str, key: &str| {
            let line = text.lines().find(|line| line.starts_with(key))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        };
        let kib = value(meminfo, "MemTotal").and_then(|told| told.split(' ').next()?.parse::<f64>().ok());
        Self {
            processor: value(cpuinfo, "model name").unwrap_or_else(|| "an unknown processor".to_owned()),
            cores: cpuinfo.lines().filter(|line| line.starts_with("processor")).count(),
            memory_gib: kib.unwrap_or_default() / 1024.0 / 1024.0,
            load: loadavg.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or_default(),
            ..Self::default()
        }
    }

    /// In one sentence.
    pub(crate) fn told(&self) -> String {
        let Self { processor, cores, memory_gib, kernel, load, stolen, date } = self;
        let stolen = match 100.0 * stolen {
            percent if percent < 1.0 => String::new(),
            percent => format!(", {percent:.0} % of the processor time taken by other guests of its host"),
        };
        format!(
            "{date}, {processor}, {cores} cores, {memory_gib:.0} GiB, Linux {kernel}, load {load:.2} at the begin{stolen}"
        )
    }
}

/// The share of time that was stolen between two looks at `/proc/stat`, of all that was not idle.
pub(crate) fn stolen(before: &str, after: &str) -> f64 {
    let ticks = |text: &str| -> Vec<f64> {
        let first = text.lines().next().unwrap_or_default();
        first.split_whitespace().skip(1).map_while(|word| word.parse().ok()).collect()
    };
    let spent: Vec<f64> = ticks(after).iter().zip(ticks(before)).map(|(after, before)| after - before).collect();
    // user nice system idle iowait irq softirq steal
    let wanted: f64 = spent.iter().take(8).sum::<f64>() - spent.iter().skip(3).take(2).sum::<f64>();
    let stolen = spent.get(7).copied().unwrap_or_default();
    if wanted > 0.0 { stolen / wanted } else { 0.0 }
}
