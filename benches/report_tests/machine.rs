use crate::report::{Machine, stolen};

#[test]
fn a_machine_is_known_by_its_files() {
    let machine = Machine::read(
        "processor\t: 0\nmodel name\t: A Fine (R) One\nprocessor\t: 1\nmodel name\t: A Fine (R) One\n",
        "MemFree: 1 kB\nMemTotal:       8388608 kB\n",
        "0.25 0.5 0.75 1/100 4242\n",
    );
    let machine = Machine { kernel: "6.1".into(), date: "2026-01-31".into(), ..machine };
    let told = machine.told();
    assert_eq!(told, "2026-01-31, A Fine (R) One, 2 cores, 8 GiB, Linux 6.1, load 0.25 at the begin");
    assert_eq!(Machine::read("", "", "").processor, "an unknown processor");
}

#[test]
fn what_the_host_gave_to_others_is_told() {
    let before = "cpu  100 0 100 1000 50 0 0 10 0 0\ncpu0 1 1 1 1 1 1 1 1\n";
    let after = "cpu  130 0 130 9000 50 0 0 50 7 7\ncpu0 2 2 2 2 2 2 2 2\n";
    assert!((stolen(before, after) - 0.4).abs() < 1e-9);
    assert!(stolen(before, before).abs() < 1e-9 && stolen("", "").abs() < 1e-9);
    let told = Machine { stolen: 0.4, ..Machine::default() }.told();
    assert!(told.ends_with(", 40 % of the processor time taken by other guests of its host"), "{told}");
}
