//! What branches need of a broker, from each of them.
use std::time::Duration;

use circus_cyme::broker::{self, Memory};
use circus_cyme::core::{Answer, BrokerCall, Claim, Entry, Found, Key, Kind, Message, Payload, Presence, To};
use serde_json::json;
use tokio::time::{Instant, sleep, timeout};

use crate::rig::{self, Broker, LIMIT};

type Open = Box<dyn broker::Broker>;

fn entry(owner: &str) -> Entry {
    Entry { owner: owner.into(), body: json!({"name": "i", "app": "foo"}), deleted: None }
}

fn key() -> Key {
    Key::new(Kind::Instance, "I")
}

fn message(from: &str, id: &str) -> Message {
    Message { id: id.into(), from: from.into(), payload: Payload::Changed(Kind::Queue, "q".into()) }
}

async fn announce(broker: &Open, id: &str, life: Duration) {
    let presence = Presence { id: id.into(), url: "http://h".into(), ..Presence::default() };
    assert_eq!(broker.call(BrokerCall::Announce(presence, life)).await, Ok(Answer::Done));
}

async fn alive(broker: &Open) -> Vec<String> {
    match broker.call(BrokerCall::Branches).await {
        Ok(Answer::Branches(list)) => list.into_iter().map(|one| one.id).collect(),
        other => panic!("{other:?}"),
    }
}

async fn lease(broker: &Open, holder: &str, life: Duration) -> Option<u64> {
    match broker.call(BrokerCall::Lease("beat".into(), holder.into(), life)).await {
        Ok(Answer::Leased(number)) => number,
        other => panic!("{other:?}"),
    }
}

async fn eventually<T: PartialEq + std::fmt::Debug>(what: &str, wanted: T, mut get: impl AsyncFnMut() -> T) {
    let end = Instant::now() + LIMIT;
    loop {
        let found = get().await;
        if found == wanted {
            return;
        }
        assert!(Instant::now() < end, "not in time: {what}: {found:?}");
        sleep(Duration::from_millis(50)).await;
    }
}

/// Two branches and what each broker does for them. `a` is given back.
async fn serves(a: &Open, b: &Open) {
    let long = Duration::from_secs(600);
    announce(a, "a", long).await;
    announce(b, "b", Duration::from_secs(2)).await;
    assert_eq!(alive(b).await, ["a", "b"]);

    // One name, one owner.
    let claim = |owner: &str, how| BrokerCall::Claim(key(), entry(owner), how);
    assert_eq!(a.call(claim("a", Claim::New)).await, Ok(Answer::Won));
    assert_eq!(b.call(claim("b", Claim::New)).await, Ok(Answer::Held(entry("a"))));
    let found = Found { entry: entry("a"), alive: true };
    let absent = Key::new(Kind::App, "none");
    let lookup = BrokerCall::Lookup(vec![absent.clone(), key()]);
    assert_eq!(b.call(lookup).await, Ok(Answer::Found(vec![None, Some(found.clone())])));
    assert_eq!(b.call(BrokerCall::All(Kind::Instance)).await, Ok(Answer::All(vec![("i".into(), found)])));
    let owned = BrokerCall::OwnedBy(Kind::Instance, "a".into());
    assert_eq!(b.call(owned).await, Ok(Answer::Names(vec!["i".into()])));
    assert_eq!(b.call(BrokerCall::Release(key(), "b".into())).await, Ok(Answer::Done));
    assert_eq!(b.call(claim("b", Claim::New)).await, Ok(Answer::Held(entry("a"))));

    // A deleted application stays deleted, unless it is made anew.
    let gone = Entry { deleted: Some(f64::from(u32::MAX)), ..entry("a") };
    let app = Key::new(Kind::App, "gone");
    assert_eq!(a.call(BrokerCall::Put(app.clone(), gone.clone())).await, Ok(Answer::Done));
    let again = BrokerCall::Claim(app.clone(), entry("b"), Claim::Again);
    assert_eq!(b.call(again).await, Ok(Answer::Held(gone)));
    assert_eq!(b.call(BrokerCall::All(Kind::App)).await, Ok(Answer::All(Vec::new())));
    assert_eq!(b.call(BrokerCall::Claim(app, entry("b"), Claim::New)).await, Ok(Answer::Won));

    // Messages to one, and to all others, each once.
    for (to, id) in [(To::Branch("b".into()), "1"), (To::Others, "2"), (To::Branch("b".into()), "3")] {
        assert_eq!(a.call(BrokerCall::Send(to, message("a", id))).await, Ok(Answer::Sent(1)));
        let received = timeout(LIMIT, b.receive()).await.unwrap();
        assert_eq!(received, Ok(message("a", id)));
    }
    assert!(timeout(Duration::from_millis(300), a.receive()).await.is_err(), "the sender got its own message");

    // A lease has one holder, until it ends.
    let short = Duration::from_secs(2);
    eventually("there is a lease", true, async || lease(a, "a", short).await.is_some()).await;
    let first = lease(a, "a", short).await;
    assert_eq!(lease(b, "b", long).await, None);
    assert_eq!(lease(a, "a", short).await, first);
    eventually("the lease ends", true, async || lease(b, "b", short).await > first).await;
    let second = lease(b, "b", short).await;
    assert_eq!(lease(a, "a", short).await, None);
    assert_eq!(lease(b, "b", Duration::ZERO).await, second);
    assert!(lease(a, "a", short).await > second);

    eventually("b is taken for gone", vec!["a".to_owned()], async || alive(a).await).await;
    assert_eq!(b.call(BrokerCall::Withdraw("a".into())).await, Ok(Answer::Done));
    assert!(alive(a).await.is_empty());
}

