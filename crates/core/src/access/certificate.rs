//! A file with one key, in the format of CZMQ and of pyzmq's zmq.auth (ZeroMQ RFC 4): `name = "value"` in sections.

use crate::config::fnmatch;

/// What a file with a key says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Certificate {
    /// What messages call the holder.
    pub name: Option<String>,
    /// What the holder may do.
    pub role: Option<String>,
    /// Patterns of watchers.
    pub watchers: Option<String>,
    /// The public key, in Z85.
    pub public: Option<String>,
    /// The secret key, in Z85.
    pub secret: Option<String>,
}

impl Certificate {
    /// Reads one. What it does not know it skips, as the format demands.
    pub fn parse(text: &str) -> Self {
        let mut certificate = Self::default();
        for line in text.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
            let Some((key, value)) = line.split_once('=') else { continue };
            let slot = match key.trim() {
                "name" => &mut certificate.name,
                "role" => &mut certificate.role,
                "watchers" => &mut certificate.watchers,
                "public-key" => &mut certificate.public,
                "secret-key" => &mut certificate.secret,
                _ => continue,
            };
            slot.get_or_insert_with(|| value.trim().trim_matches(['"', '\'']).to_owned());
        }
        certificate
    }

    /// Whether a text is one: it names a key.
    pub fn is_one(text: &str) -> bool {
        text.lines().any(|line| fnmatch("public-key*=*", line.trim()))
    }

    /// As a file has it, under a line of comment.
    pub fn text(&self, comment: &str) -> String {
        let line = |key: &str, value: &Option<String>| match value {
            Some(value) => format!("    {key} = \"{value}\"\n"),
            None => String::new(),
        };
        format!(
            "#   {comment}\n\nmetadata\n{}{}{}curve\n{}{}",
            line("name", &self.name),
            line("role", &self.role),
            line("watchers", &self.watchers),
            line("public-key", &self.public),
            line("secret-key", &self.secret),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificate_is_the_same_after_a_round() {
        let certificate = Certificate {
            name: Some("alice".into()),
            role: Some("operate".into()),
            watchers: Some("web* db".into()),
            public: Some("#=a".into()),
            secret: None,
        };
        let text = certificate.text("Alice's");
        assert_eq!(Certificate::parse(&text), certificate);
        assert!(Certificate::is_one(&text) && !Certificate::is_one("alice read public-key"));
    }

    #[test]
    fn certificate_of_pyzmq_is_read() {
        let text = "#   ****  Generated on 2026-01-01 by pyzmq  ****\n#   ZeroMQ CURVE Public Certificate\n\nmetadata\n\
                    curve\n    public-key = \"abc\"\n";
        assert_eq!(Certificate::parse(text), Certificate { public: Some("abc".into()), ..Certificate::default() });
    }
}
