//! Redis as the broker between branches.
//!
//! `cyme:presence:ID` is a branch, as long as it lives; `cyme:branches` the ids that there were. `cyme:app`,
//! `cyme:instance` and `cyme:queue` are hashes of what there is, `cyme:gone:KIND:NAME` says for a week that something was
//! deleted. `cyme:inbox:ID` are the messages to a branch, `cyme:lease:NAME` is a lease. What must be one step is a script.

use std::time::Duration;

use circus_celery::lease;
use circus_celery::redis::Link;
use redis::aio::MultiplexedConnection;
use redis::{Cmd, RedisError, Value, cmd, pipe};

use super::{Broker, Pending};
use crate::core::board::MESSAGE_LIFE;
use crate::core::{Answer, BrokerCall, BrokerUrl, Claim, Entry, Found, Key, Kind, Message, Presence, To};

/// How long one call waits for a message; then it waits again.
const LISTEN: Duration = Duration::from_secs(20);
/// How long a deletion is remembered, in milliseconds.
const GONE: u64 = 7 * 24 * 3600 * 1000;

/// KEYS: the hash, the deletion. ARGV: name, entry, owner, whether it is new. The entry that prevents it, or nothing.
const CLAIM: &str = r"
local gone = redis.call('GET', KEYS[2])
if gone and ARGV[4] == '0' then return gone end
local held = redis.call('HGET', KEYS[1], ARGV[1])
if held and cjson.decode(held).owner ~= ARGV[3] then return held end
redis.call('DEL', KEYS[2])
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return false";

/// KEYS: the hash. ARGV: name, owner.
const RELEASE: &str = r"
local held = redis.call('HGET', KEYS[1], ARGV[1])
if held and cjson.decode(held).owner == ARGV[2] then redis.call('HDEL', KEYS[1], ARGV[1]) end
return 1";

/// KEYS: the hash. ARGV: owner. The names that it has.
const OWNED: &str = r"
local all, names = redis.call('HGETALL', KEYS[1]), {}
for i = 1, #all, 2 do
  if cjson.decode(all[i + 1]).owner == ARGV[1] then names[#names + 1] = all[i] end
end
return names";

/// A connection for calls, and one that waits for messages.
pub struct Redis {
    branch: String,
    calls: Link,
    messages: Link,
}

impl Redis {
    /// A broker at this URL. It is connected to when it is needed.
    pub fn open(url: &BrokerUrl, branch: &str) -> Result<Self, String> {
        let (calls, messages) = (Link::new(url, Duration::ZERO)?, Link::new(url, LISTEN)?);
        Ok(Self { branch: branch.to_owned(), calls, messages })
    }

    async fn do_call(&self, call: BrokerCall) -> Result<Answer, String> {
        self.calls.with(async |connection| perform(connection, call).await).await
    }

    async fn next_message(&self) -> Result<Message, String> {
        loop {
            let pop = self.messages.with(async |connection| {
                let mut pop = cmd("BRPOP");
                pop.arg(inbox(&self.branch)).arg(LISTEN.as_secs());
                pop.query_async::<Option<(String, String)>>(connection).await
            });
            if let Some((_, text)) = pop.await?
                && let Ok(message) = serde_json::from_str(&text)
            {
                return Ok(message);
            }
        }
    }
}

impl Broker for Redis {
    fn call(&self, call: BrokerCall) -> Pending<'_, Answer> {
        Box::pin(self.do_call(call))
    }

    fn receive(&self) -> Pending<'_, Message> {
        Box::pin(self.next_message())
    }
}

fn hash(kind: Kind) -> String {
    format!("cyme:{}", kind.name())
}

fn gone(key: &Key) -> String {
    format!("cyme:gone:{}:{}", key.kind.name(), key.name)
}

fn inbox(branch: &str) -> String {
    format!("cyme:inbox:{branch}")
}