fn run(test: &str, kind: rig::Kind, of: impl AsyncFnOnce(&mut Broker, &str)) {
    if !rig::has_broker(test, kind) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut broker = Broker::start(kind, folder.path());
    let url = broker.url();
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(of(&mut broker, &url));
}

#[test]
fn memory_serves() {
    let memory = Memory::default();
    let of = |id| Box::new(memory.of(id)) as Open;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(serves(&of("a"), &of("b")));
}

#[test]
fn redis_serves() {
    run("redis_serves", rig::Kind::Redis, async |_, url| {
        serves(&broker::open(url, "a").unwrap(), &broker::open(url, "b").unwrap()).await;
    });
}

#[test]
fn rabbitmq_serves() {
    run("rabbitmq_serves", rig::Kind::Rabbit, async |_, url| {
        serves(&broker::open(url, "a").unwrap(), &broker::open(url, "b").unwrap()).await;
    });
}

/// The branch that keeps the names ends, then RabbitMQ itself; nothing is lost, and every call that fails says so.
#[test]
fn rabbitmq_keeps_the_names() {
    run("rabbitmq_keeps_the_names", rig::Kind::Rabbit, async |server, url| {
        let mut branches: Vec<Open> = (0..3).map(|number| broker::open(url, &format!("b{number}")).unwrap()).collect();
        let name = |number: usize| Key::new(Kind::Instance, &format!("i{number}"));
        let mut won = Vec::new();
        for number in 0..60 {
            if number % 20 == 19 && branches.len() > 1 {
                // The first has been there for the longest, so it is the keeper.
                branches.remove(0);
            }
            let owner = format!("o{number}");
            let claim = BrokerCall::Claim(name(number), entry(&owner), Claim::New);
            let call = timeout(LIMIT, branches[number % branches.len()].call(claim)).await.unwrap();
            if call == Ok(Answer::Won) {
                won.push((number, owner));
            }
        }
        assert!(won.len() > 55, "{won:?}");
        assert_eq!(lease(&branches[0], "x", Duration::from_secs(600)).await, Some(1));
        for restart in [false, true] {
            if restart {
                server.stop();
                assert!(branches[0].call(BrokerCall::Branches).await.is_err());
                server.start_again();
            }
            branches.push(broker::open(url, "another").unwrap());
            for (number, owner) in &won {
                let found = async || {
                    let call = branches[0].call(BrokerCall::Lookup(vec![name(*number)])).await.ok()?;
                    let Answer::Found(mut found) = call else { return None };
                    found.remove(0).map(|found| found.entry.owner)
                };
                eventually("a name is known", Some(owner.clone()), found).await;
            }
            assert_eq!(lease(&branches[0], "y", Duration::from_secs(600)).await, None);
            branches.remove(0);
        }
    });
}
