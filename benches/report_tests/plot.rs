use crate::report::{Curves, Dots, Figure, Samples, curves, dots};

fn samples() -> Samples {
    let mut samples = Samples::default();
    for (workers, start) in [(1, 5.0), (10, 10.0), (100, 60.0)] {
        samples.add(workers, "floor", Figure::StartAll, start);
        samples.add(workers, "us", Figure::StartAll, start * 1.1);
        samples.add(workers, "they", Figure::StartAll, start * 300.0);
    }
    samples
}

#[test]
fn everybody_has_a_dot_and_the_goal_a_stroke() {
    let samples = samples();
    let svg = dots(&Dots { samples: &samples, workers: 10, subjects: &["floor", "us", "they"] }).unwrap();
    // A dot in the line, and one in the legend.
    assert_eq!(svg.matches("<circle").count(), 2 * 3, "{svg}");
    assert!(svg.contains("started -&gt; all workers running") && svg.contains("10 workers"), "{svg}");
    // No sample has lines of output.
    assert!(!svg.contains("output of 4 workers"), "{svg}");
}

#[test]
fn a_picture_of_nothing_is_no_failure() {
    let samples = Samples::default();
    assert!(dots(&Dots { samples: &samples, workers: 10, subjects: &["floor", "us"] }).is_ok());
    assert!(curves(&Curves { samples: &samples, sizes: &[1, 2], ours: "us", floor: "floor" }).is_ok());
}

#[test]
fn growth_has_two_lines_for_each_figure() {
    let samples = samples();
    let svg = curves(&Curves { samples: &samples, sizes: &[1, 10, 100], ours: "us", floor: "floor" }).unwrap();
    assert!(svg.contains("us: started") && svg.contains("floor: started"), "{svg}");
    assert!(svg.contains("microseconds for each worker"), "{svg}");
}
