//! Branches of many machines, with a broker, circusds and workers that exist in memory only, and a clock of their own.
//!
//! Every run follows from its seed. What must hold: no instance is owned by two branches, none that a client knows of is
//! lost, and what runs in the end is what the branches keep.
#![expect(clippy::unwrap_used, reason = "a test fails by it")]

mod simulated;

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

/// What a change costs does not grow with the number of machines.
#[test]
fn a_change_costs_as_many_messages_in_a_large_fleet() {
    let cost = |machines: usize| {
        let mut fleet = Fleet::new(7, machines, Misfortune::default());
        fleet.run(30);
        let idle = fleet.messages_of(60, 0);
        let busy = fleet.messages_of(60, 100);
        fleet.check();
        (busy - idle) as f64 / 100.0
    };
    let (small, large) = (cost(10), cost(200));
    println!("messages for a new instance: {small:.1} among 10 machines, {large:.1} among 200");
    assert!(large < small * 1.5 && large < 20.0, "{small} {large}");
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
