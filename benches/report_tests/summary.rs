use crate::report::percentile;
use crate::report::summary::Summary;

#[test]
fn the_median_is_in_the_middle() {
    assert_eq!(Summary::of(&[]), None);
    assert_eq!(Summary::of(&[3.0, 1.0, 2.0]), Some(Summary { median: 2.0, least: 1.0, most: 3.0, count: 3 }));
    assert_eq!(Summary::of(&[4.0, 1.0]).map(|summary| summary.median), Some(2.5));
    assert_eq!(Summary::of(&[7.0]), Some(Summary { median: 7.0, least: 7.0, most: 7.0, count: 1 }));
}

#[test]
fn percentiles_are_values_that_were_measured() {
    let values: Vec<f64> = (1..=200).rev().map(f64::from).collect();
    assert_eq!(percentile(&values, 0.5), Some(101.0));
    assert_eq!(percentile(&values, 0.99), Some(199.0));
    assert_eq!(percentile(&[5.0], 0.99), Some(5.0));
    assert_eq!(percentile(&[5.0], 1.0), Some(5.0));
    assert_eq!(percentile(&[], 0.5), None);
}

#[test]
fn a_summary_says_how_far_rounds_were_apart() {
    assert_eq!(Summary { median: 2.0, least: 1.04, most: 3.0, count: 3 }.told(1), "2.0 (1.0..3.0)");
    assert_eq!(Summary { median: 2.0, least: 2.0, most: 2.0, count: 3 }.told(0), "2");
    assert_eq!(Summary { median: 2.0, least: 1.99, most: 2.01, count: 3 }.told(1), "2.0");
}
