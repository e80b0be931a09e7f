use crate::report::Figure;

#[test]
fn every_figure_is_in_the_table_once_and_has_a_key_of_its_own() {
    assert!(Figure::ALL.is_sorted());
    let keys: std::collections::BTreeSet<&str> = Figure::ALL.iter().map(|figure| figure.words().key).collect();
    assert_eq!(keys.len(), Figure::ALL.len());
    assert_eq!(Figure::ALL.last(), Some(&Figure::Client), "a new figure belongs into ALL");
}
