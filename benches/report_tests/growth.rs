use crate::report::{Figure, Samples, growth};

#[test]
fn costs_are_told_by_worker() {
    let mut samples = Samples::default();
    for (workers, start, memory) in [(100, 50.0, 2.0), (1000, 600.0, 3.0)] {
        samples.add(workers, "us", Figure::StartAll, start);
        samples.add(workers, "floor", Figure::StartAll, workers as f64 / 2.0);
        samples.add(workers, "us", Figure::RespawnP50, 0.5);
        samples.add(workers, "us", Figure::Memory, memory);
    }
    let table = growth(&samples, &[100, 1000], "us", "floor").unwrap();
    let rows: Vec<&str> = table.lines().skip(2).collect();
    assert_eq!(rows[0], "| 100 | 500 (1.00 x floor) | 0.50 |  |  |  | 2.00 |  |");
    assert_eq!(rows[1], "| 1000 | 600 (1.20 x floor) | 0.50 |  |  |  | 3.00 | 1.14 |");
    assert!(table.starts_with("| workers | started -> all workers running, us a worker | "), "{table}");
}

#[test]
fn one_number_shows_no_growth() {
    assert_eq!(growth(&Samples::default(), &[175], "us", "floor"), None);
}
