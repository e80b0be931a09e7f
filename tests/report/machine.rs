use crate::report::Machine;

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
