//! The names of users by number, each looked up once: a look-up may ask the network.

use std::collections::HashMap;
use std::sync::Arc;

use crate::user::user_name;

/// More users than these are forgotten, all at once.
const CAPACITY: usize = 1024;

/// The names that are known.
#[derive(Debug, Default)]
pub(super) struct Users(HashMap<u32, Arc<str>>);

impl Users {
    /// The user's name; the number where it has none.
    pub(super) fn name(&mut self, uid: u32) -> Arc<str> {
        if self.0.len() >= CAPACITY && !self.0.contains_key(&uid) {
            self.0.clear();
        }
        let name =
            self.0.entry(uid).or_insert_with(|| user_name(uid).map_or_else(|| uid.to_string().into(), Into::into));
        Arc::clone(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        let mut users = Users::default();
        assert_eq!(&*users.name(0), "root");
        assert_eq!(&*users.name(4_000_000_000), "4000000000");
        let room = u32::try_from(CAPACITY).unwrap();
        for uid in 0..room {
            users.0.insert(3_000_000_000 + uid, "x".into());
        }
        assert_eq!(&*users.name(3_000_000_000), "x");
        assert_eq!(&*users.name(1), &*user_name(1).unwrap());
        assert_eq!(users.0.len(), 1);
    }
}
