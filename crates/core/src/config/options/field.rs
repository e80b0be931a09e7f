//! Values of options and fields of the model, each made from the other.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Kind;
use super::kind::{END, EXCLUSIVE, HUP, KEEP, NONE, ON_FAILURE, OVERLAP, RESTART, STOP, bounded_seconds};
use crate::base::CollectOrdered as _;
use crate::config::{
    Account, Args, Bytes, CpuQuota, Cpus, ExitOn, IoPriority, KillMode, LogFormat, Missed, OnOrphans, Orphans, Overlap,
    Propagate, ReloadMode, Respawn, Scale, Schedule, WatcherKind, python,
};
use crate::proto::Signal;

/// A field that an option fills.
pub(in crate::config) trait Field: Sized {
    /// The field's value for an option's value, which has the option's kind.
    fn read(value: &Value) -> Result<Self, String>;
    /// The option's value.
    fn show(&self) -> Value;
}

/// Stores an option's value in its field.
pub(in crate::config) fn store<T: Field>(field: &mut T, value: &Value) -> Result<(), String> {
    *field = T::read(value)?;
    Ok(())
}

fn refused<T>(value: &Value) -> Result<T, String> {
    Err(format!("{} is not possible here", python::repr(value)))
}

fn out_of_range<T>(value: &Value) -> Result<T, String> {
    Err(format!("{} is out of range", python::repr(value)))
}

impl Field for bool {
    fn read(value: &Value) -> Result<Self, String> {
        value.as_bool().map_or_else(|| refused(value), Ok)
    }

    fn show(&self) -> Value {
        (*self).into()
    }
}

impl Field for Option<Scale> {
    fn read(value: &Value) -> Result<Self, String> {
        match value {
            Value::Null => Ok(None),
            value => Scale::read(&String::read(value)?),
        }
    }

    fn show(&self) -> Value {
        self.as_ref().map_or("none", Scale::text).into()
    }
}

impl Field for Respawn {
    fn read(value: &Value) -> Result<Self, String> {
        match value {
            Value::Bool(true) => Ok(Self::Always),
            Value::Bool(false) => Ok(Self::Never),
            Value::String(text) if text == ON_FAILURE => Ok(Self::OnFailure),
            Value::Null | Value::Number(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => refused(value),
        }
    }

    /// The two values that Circus has are shown as it shows them.
    fn show(&self) -> Value {
        match self {
            Self::Always => true.into(),
            Self::Never => false.into(),
            Self::OnFailure => ON_FAILURE.into(),
        }
    }
}

impl Field for OnOrphans {
    fn read(value: &Value) -> Result<Self, String> {
        match value.as_str().map(str::trim) {
            Some("end") => Ok(Self::End),
            Some("adopt") => Ok(Self::Adopt),
            _ => Err(format!("{} is neither end nor adopt", python::repr(value))),
        }
    }

    fn show(&self) -> Value {
        match self {
            Self::End => "end".into(),
            Self::Adopt => "adopt".into(),
        }
    }
}

impl Field for ExitOn {
    fn read(value: &Value) -> Result<Self, String> {
        match value.as_str().map(str::trim) {
            Some("end") => Ok(Self::End),
            Some("failure") => Ok(Self::Failure),
            _ => Err(format!("{} is neither end nor failure", python::repr(value))),
        }
    }

    fn show(&self) -> Value {
        match self {
            Self::End => "end".into(),
            Self::Failure => "failure".into(),
        }
    }
}

impl Field for LogFormat {
    fn read(value: &Value) -> Result<Self, String> {
        match value.as_str().map(str::trim) {
            Some("text") => Ok(Self::Text),
            Some("json") => Ok(Self::Json),
            _ => Err(format!("{} is neither text nor json", python::repr(value))),
        }
    }

    fn show(&self) -> Value {
        match self {
            Self::Text => "text".into(),
            Self::Json => "json".into(),
        }
    }
}

impl Field for Orphans {
    fn read(value: &Value) -> Result<Self, String> {
        match value.as_str() {
            Some(END) => Ok(Self::End),
            Some(KEEP) => Ok(Self::Keep),
            _ => refused(value),
        }
    }

