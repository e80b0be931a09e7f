use serde_json::json;

use crate::report::{Figure, Machine, Samples, json as told, judge};

#[test]
fn every_value_is_there() {
    let mut samples = Samples::default();
    for value in [1.0, 3.0] {
        samples.add(5, "us", Figure::TornLines, value);
    }
    let verdicts = vec![(5, judge(&samples, 5, "us", "floor"))];
    let json = told(&Machine::default(), &samples, &verdicts, &["b: broken".to_owned()]);
    let figure = &json["figures"][0];
    assert_eq!(figure["figure"], "torn_lines");
    assert_eq!((&figure["median"], &figure["values"]), (&json!(2.0), &json!([1.0, 3.0])));
    assert_eq!(json["goals"][0]["holds"], false);
    assert_eq!(json["failures"], json!(["b: broken"]));
}
