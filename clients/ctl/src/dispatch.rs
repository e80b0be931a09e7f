//! What a command asks for, at one host.

use std::io;

use super::session::{Exit, Session, Streams, emit};
use super::{Globals, listen, tail, wait};
use circus_core::commands::{Action, CommandSpec, Invocation};

/// Does what a command asks for, at one host.
pub(super) fn dispatch(
    session: &mut Session<'_>,
    globals: &Globals,
    spec: &CommandSpec,
    invocation: &Invocation,
    streams: &mut Streams<'_>,
) -> io::Result<Exit> {
    if spec.console.follows {
        return tail::tail(session, globals, spec, invocation, streams);
    }
    match spec.console.action {
        Action::Await => wait::wait(session, globals, spec, invocation, streams),
        Action::Subscribe => listen::listen(session, globals, invocation, streams),
        Action::Call { .. } => {
            let outcome = session.call(globals, spec, invocation);
            emit(&outcome, session.environment.look, streams)
        }
    }
}