    fn show(&self) -> Value {
        match self {
            Self::End => END.into(),
            Self::Keep => KEEP.into(),
        }
    }
}

impl Field for Propagate {
    fn read(value: &Value) -> Result<Self, String> {
        match value.as_str() {
            Some(RESTART) => Ok(Self::Restart),
            Some(STOP) => Ok(Self::Stop),
            Some(NONE) => Ok(Self::None),
            _ => refused(value),
        }
    }

    fn show(&self) -> Value {
        match self {
            Self::Restart => RESTART.into(),
            Self::Stop => STOP.into(),
            Self::None => NONE.into(),
        }
    }
}

impl Field for WatcherKind {
    fn read(value: &Value) -> Result<Self, String> {
        let named = Self::ALL.into_iter().find(|kind| Some(kind.name()) == value.as_str());
        named.map_or_else(|| refused(value), Ok)
    }

    fn show(&self) -> Value {
        self.name().into()
    }
}

impl Field for KillMode {
    fn read(value: &Value) -> Result<Self, String> {
        let named = Self::ALL.into_iter().find(|mode| Some(mode.name()) == value.as_str());
        named.map_or_else(|| refused(value), Ok)
    }

    fn show(&self) -> Value {
        self.name().into()
    }
}

impl Field for Overlap {
    fn read(value: &Value) -> Result<Self, String> {
        match value.as_str() {
            Some("skip") => Ok(Self::Skip),
            Some("queue") => Ok(Self::Queue),
            Some("kill") => Ok(Self::Kill),
            _ => refused(value),
        }
    }

    fn show(&self) -> Value {
        match self {
            Self::Skip => "skip".into(),
            Self::Queue => "queue".into(),
            Self::Kill => "kill".into(),
        }
    }
}

impl Field for Missed {
    fn read(value: &Value) -> Result<Self, String> {
        match value.as_str() {
            Some("skip") => Ok(Self::Skip),
            Some("run") => Ok(Self::Run),
            _ => refused(value),
        }
    }

    fn show(&self) -> Value {
        match self {
            Self::Skip => "skip".into(),
            Self::Run => "run".into(),
        }
    }
}

impl Field for Option<Schedule> {
    fn read(value: &Value) -> Result<Self, String> {
        match value.as_str() {
            None | Some("") => Ok(None),
            Some(text) => Schedule::read(text).map(Some),
        }
    }

    fn show(&self) -> Value {
        self.as_ref().map(Schedule::text).into()
    }
}

impl Field for Option<ReloadMode> {
    fn read(value: &Value) -> Result<Self, String> {
        match value.as_str() {
            None | Some("") => Ok(None),
            Some(OVERLAP) => Ok(Some(ReloadMode::Overlap)),
            Some(EXCLUSIVE) => Ok(Some(ReloadMode::Exclusive)),
            Some(HUP) => Ok(Some(ReloadMode::Hup)),
            Some(_) => refused(value),
        }
    }

    fn show(&self) -> Value {
        match self {
            None => Value::Null,
            Some(ReloadMode::Overlap) => OVERLAP.into(),
            Some(ReloadMode::Exclusive) => EXCLUSIVE.into(),
            Some(ReloadMode::Hup) => HUP.into(),
        }
    }
}

impl Field for i64 {
    fn read(value: &Value) -> Result<Self, String> {
        value.as_i64().or_else(|| value.as_bool().map(Self::from)).map_or_else(|| out_of_range(value), Ok)
    }

    fn show(&self) -> Value {
        (*self).into()
    }
}

impl Field for u16 {
    fn read(value: &Value) -> Result<Self, String> {
        i64::read(value)?.try_into().or_else(|_| out_of_range(value))
    }

    fn show(&self) -> Value {
        (*self).into()
    }
}

impl Field for i32 {
    fn read(value: &Value) -> Result<Self, String> {
        i64::read(value)?.try_into().or_else(|_| out_of_range(value))
    }

