//! What a whole command line asks for: at one host, at several, or of circusctl itself.

use std::io;

use super::dispatch::dispatch;
use super::session::{Session, Streams, emit};
use super::{Exit, Globals, Outcome, Parsed, SyntaxError, completion, hosts, text};
use circus_core::commands;
use circus_core::config::schema;

/// Does what a command line asks for. `defaults` hold where it says nothing.
pub(super) fn perform(
    session: &mut Session<'_>,
    parsed: Result<Parsed, SyntaxError>,
    defaults: &Globals,
    streams: &mut Streams<'_>,
) -> io::Result<Exit> {
    let outcome = match parsed {
        Err(SyntaxError(reason, spec)) => Outcome::failed(Exit::Usage, text::syntax(&reason, spec)),
        Ok(Parsed::Version) => Outcome::done(text::VERSION),
        Ok(Parsed::Help(Some(spec))) => Outcome::done(commands::command_help(spec).trim_end()),
        Ok(Parsed::Completion(asked)) => completion::complete(session, &asked),
        Ok(Parsed::Keygen(keygen)) => keygen.run(),
        Ok(Parsed::Import(import)) => import.run(),
        Ok(Parsed::Schema) => Outcome::done(&format!("{:#}", schema())),
        Ok(Parsed::Help(None) | Parsed::Shell(_)) => Outcome::done(text::help().trim_end()),
        Ok(Parsed::Command(globals, spec, invocation)) => {
            return match session.places(&globals.or(defaults)).as_deref() {
                Ok([globals]) => dispatch(session, globals, spec, &invocation, streams),
                Ok(several) => hosts::on_all(session, several, spec, &invocation, streams),
                Err(refusal) => emit(refusal, session.environment.look, streams),
            };
        }
    };
    emit(&outcome, session.environment.look, streams)
}
