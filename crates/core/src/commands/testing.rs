//! What the commands' tests share.

use serde_json::Value;

use super::{Action, CommandSpec, Invocation, decode, message};
use crate::proto::{Envelope, Fault, Object, Request, RequestId};

fn decode_value(spec: &CommandSpec, properties: Value) -> Result<Request, Fault> {
    let properties: Object = serde_json::from_value(properties).unwrap();
    decode(&Envelope { id: RequestId::Absent, command: spec.name.into(), properties: Some(properties), cast: false })
}

/// The request that these properties are.
pub(super) fn decoded(spec: &CommandSpec, properties: Value) -> Request {
    decode_value(spec, properties).unwrap()
}

/// errno and reason of the refusal of these properties.
pub(super) fn refused(spec: &CommandSpec, properties: Value) -> (u8, String) {
    let fault = decode_value(spec, properties).unwrap_err();
    (fault.errno as u8, fault.reason)
}

/// The properties that circusctl sends. They always decode.
pub(super) fn sent(spec: &CommandSpec, invocation: Invocation) -> Value {
    let properties = Value::Object(message(spec, &invocation).unwrap());
    decode_value(spec, properties.clone()).unwrap();
    properties
}

/// These words are a usage error with this text.
pub(super) fn expect_usage(spec: &CommandSpec, words: &[&str], text: &str) {
    let error = message(spec, &Invocation::new(words.iter().copied())).unwrap_err();
    assert_eq!(error.to_string(), text, "{words:?}");
}

/// What circusctl prints of this answer.
pub(super) fn shown(spec: &CommandSpec, words: &[&str], reply: Value) -> String {
    match spec.console.action {
        Action::Call { show, .. } => show(&reply, &Invocation::new(words.iter().copied())),
        Action::Subscribe | Action::Await => panic!("{} is no call", spec.name),
    }
}
