//! Which watchers a selection means.

use regex_lite::Regex;

use crate::config::fnmatch;
use crate::proto::{Fault, MatchMethod, Selection};

/// A test for watcher names in lower case. A regular expression matches from the start of the name, not always to its
/// end, and is refused where it is none.
pub fn matcher(selection: &Selection) -> Result<impl Fn(&str) -> bool, Fault> {
    let wanted = selection.name.to_lowercase();
    let regex = match selection.method {
        MatchMethod::Regex => {
            let anchored = Regex::new(&format!("^(?:{wanted})"));
            Some(anchored.map_err(|_| Fault::command(format!("'{wanted}' is not a regular expression")))?)
        }
        MatchMethod::Glob | MatchMethod::Simple => None,
    };
    let method = selection.method;
    Ok(move |name: &str| match (method, &regex) {
        (_, Some(regex)) => regex.is_match(name),
        (MatchMethod::Glob, None) => fnmatch(&wanted, name),
        (MatchMethod::Simple | MatchMethod::Regex, None) => wanted == name,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selects(method: MatchMethod, name: &str, watcher: &str) -> bool {
        matcher(&Selection { name: name.into(), method }).unwrap()(watcher)
    }

    #[test]
    fn each_method_matches_in_its_way() {
        assert!(selects(MatchMethod::Glob, "WEB[0-9]", "web1"));
        assert!(!selects(MatchMethod::Glob, "web", "web1"));
        assert!(selects(MatchMethod::Regex, "w.b", "web1"), "a regex is anchored at the start only");
        assert!(!selects(MatchMethod::Regex, "eb", "web1"));
        assert!(selects(MatchMethod::Regex, "(web|job)-[^é]+é.$", "web-caféé"), "names are text, not bytes");
        assert!(selects(MatchMethod::Simple, "My App", "my app"));
        assert!(!selects(MatchMethod::Simple, "web*", "web1"));
    }

    #[test]
    fn a_broken_regex_is_refused() {
        let selection = Selection { name: "[".into(), method: MatchMethod::Regex };
        assert_eq!(matcher(&selection).err().map(|fault| fault.errno as u8), Some(5));
    }
}