fn presence(branch: &str) -> String {
    format!("cyme:presence:{branch}")
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

fn script(source: &str, keys: &[String]) -> Cmd {
    let mut eval = cmd("EVAL");
    eval.arg(source).arg(keys.len()).arg(keys);
    eval
}

async fn perform(to: &mut MultiplexedConnection, call: BrokerCall) -> Result<Answer, RedisError> {
    match call {
        BrokerCall::Announce(branch, life) => {
            let mut both = pipe();
            both.cmd("SET").arg(presence(&branch.id)).arg(json(&branch)).arg("PX").arg(millis(life)).ignore();
            both.cmd("SADD").arg("cyme:branches").arg(&branch.id).ignore();
            both.exec_async(to).await?;
            Ok(Answer::Done)
        }
        BrokerCall::Withdraw(id) => {
            let mut both = pipe();
            both.cmd("DEL").arg(presence(&id)).ignore().cmd("SREM").arg("cyme:branches").arg(&id).ignore();
            both.exec_async(to).await?;
            Ok(Answer::Done)
        }
        BrokerCall::Branches => Ok(Answer::Branches(branches(to).await?)),
        BrokerCall::Lookup(keys) => Ok(Answer::Found(lookup(to, &keys).await?)),
        BrokerCall::All(kind) => all(to, kind).await,
        BrokerCall::OwnedBy(kind, owner) => {
            Ok(Answer::Names(script(OWNED, &[hash(kind)]).arg(owner).query_async(to).await?))
        }
        BrokerCall::Claim(key, entry, claim) => {
            let mut eval = script(CLAIM, &[hash(key.kind), gone(&key)]);
            eval.arg(&key.name).arg(json(&entry)).arg(&entry.owner).arg(u8::from(claim == Claim::New));
            let held: Option<String> = eval.query_async(to).await?;
            Ok(held.and_then(|held| serde_json::from_str(&held).ok()).map_or(Answer::Won, Answer::Held))
        }
        BrokerCall::Put(key, entry) => {
            let mut both = pipe();
            if entry.deleted.is_some() {
                both.cmd("SET").arg(gone(&key)).arg(json(&entry)).arg("PX").arg(GONE).ignore();
                both.cmd("HDEL").arg(hash(key.kind)).arg(&key.name).ignore();
            } else {
                both.cmd("HSET").arg(hash(key.kind)).arg(&key.name).arg(json(&entry)).ignore();
            }
            both.atomic().exec_async(to).await?;
            Ok(Answer::Done)
        }
        BrokerCall::Release(key, owner) => {
            script(RELEASE, &[hash(key.kind)]).arg(&key.name).arg(owner).exec_async(to).await?;
            Ok(Answer::Done)
        }
        BrokerCall::Send(receivers, message) => send(to, receivers, &message).await,
        BrokerCall::Lease(name, holder, life) => {
            let keys = [format!("cyme:lease:{name}"), format!("cyme:lease-number:{name}")];
            Ok(Answer::Leased(lease::take_of_redis(to, &keys, &holder, life, None).await?))
        }
    }
}

async fn branches(to: &mut MultiplexedConnection) -> Result<Vec<Presence>, RedisError> {
    let ids: Vec<String> = cmd("SMEMBERS").arg("cyme:branches").query_async(to).await?;
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let keys: Vec<String> = ids.iter().map(|id| presence(id)).collect();
    let found: Vec<Option<String>> = cmd("MGET").arg(keys).query_async(to).await?;
    let mut alive: Vec<Presence> =
        found.into_iter().flatten().filter_map(|text| serde_json::from_str(&text).ok()).collect();
    alive.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(alive)
}

/// The entries of these keys, and which of their branches are alive.
async fn lookup(to: &mut MultiplexedConnection, keys: &[Key]) -> Result<Vec<Option<Found>>, RedisError> {
    let mut ask = pipe();
    for key in keys {
        ask.cmd("HGET").arg(hash(key.kind)).arg(&key.name).cmd("GET").arg(gone(key));
    }
    let answers: Vec<Option<String>> = ask.query_async(to).await?;
    let (pairs, _) = answers.as_chunks::<2>();
    let entry = |[held, gone]: &[Option<String>; 2]| serde_json::from_str(held.as_ref().or(gone.as_ref())?).ok();
    let entries: Vec<Option<Entry>> = pairs.iter().map(entry).collect();
    let mut ask = pipe();
    for entry in entries.iter().flatten() {
        ask.cmd("EXISTS").arg(presence(&entry.owner));
    }
    let alive: Vec<bool> = match entries.iter().any(Option::is_some) {
        true => ask.query_async(to).await?,
        false => Vec::new(),
    };
    let mut alive = alive.into_iter();
    let found =
        entries.into_iter().map(|entry| entry.map(|entry| Found { entry, alive: alive.next().unwrap_or(false) }));
    Ok(found.collect())
}

async fn all(to: &mut MultiplexedConnection, kind: Kind) -> Result<Answer, RedisError> {
    let alive: Vec<String> = branches(to).await?.into_iter().map(|branch| branch.id).collect();
    let pairs: Vec<(String, String)> = cmd("HGETALL").arg(hash(kind)).query_async(to).await?;
    let found = pairs.into_iter().filter_map(|(name, text)| {
        let entry: Entry = serde_json::from_str(&text).ok()?;
        let alive = alive.contains(&entry.owner);
        Some((name, Found { entry, alive }))
    });
    Ok(Answer::All(found.collect()))
}

async fn send(to: &mut MultiplexedConnection, receivers: To, message: &Message) -> Result<Answer, RedisError> {
    let ids: Vec<String> = match receivers {
        To::Branch(id) => vec![id],
        To::Others => {
            let others = branches(to).await?.into_iter().map(|branch| branch.id);
            others.filter(|id| *id != message.from).collect()
        }
    };
    let text = json(message);
    let mut push = pipe();
    for id in &ids {
        push.cmd("LPUSH").arg(inbox(id)).arg(&text).ignore();
        push.cmd("PEXPIRE").arg(inbox(id)).arg(millis(MESSAGE_LIFE)).ignore();
    }
    if !ids.is_empty() {
        push.query_async::<Value>(to).await?;
    }
    Ok(Answer::Sent(ids.len()))
}
