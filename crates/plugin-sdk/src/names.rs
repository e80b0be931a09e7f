//! From watchers as topics spell them to their names.

use std::collections::HashMap;

use super::Client;
use circus_core::proto::resource_name;

/// The names of watchers, asked for when one is met that is new.
#[derive(Debug, Default)]
pub struct Names(HashMap<String, String>);

impl Names {
    /// The name by which requests know a watcher. One that cannot be found is taken as it is spelt.
    pub fn of(&mut self, resource: &str, client: &mut dyn Client) -> String {
        if !self.0.contains_key(resource) && resource.contains('_') {
            let watchers = client.watchers().unwrap_or_default();
            self.0.extend(watchers.into_iter().map(|name| (resource_name(&name), name)));
        }
        self.0.get(resource).map_or_else(|| resource.to_owned(), String::clone)
    }

    /// A watcher has gone; another of its spelling may have another name.
    pub fn forget(&mut self, resource: &str) {
        self.0.remove(resource);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::FakeClient;

    #[test]
    fn an_underscore_may_be_a_space() {
        let (mut names, mut client) = (Names::default(), FakeClient::default());
        client.answer("list", json!({"status": "ok", "watchers": ["my web", "a_b"]}));
        assert_eq!(names.of("my_web", &mut client), "my web");
        assert_eq!(names.of("a_b", &mut client), "a_b");
        assert_eq!(names.of("web", &mut client), "web");
        assert_eq!(client.take_sent().len(), 1);
    }
}
