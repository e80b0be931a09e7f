//! Both ways, beside rmp-serde.

use std::collections::BTreeMap;

use serde::ser::SerializeMap as _;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Value, json};

use super::{from_front, from_slice, to_vec};

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Unit;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Number(u64);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Pair(i8, char);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Kind {
    Plain,
    Of(Number),
    Both(String, Option<bool>),
    Named { left: f64, right: Vec<Kind> },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Everything {
    numbers: Vec<i64>,
    sizes: (u8, u16, u32, u64),
    single: f32,
    unit: Unit,
    pair: Pair,
    kinds: BTreeMap<u32, Kind>,
    nothing: Option<String>,
    something: Option<Box<Everything>>,
    value: Value,
}

fn everything() -> Everything {
    let named = Kind::Named { left: -0.5, right: vec![Kind::Plain, Kind::Of(Number(u64::MAX))] };
    let inner = Everything {
        numbers: vec![0, -1, -32, -33, 127, 128, 255, 256, i64::MIN, i64::MAX],
        sizes: (u8::MAX, u16::MAX, u32::MAX, u64::MAX),
        single: 1.5,
        unit: Unit,
        pair: Pair(i8::MIN, 'ß'),
        kinds: [(0, Kind::Plain), (70_000, Kind::Both("x".repeat(70_000), None)), (1, named)].into(),
        nothing: None,
        something: None,
        value: json!({"a": [1, -1, 2.5, null, true, "text", {"b": []}]}),
    };
    Everything { something: Some(Box::new(inner.clone())), nothing: Some(String::new()), ..inner }
}

#[test]
fn values_are_read_as_rmp_serde_writes_them() {
    let bytes = rmp_serde::to_vec_named(&everything()).unwrap();
    assert_eq!(from_slice::<Everything>(&bytes).unwrap(), everything());
    assert_eq!(rmp_serde::from_slice::<Everything>(&bytes).unwrap(), everything());
}

#[test]
fn values_are_written_as_rmp_serde_writes_them() {
    assert_eq!(to_vec(&everything()).unwrap(), rmp_serde::to_vec_named(&everything()).unwrap());
}

#[test]
fn list_or_map_whose_length_was_not_said_is_written_as_if_it_was() {
    struct Unsaid(usize);
    impl Serialize for Unsaid {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let mut map = serializer.serialize_map(None)?;
            for number in 0..self.0 {
                map.serialize_entry(&number.to_string(), &[number, 1])?;
            }
            map.end()
        }
    }
    #[derive(Serialize)]
    struct Around {
        #[serde(flatten)]
        flat: Unsaid,
        last: Chars,
    }
    struct Chars(&'static str);
    impl Serialize for Chars {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_seq(self.0.chars().filter(|c| *c != 'x'))
        }
    }
    for count in [0, 1, 15, 16, 70_000] {
        let value = || Around { flat: Unsaid(count), last: Chars("axbx") };
        assert_eq!(to_vec(&value()).unwrap(), rmp_serde::to_vec_named(&value()).unwrap(), "{count}");
    }
}

#[test]
fn value_that_cannot_be_written_says_why() {
    struct Never;
    impl Serialize for Never {
        fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("it never can"))
        }
    }
    assert_eq!(to_vec(&[Never]).unwrap_err().to_string(), "it never can");
}

#[test]
fn unknown_fields_are_passed_over_and_those_with_a_default_may_be_missing() {
    #[derive(Serialize)]
    struct Newer {
        later: Everything,
        left: f64,
        unit: Unit,
    }
    #[derive(Debug, PartialEq, Deserialize)]
    struct Older {
        left: f64,
        #[serde(default)]
        dropped: u32,
    }
    let bytes = rmp_serde::to_vec_named(&Newer { later: everything(), left: 0.5, unit: Unit }).unwrap();
    assert_eq!(from_slice::<Older>(&bytes).unwrap(), Older { left: 0.5, dropped: 0 });
    let error = from_slice::<Everything>(&bytes).unwrap_err();
    assert_eq!(error.to_string(), "missing field `numbers`");
}

#[test]
fn value_that_is_cut_off_or_too_long_is_refused() {
    let mut bytes = rmp_serde::to_vec_named(&everything()).unwrap();
    for length in (0..bytes.len()).filter(|length| *length < 2_000 || length % 997 == 0) {
        assert!(from_slice::<Everything>(&bytes[..length]).is_err(), "{length}");
    }
    bytes.push(0);
    assert_eq!(from_slice::<Everything>(&bytes).unwrap_err().to_string(), "something follows the value");
    let two = rmp_serde::to_vec(&(1, 2)).unwrap();
    let mut rest = two.get(1..).unwrap();
    assert_eq!((from_front::<u8>(&mut rest).unwrap(), rest), (1, &[2_u8][..]));
}

#[test]
fn other_kinds_than_the_expected_one_are_refused() {
    let refused = |bytes: Vec<u8>| from_slice::<BTreeMap<u32, Kind>>(&bytes).unwrap_err().to_string();
    let text = refused(rmp_serde::to_vec(&"text").unwrap());
    assert!(text.starts_with("expected a map"), "{text}");
    let text = refused(rmp_serde::to_vec(&json!({"1": "Plain"})).unwrap());
    assert!(text.starts_with("expected a number"), "{text}");
    let variant = |content: Value| from_slice::<Kind>(&rmp_serde::to_vec_named(&content).unwrap());
    assert!(variant(json!("Unheard")).unwrap_err().to_string().contains("unknown variant"));
    assert!(variant(json!("Of")).unwrap_err().to_string().contains("content of a variant is missing"));
    assert!(variant(json!({"Plain": 1})).unwrap_err().to_string().contains("should not have"));
    assert!(variant(json!({"Both": ["a", null, 1]})).unwrap_err().to_string().contains("too many elements"));
    assert!(from_slice::<u8>(&rmp_serde::to_vec(&256).unwrap()).is_err());
    assert!(from_slice::<u64>(&rmp_serde::to_vec(&-1).unwrap()).is_err());
}

#[test]
fn lists_of_lists_of_lists_end_somewhere() {
    let nested = |depth: usize| [vec![0x91; depth], vec![0xc0]].concat();
    from_slice::<Value>(&nested(250)).unwrap();
    let error = from_slice::<Value>(&nested(100_000)).unwrap_err();
    assert_eq!(error.to_string(), "it is nested too deeply");
}

#[test]
fn length_that_lies_reserves_no_memory() {
    for bytes in [&[0xdd, 0xff, 0xff, 0xff, 0xff][..], &[0xdf, 0xff, 0xff, 0xff, 0xff], &[0xdb, 0xff, 0xff, 0xff, 0xff]]
    {
        assert!(from_slice::<Value>(bytes).is_err());
        assert!(from_slice::<Vec<u64>>(bytes).is_err());
    }
}
