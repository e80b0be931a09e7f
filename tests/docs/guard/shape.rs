//! What stands at the top of the checkout.

/// What stands at the top of the checkout, beside what begins with a dot.
pub(crate) const TOP: &[&str] = &[
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "SECURITY.md",
    "benches",
    "clients",
    "crates",
    "deny.toml",
    "docs",
    "examples",
    "man",
    "packaging",
    "plugins",
    "python",
    "rust-toolchain.toml",
    "services",
    "src",
    "tests",
];

/// Names that do not belong there.
pub(crate) fn strangers(names: &[String]) -> Vec<String> {
    let strangers = names.iter().filter(|name| !TOP.contains(&name.as_str()));
    strangers.map(|name| format!("{name}: does not belong at the top of the project")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_top_is_given() {
        assert!(TOP.is_sorted());
        assert_eq!(
            strangers(&["src".into(), "scripts".into()]),
            ["scripts: does not belong at the top of the project"]
        );
    }
}