    fn show(&self) -> Value {
        (*self).into()
    }
}

impl Field for u32 {
    fn read(value: &Value) -> Result<Self, String> {
        i64::read(value)?.try_into().or_else(|_| out_of_range(value))
    }

    fn show(&self) -> Value {
        (*self).into()
    }
}

impl Field for Option<u32> {
    fn read(value: &Value) -> Result<Self, String> {
        u32::read(value).map(Some)
    }

    fn show(&self) -> Value {
        (*self).into()
    }
}

impl Field for Option<i32> {
    fn read(value: &Value) -> Result<Self, String> {
        if value.is_null() { Ok(None) } else { i32::read(value).map(Some) }
    }

    fn show(&self) -> Value {
        (*self).into()
    }
}

impl Field for Option<IoPriority> {
    fn read(value: &Value) -> Result<Self, String> {
        Option::<String>::read(value)?.map(|text| IoPriority::read(&text)).transpose()
    }

    fn show(&self) -> Value {
        self.map(IoPriority::show).into()
    }
}

impl Field for Option<Bytes> {
    fn read(value: &Value) -> Result<Self, String> {
        Option::<String>::read(value)?.map(|text| Bytes::read(&text)).transpose()
    }

    fn show(&self) -> Value {
        self.map(Bytes::show).into()
    }
}

impl Field for Option<CpuQuota> {
    fn read(value: &Value) -> Result<Self, String> {
        Option::<String>::read(value)?.map(|text| CpuQuota::read(&text)).transpose()
    }

    fn show(&self) -> Value {
        self.map(CpuQuota::show).into()
    }
}

impl Field for Option<Cpus> {
    fn read(value: &Value) -> Result<Self, String> {
        Option::<String>::read(value)?.map(|text| Cpus::read(&text)).transpose()
    }

    fn show(&self) -> Value {
        self.as_ref().map(Cpus::show).into()
    }
}

impl Field for f64 {
    fn read(value: &Value) -> Result<Self, String> {
        bounded_seconds(value).map_or_else(|| refused(value), Ok)
    }

    fn show(&self) -> Value {
        (*self).into()
    }
}

impl Field for String {
    fn read(value: &Value) -> Result<Self, String> {
        value.as_str().map_or_else(|| refused(value), |text| Ok(text.into()))
    }

    fn show(&self) -> Value {
        self.as_str().into()
    }
}

/// An empty text is no text.
impl Field for Option<String> {
    fn read(value: &Value) -> Result<Self, String> {
        Ok(value.as_str().filter(|text| !text.is_empty()).map(Into::into))
    }

    fn show(&self) -> Value {
        self.as_deref().into()
    }
}

impl Field for Signal {
    fn read(value: &Value) -> Result<Self, String> {
        i32::read(value).map(Self)
    }

    fn show(&self) -> Value {
        self.0.into()
    }
}

impl Field for Option<Account> {
    fn read(value: &Value) -> Result<Self, String> {
        match value.as_str() {
            Some("") => Ok(None),
            Some(name) => Ok(Some(Account::Name(name.into()))),
            None => Ok(Some(Account::Number(u32::read(value)?))),
        }
    }

    fn show(&self) -> Value {
        match self {
            None => Value::Null,
            Some(Account::Number(number)) => (*number).into(),
            Some(Account::Name(name)) => name.as_str().into(),
        }
    }
}

impl Field for Option<Args> {
    fn read(value: &Value) -> Result<Self, String> {
        match value {
            Value::Null => Ok(None),
            Value::String(text) => Ok(Some(Args::Text(text.clone()))),
            Value::Array(words) => Ok(Some(Args::List(words.iter().map(python::display).collect()))),
            Value::Bool(_) | Value::Number(_) | Value::Object(_) => refused(value),
        }
    }

