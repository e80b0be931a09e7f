//! Keys, from the bytes that a terminal sends for them.
//!
//! Not crossterm's own reader: it waits in a loop of its own, and for ever where the terminal has hung up.

/// A key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Char(char),
    Enter,
    Escape,
    Backspace,
    Up,
    Down,
    Left,
    Right,
    PageUp,
    PageDown,
    Home,
    End,
    /// F1.
    Help,
    /// Control and C.
    Interrupt,
    /// Control and L.
    Redraw,
    Tab,
    /// Shift and Tab.
    BackTab,
}

/// Makes keys of bytes, which may come in pieces.
#[derive(Debug, Default)]
pub(super) struct Keys {
    pending: Vec<u8>,
}

/// What stands at the beginning of some bytes.
enum Parsed {
    /// So many of them are this key, or no key that is known.
    Taken(usize, Option<Key>),
    /// More has to come.
    Incomplete,
}

/// Longer is no key of any terminal.
const LONGEST: usize = 32;

impl Keys {
    pub(super) fn read(&mut self, bytes: &[u8]) -> Vec<Key> {
        self.pending.extend_from_slice(bytes);
        let mut keys = Vec::new();
        let mut at = 0;
        while let Some(rest) = self.pending.get(at..).filter(|rest| !rest.is_empty()) {
            match parse(rest) {
                Parsed::Taken(length, key) => {
                    at += length;
                    keys.extend(key);
                }
                Parsed::Incomplete if rest.len() > LONGEST => at += rest.len(),
                Parsed::Incomplete => break,
            }
        }
        self.pending.drain(..at.min(self.pending.len()));
        keys
    }
}

fn parse(bytes: &[u8]) -> Parsed {
    match bytes {
        // A terminal sends the bytes of other keys in one piece with ESC.
        [0x1b] => Parsed::Taken(1, Some(Key::Escape)),
        [0x1b, b'[', rest @ ..] => sequence(rest),
        [0x1b, b'O', letter, ..] => Parsed::Taken(3, lettered(*letter)),
        [0x1b, b'O'] => Parsed::Incomplete,
        // With Alt: the key itself.
        [0x1b, rest @ ..] => match parse(rest) {
            Parsed::Taken(length, key) => Parsed::Taken(length + 1, key),
            Parsed::Incomplete => Parsed::Incomplete,
        },
        [b'\r' | b'\n', ..] => Parsed::Taken(1, Some(Key::Enter)),
        [0x7f | 0x08, ..] => Parsed::Taken(1, Some(Key::Backspace)),
        [0x03, ..] => Parsed::Taken(1, Some(Key::Interrupt)),
        [0x0c, ..] => Parsed::Taken(1, Some(Key::Redraw)),
        [b'\t', ..] => Parsed::Taken(1, Some(Key::Tab)),
        [0..0x20, ..] => Parsed::Taken(1, None),
        _ => character(bytes),
    }
}

/// What follows ESC and a bracket.
fn sequence(rest: &[u8]) -> Parsed {
    let Some(end) = rest.iter().position(|byte| (0x40..=0x7e).contains(byte)) else { return Parsed::Incomplete };
    let (parameters, letter) = (rest.get(..end).unwrap_or_default(), rest.get(end).copied().unwrap_or_default());
    let first = parameters.split(|byte| *byte == b';').next().unwrap_or_default();
    let key = match (letter, first) {
        (b'~', b"1" | b"7") => Some(Key::Home),
        (b'~', b"4" | b"8") => Some(Key::End),
        (b'~', b"5") => Some(Key::PageUp),
        (b'~', b"6") => Some(Key::PageDown),
        (b'~', b"11") => Some(Key::Help),
        (b'~', _) => None,
        (letter, _) => lettered(letter),
    };
    // The linux console sends F1 as ESC [ [ A.
    match rest {
        [b'[', b'A', ..] => Parsed::Taken(4, Some(Key::Help)),
        [b'[', _, ..] => Parsed::Taken(4, None),
        [b'['] => Parsed::Incomplete,
        _ => Parsed::Taken(end + 3, key),
    }
}

fn lettered(letter: u8) -> Option<Key> {
    match letter {
        b'A' => Some(Key::Up),
        b'B' => Some(Key::Down),
        b'C' => Some(Key::Right),
        b'D' => Some(Key::Left),
        b'H' => Some(Key::Home),
        b'F' => Some(Key::End),
        b'P' => Some(Key::Help),
        b'Z' => Some(Key::BackTab),
        _ => None,
    }
}

fn character(bytes: &[u8]) -> Parsed {
    let first = bytes.first().copied().unwrap_or_default();
    let length = match first {
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => 1,
    };
    let Some(bytes) = bytes.get(..length) else { return Parsed::Incomplete };
    match std::str::from_utf8(bytes).ok().and_then(|text| text.chars().next()) {
        Some(character) => Parsed::Taken(length, Some(Key::Char(character))),
        None => Parsed::Taken(1, None),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn keys_of_terminals() {
        for (bytes, key) in [
            (&b"\x1b[A"[..], Key::Up),
            (b"\x1bOB", Key::Down),
            (b"\x1b[1;5C", Key::Right),
            (b"\x1b[H", Key::Home),
            (b"\x1b[4~", Key::End),
            (b"\x1b[5~", Key::PageUp),
            (b"\x1b[6;2~", Key::PageDown),
            (b"\x1bOP", Key::Help),
            (b"\x1b[[A", Key::Help),
            (b"\x1b", Key::Escape),
            (b"\r", Key::Enter),
            (b"\x7f", Key::Backspace),
            (b"\x03", Key::Interrupt),
            ("é".as_bytes(), Key::Char('é')),
            (b"\x1bx", Key::Char('x')),
        ] {
            assert_eq!(Keys::default().read(bytes), [key], "{bytes:?}");
        }
        assert_eq!(Keys::default().read(b"\x1b[99~\x1b[[B\x00\xff"), []);
    }

    #[test]
    fn keys_in_pieces_are_assembled() {
        let mut keys = Keys::default();
        assert_eq!(keys.read(b"a\x1b["), [Key::Char('a')]);
        assert_eq!(keys.read(b"5"), []);
        assert_eq!(keys.read(b"~b\xe2\x82"), [Key::PageUp, Key::Char('b')]);
        assert_eq!(keys.read(b"\xac"), [Key::Char('€')]);
    }

    proptest! {
        #[test]
        fn no_bytes_are_a_panic_or_kept_for_ever(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut keys = Keys::default();
            for piece in bytes.chunks(7) {
                keys.read(piece);
                prop_assert!(keys.pending.len() <= LONGEST + 7);
            }
        }
    }
}
