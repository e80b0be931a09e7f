use crate::report::{Figure, Samples, comparison};

#[test]
fn what_one_does_not_offer_stays_empty_and_what_nobody_does_is_left_out() {
    let mut samples = Samples::default();
    samples.add(5, "floor", Figure::Storm, 10.0);
    samples.add(5, "us", Figure::Storm, 12.0);
    samples.add(5, "us", Figure::Incr, 1.0);
    samples.add(6, "us", Figure::Memory, 1.0);
    assert_eq!(
        comparison(&samples, 5, &["floor", "us", "they"]),
        "|  | floor | us | they | goal |\n|---|---:|---:|---:|---|\n\
         | all killed at once -> all back, ms | 10.0 | 12.0 |  | 1.20 x floor, goal 1.3 |\n\
         | `incr` -> one more running, p50, ms |  | 1.00 |  |  |\n"
    );
}
