//! A line of the log as a JSON object: `log_format = json`.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Map, Value};

use super::queue::Entry;
use circus_core::escape::escaped;

/// Keys that every object has.
const COMMON: [&str; 4] = ["time", "level", "process", "message"];

/// The object: the common keys, then one for each `key=value` at the end of the text.
pub(super) fn object(entry: &Entry, zone: &TimeZone, pid: u32) -> String {
    // JSON holds no raw control characters either.
    let text = escaped(&entry.text);
    let (message, fields) = split_fields(&text);
    let time = Timestamp::from_millisecond((entry.unix * 1e3) as i64).unwrap_or(Timestamp::UNIX_EPOCH);
    let time = time.to_zoned(zone.clone()).strftime("%Y-%m-%dT%H:%M:%S%.3f%:z").to_string();
    let common: [Value; 4] = [time.into(), entry.level_name().into(), pid.into(), message.into()];
    let mut object: Map<String, Value> = COMMON.map(str::to_owned).into_iter().zip(common).collect();
    object.extend(fields.into_iter().map(|(key, value)| (key.to_owned(), typed(value))));
    Value::Object(object).to_string()
}

/// The words of a line, and the `key=value` that follow them.
fn split_fields(text: &str) -> (&str, Vec<(&str, &str)>) {
    let (mut words, mut fields) = (text, Vec::new());
    while let Some((before, last)) = words.rsplit_once(' ')
        && let Some((key, value)) = last.split_once('=')
        && !value.is_empty()
        && !key.is_empty()
        && !COMMON.contains(&key)
        && key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
    {
        words = before;
        fields.push((key, value));
    }
    fields.reverse();
    (words, fields)
}

fn typed(value: &str) -> Value {
    value.parse::<i64>().map_or_else(|_| value.into(), Value::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arbiter::Level;

    #[test]
    fn fields_follow_the_words() {
        let text = "web: worker exited wid=1 pid=42 signal=SIGKILL after=1.250s asked=no";
        let entry = Entry { level: Level::Info, unix: 1.7e9, text: text.into() };
        let expected = "{\"time\":\"2023-11-14T22:13:20.000+00:00\",\"level\":\"INFO\",\"process\":7,\
                        \"message\":\"web: worker exited\",\"wid\":1,\"pid\":42,\"signal\":\"SIGKILL\",\
                        \"after\":\"1.250s\",\"asked\":\"no\"}";
        assert_eq!(object(&entry, &TimeZone::UTC, 7), expected);
    }

    #[test]
    fn only_the_end_of_a_line_has_fields() {
        for text in ["a=1", "[circus] x = y", "set x=1 again", "web: level=high", "web: said Level=3", "web: k= v="] {
            assert_eq!(split_fields(text), (text, vec![]), "{text}");
        }
        assert_eq!(split_fields("w: a b=c=d"), ("w: a", vec![("b", "c=d")]));
    }
}
