use crate::report::goal::Verdict;
use crate::report::{Figure, Samples, judge};

fn verdict(figure: Figure, workers: usize, ours: f64, floor: f64) -> Verdict {
    let mut samples = Samples::default();
    samples.add(workers, "us", figure, ours);
    samples.add(workers, "floor", figure, floor);
    judge(&samples, workers, "us", "floor").remove(0)
}

#[test]
fn times_the_floor_is_an_upper_bound() {
    assert!(verdict(Figure::StartAll, 175, 130.0, 100.0).holds);
    let missed = verdict(Figure::StartAll, 175, 131.0, 100.0);
    assert!(!missed.holds);
    assert_eq!(missed.told(), "**missed**: 1.31 x floor, goal 1.3");
}

#[test]
fn a_share_of_the_floor_is_a_lower_bound() {
    assert!(verdict(Figure::Requests, 175, 20.0, 100.0).holds);
    assert!(!verdict(Figure::Requests, 175, 19.0, 100.0).holds);
}

#[test]
fn memory_may_grow_with_workers() {
    assert!(verdict(Figure::Memory, 175, 3.0, 0.1).holds);
    assert!(!verdict(Figure::Memory, 175, 3.1, 0.1).holds);
    assert!(verdict(Figure::Memory, 1000, 4.2, 0.1).holds);
    assert!(!verdict(Figure::Memory, 1000, 4.3, 0.1).holds);
    assert!(!verdict(Figure::Memory, 1, 3.1, 0.1).holds);
}

#[test]
fn nothing_is_nothing() {
    assert!(verdict(Figure::TornLines, 175, 0.0, 5.0).holds);
    assert!(!verdict(Figure::IdleSwitches, 175, 1.0, 5.0).holds);
    assert_eq!(verdict(Figure::TornLines, 175, 0.0, 5.0).told(), "goal 0");
}

#[test]
fn what_was_not_measured_has_no_verdict() {
    let mut samples = Samples::default();
    samples.add(175, "us", Figure::StartAll, 1.0);
    samples.add(175, "floor", Figure::Storm, 1.0);
    assert_eq!(judge(&samples, 175, "us", "floor"), []);
}
