use crate::report::{Figure, Samples};

#[test]
fn rounds_of_one_figure_come_together() {
    let mut samples = Samples::default();
    assert!(samples.is_empty());
    for value in [3.0, 1.0, 2.0] {
        samples.add(10, "a", Figure::Storm, value);
    }
    samples.add(20, "a", Figure::Storm, 9.0);
    samples.add(10, "b", Figure::Storm, 9.0);
    assert_eq!(samples.median(10, "a", Figure::Storm), Some(2.0));
    assert_eq!(samples.summary(10, "a", Figure::Storm).map(|summary| summary.count), Some(3));
    assert_eq!(samples.median(10, "a", Figure::Incr), None);
    assert_eq!(samples.iter().count(), 3);
}
