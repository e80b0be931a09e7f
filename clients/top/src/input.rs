//! What happens to a [`State`](super::state::State), and what it wants done.

use super::keys::Key;
use super::order::Order;
use circus_client::endpoint::Trouble;
use circus_core::proto::{Object, OutputEvent};

/// Something that has come.
#[derive(Debug)]
pub(super) enum Input<'a> {
    /// A message of circusd-stats.
    Stat {
        topic: &'a [u8],
        body: &'a [u8],
    },
    /// An event of circusd.
    Event {
        topic: &'a [u8],
        body: &'a [u8],
    },
    /// Of what workers print.
    Output(Heard),
    /// An answer of circusd to a question, or to an order.
    Answer(Asked, &'a Object),
    /// circusd did not answer in time, for this reason where one can be seen.
    Silence(Option<Trouble>),
    /// Something cannot be done, for this reason.
    Trouble(String),
    Key(Key),
    /// A second has passed, or about that.
    Tick,
}

/// What is asked of circusd without an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Question {
    Status,
    Sockets,
    Options,
}

impl Question {
    pub(super) const ALL: [Self; 3] = [Self::Status, Self::Sockets, Self::Options];

    pub(super) fn command(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Sockets => "listsockets",
            Self::Options => "globaloptions",
        }
    }
}

/// What was asked of circusd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Question(Question),
    /// The order of this number.
    Order(u64),
    /// The last lines of output, asked for under this number.
    Tail(u64),
    /// What went wrong in a watcher, asked for under this number.
    Why(u64),
}

/// What a subscriber to output receives.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Heard {
    /// From now on nothing is missed.
    Greeting,
    Lines(OutputEvent),
}

/// Something that is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// To be sent under this number.
    Order(u64, Order),
    /// circusd is to be asked anew, for there is news.
    Ask,
    /// circusd is to be asked, under this number, what went wrong in this watcher.
    Why(u64, String),
    /// Messages come from other places than was thought.
    Follow(Endpoints),
    /// Everything is to be drawn again.
    Redraw,
    Quit,
}

/// Where to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Endpoints {
    pub(super) control: String,
    pub(super) stats: String,
    pub(super) events: String,
}