    fn show(&self) -> Value {
        match self {
            None => Value::Null,
            Some(Args::Text(text)) => text.as_str().into(),
            Some(Args::List(words)) => words.iter().map(String::as_str).collect(),
        }
    }
}

impl Field for Option<BTreeMap<String, String>> {
    fn read(value: &Value) -> Result<Self, String> {
        match value {
            Value::Null => Ok(None),
            Value::Object(map) => {
                let text = |(name, value): (&String, &Value)| Ok((name.clone(), String::read(value)?));
                Ok(Some(map.iter().map(text).collect::<Result<Vec<_>, String>>()?.into_iter().collect_map()))
            }
            Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => refused(value),
        }
    }

    fn show(&self) -> Value {
        match self {
            None => Value::Null,
            Some(map) => Value::Object(map.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect()),
        }
    }
}

/// Names of sockets, which are always in lower case.
impl Field for Vec<String> {
    fn read(value: &Value) -> Result<Self, String> {
        match value {
            Value::String(text) => {
                let names = text.split(',').map(|name| python::trim(name).to_lowercase());
                Ok(names.filter(|name| !name.is_empty()).collect())
            }
            Value::Array(names) => names.iter().map(|name| Ok(String::read(name)?.to_lowercase())).collect(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => refused(value),
        }
    }

    fn show(&self) -> Value {
        self.iter().map(String::as_str).collect()
    }
}

/// Exit statuses, each once and in order.
impl Field for Vec<u8> {
    fn read(value: &Value) -> Result<Self, String> {
        let code = |value: &Value| i64::read(value)?.try_into().or_else(|_| out_of_range(value));
        let mut codes: Self = match value {
            Value::String(text) => return Self::read(&Kind::Codes.read(text)?),
            Value::Number(_) | Value::Bool(_) => vec![code(value)?],
            Value::Array(codes) => codes.iter().map(code).collect::<Result<_, _>>()?,
            Value::Null | Value::Object(_) => return refused(value),
        };
        codes.sort_unstable();
        codes.dedup();
        Ok(codes)
    }

    fn show(&self) -> Value {
        self.iter().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_keep_within_their_fields() {
        assert_eq!(u16::read(&json!(65535)), Ok(65535));
        assert_eq!(u16::read(&json!(65536)), Err("65536 is out of range".into()));
        assert_eq!(u32::read(&json!(-1)), Err("-1 is out of range".into()));
        assert_eq!(i64::read(&json!(true)), Ok(1));
        assert_eq!(i64::read(&json!(u64::MAX)), Err("18446744073709551615 is out of range".into()));
        assert_eq!(f64::read(&json!(1e300)), Ok(1e9));
    }

    #[test]
    fn three_ways_to_respawn_and_any_exit_status() {
        for (value, respawn) in
            [(json!(true), Respawn::Always), (json!(false), Respawn::Never), (json!("on-failure"), Respawn::OnFailure)]
        {
            assert_eq!(Respawn::read(&value), Ok(respawn));
            assert_eq!(respawn.show(), value);
        }
        assert!(Respawn::read(&json!("always")).is_err());
        for (value, codes) in
            [(json!("3, 0,3"), vec![0, 3]), (json!([7, 0]), vec![0, 7]), (json!(5), vec![5]), (json!(""), vec![])]
        {
            assert_eq!(Vec::<u8>::read(&value), Ok(codes), "{value}");
        }
        assert_eq!(Vec::<u8>::read(&json!("0, 256")), Err("256 is out of range".into()));
        assert_eq!(Vec::<u8>::read(&json!([-1])), Err("-1 is out of range".into()));
    }

    #[test]
    fn arguments_and_accounts() {
        assert_eq!(Option::<Args>::read(&json!(["a", 1])), Ok(Some(Args::List(vec!["a".into(), "1".into()]))));
        assert_eq!(Option::<Account>::read(&json!("")), Ok(None));
        assert_eq!(Option::<Account>::read(&json!(0)), Ok(Some(Account::Number(0))));
        assert_eq!(Vec::<String>::read(&json!("Web, api")), Ok(vec!["web".into(), "api".into()]));
    }
}
