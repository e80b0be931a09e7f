//! Branches of many machines, with a broker, circusds and workers that exist in memory only, and a clock of their own.
//!
//! Every run follows from its seed. What must hold: no instance is owned by two branches, none that a client knows of is
//! lost, and what runs in the end is what the branches keep.
#![expect(clippy::unwrap_used, reason = "a test fails by it")]

mod simulated;

use std::time::Duration;

use circus_cyme::core::Op;
use circus_cyme::core::model::{AppFields, Queue};
use circus_cyme::core::op::{InstanceOp, Place};
use simulated::{Fleet, Misfortune};

fn run(seed: u64, machines: usize, instances: usize, misfortune: Misfortune) -> Fleet {
    let mut fleet = Fleet::new(seed, machines, misfortune);
    fleet.run(30);
    fleet.ask_for_instances(instances, 60);
    fleet.run(120);
    fleet.end_misfortune();
    // The budget of restarts, presence, and a few rounds.
    fleet.run(300);
    fleet.check();
    fleet
}

#[test]
fn instances_are_made_once_and_run() {
    let fleet = run(1, 20, 200, Misfortune::default());
    assert_eq!(fleet.acknowledged(), 200);
}

#[test]
fn messages_get_lost_or_come_late_and_twice() {
    for seed in 10..16 {
        let fleet = run(seed, 15, 150, Misfortune { messages: true, ..Misfortune::default() });
        assert!(fleet.acknowledged() > 75, "seed {seed}: {}", fleet.acknowledged());
    }
}

#[test]
fn branches_die_and_come_back() {
    for seed in 20..26 {
        run(seed, 15, 150, Misfortune { deaths: true, messages: true, ..Misfortune::default() });
    }
}

#[test]
fn half_of_the_machines_are_cut_off() {
    for seed in 30..36 {
        run(seed, 16, 160, Misfortune { partition: true, messages: true, ..Misfortune::default() });
    }
}

#[test]
fn the_broker_dies_and_comes_back() {
    for seed in 40..44 {
        run(seed, 15, 150, Misfortune { outage: true, messages: true, ..Misfortune::default() });
    }
}

#[test]
fn the_broker_forgets_everything() {
    for seed in 50..54 {
        run(seed, 15, 150, Misfortune { amnesia: true, ..Misfortune::default() });
    }
}

#[test]
fn disks_are_full_for_a_while() {
    for seed in 70..74 {
        let fleet = run(seed, 10, 100, Misfortune { disk: true, ..Misfortune::default() });
        assert!(fleet.acknowledged() > 30 && fleet.acknowledged() < 100, "seed {seed}: {}", fleet.acknowledged());
    }
}

#[test]
fn deleted_instances_free_their_names() {
    for seed in 60..64 {
        let mut fleet = run(seed, 10, 60, Misfortune { messages: true, ..Misfortune::default() });
        fleet.delete_all();
        fleet.run(400);
        fleet.check();
        assert_eq!(fleet.running(), 0, "seed {seed}");
    }
}

/// What a change costs, and how long it takes, does not grow with the number of machines. Two kinds of changes concern
/// any number of branches, so one notice goes to each.
#[test]
fn a_change_costs_as_much_in_a_large_fleet() {
    let names = |letter: char| (0..100).map(move |number| format!("{letter}{number}"));
    let instances = |what: InstanceOp| names('i').map(|name| Op::Instance { name, what: what.clone() }).collect();
    let consumers = |what: fn(String) -> InstanceOp| {
        names('i').zip(names('q')).map(|(name, queue)| Op::Instance { name, what: what(queue) }).collect()
    };
    let fields = AppFields { arguments: Some("--quiet".into()), ..Default::default() };
    let queue = |name| Queue { name, ..Default::default() };
    let new = |name| Op::AddInstance {
        app: "cyme".into(),
        name: Some(name),
        fields: Default::default(),
        place: Place::RoundRobin,
        idempotent: false,
        found: None,
    };
    let changes: [(&str, Vec<Op>); 9] = [
        (
            "application made",
            names('a').map(|name| Op::PutApp { name: Some(name), fields: Default::default() }).collect(),
        ),
        ("queue declared", names('q').map(|name| Op::PutQueue(queue(name))).collect()),
        ("instance made", names('i').map(new).collect()),
        ("consumer added", consumers(InstanceOp::AddConsumer)),
        ("bounds changed", instances(InstanceOp::SetAutoscale { max: Some(3), min: None })),
        ("consumer deleted", consumers(InstanceOp::DeleteConsumer)),
        ("instance deleted", instances(InstanceOp::Delete)),
        (
            "application changed",
            names('a').map(|name| Op::PutApp { name: Some(name), fields: fields.clone() }).collect(),
        ),
        ("queue deleted", names('q').map(Op::DeleteQueue).collect()),
    ];
    let sizes = [10, 100, 1000];
    let costs = sizes.map(|machines| {
        let mut fleet = Fleet::new(7, machines, Misfortune::default());
        fleet.run(90);
        let costs = changes.each_ref().map(|(_, ops)| fleet.cost_of(ops));
        fleet.check();
        costs
    });
    println!("| a change | messages among 10, 100, 1000 machines | the slowest of 100, in seconds |");
    for (row, (name, _)) in changes.iter().enumerate() {
        let of = |size: usize| costs[size][row];
        let figures = [0, 1, 2].map(|size| format!("{:.1}", of(size).messages)).join(", ");
        let times = [0, 1, 2].map(|size| format!("{:.2}", of(size).slowest.as_secs_f64())).join(", ");
        println!("| {name} | {figures} | {times} |");
        let notices = matches!(*name, "application changed" | "queue deleted");
        for (size, machines) in sizes.iter().enumerate() {
            let most = if notices { *machines as f64 } else { 0.0 };
            assert!(of(size).messages < of(0).messages.max(4.0) * 1.5 + most, "{name}: {figures}");
            assert!(of(size).messages < 20.0 + most, "{name}: {figures}");
            assert!(of(size).slowest < of(0).slowest * 2 + Duration::from_secs(1), "{name}: {times}");
        }
    }
}

/// A fleet as large as any that is known: CIRCUS_CYME_FLEET=MACHINES,INSTANCES names another size.
#[test]
fn a_large_fleet() {
    let size = std::env::var("CIRCUS_CYME_FLEET").unwrap_or_else(|_| "100,2000".into());
    let (machines, instances) = size.split_once(',').unwrap();
    let (machines, instances): (usize, usize) = (machines.parse().unwrap(), instances.parse().unwrap());
    let misfortune = Misfortune { partition: true, messages: true, deaths: true, ..Misfortune::default() };
    let mut fleet = Fleet::new(99, machines, misfortune);
    fleet.run(30);
    fleet.ask_for_instances(instances, 120);
    fleet.run(180);
    fleet.end_misfortune();
    let took = fleet.run_until_settled(600);
    fleet.run(200);
    fleet.check();
    println!(
        "{machines} machines, {} of {instances} instances acknowledged, settled after {took} s",
        fleet.acknowledged()
    );
}
