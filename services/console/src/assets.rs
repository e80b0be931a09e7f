//! The pages, in the program.

use axum::http::HeaderValue;

/// A file of the pages.
pub(crate) struct Asset {
    pub(crate) kind: HeaderValue,
    pub(crate) body: &'static str,
}

const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
const CSS: HeaderValue = HeaderValue::from_static("text/css; charset=utf-8");
const SCRIPT: HeaderValue = HeaderValue::from_static("text/javascript; charset=utf-8");
const SVG: HeaderValue = HeaderValue::from_static("image/svg+xml");

/// The one page.
pub(crate) const PAGE: Asset = Asset { kind: HTML, body: include_str!("../assets/index.html") };

/// The file of this name below `static/`. Names are compared, and lead to no file system.
pub(crate) fn find(name: &str) -> Option<Asset> {
    let (kind, body) = match name {
        "console.css" => (CSS, include_str!("../assets/console.css")),
        "icon.svg" => (SVG, include_str!("../assets/icon.svg")),
        "main.js" => (SCRIPT, include_str!("../assets/main.js")),
        "net.js" => (SCRIPT, include_str!("../assets/net.js")),
        "model.js" => (SCRIPT, include_str!("../assets/model.js")),
        "dom.js" => (SCRIPT, include_str!("../assets/dom.js")),
        "table.js" => (SCRIPT, include_str!("../assets/table.js")),
        "plot.js" => (SCRIPT, include_str!("../assets/plot.js")),
        "act.js" => (SCRIPT, include_str!("../assets/act.js")),
        "overview.js" => (SCRIPT, include_str!("../assets/overview.js")),
        "watcher.js" => (SCRIPT, include_str!("../assets/watcher.js")),
        "tail.js" => (SCRIPT, include_str!("../assets/tail.js")),
        "events.js" => (SCRIPT, include_str!("../assets/events.js")),
        "configuration.js" => (SCRIPT, include_str!("../assets/configuration.js")),
        _ => return None,
    };
    Some(Asset { kind, body })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_nowhere_else() {
        assert!(find("main.js").is_some());
        for name in ["", "../Cargo.toml", "..%2fCargo.toml", "main.js/", "MAIN.JS", "/etc/passwd"] {
            assert!(find(name).is_none(), "{name}");
        }
    }

    /// The policy of the pages allows no script or style in them, and nothing from elsewhere.
    #[test]
    fn pages_have_neither_scripts_nor_styles_of_their_own() {
        let page = PAGE.body;
        for part in ["<script>", "<style", "style=", "onclick", "javascript:", "http://", "https://"] {
            assert!(!page.contains(part), "{part}");
        }
        let names = page.split("static/").skip(1).filter_map(|rest| rest.split('"').next());
        for name in names {
            assert!(find(name).is_some(), "{name}");
        }
    }

    /// What workers print and what files say goes into pages as text only.
    #[test]
    fn scripts_make_no_html_of_texts() {
        for name in [
            "main.js",
            "net.js",
            "model.js",
            "dom.js",
            "table.js",
            "plot.js",
            "act.js",
            "overview.js",
            "watcher.js",
            "tail.js",
            "events.js",
            "configuration.js",
        ] {
            let body = find(name).unwrap().body;
            for part in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"] {
                assert!(!body.contains(part), "{name}: {part}");
            }
            let modules = body.split("from \"./").skip(1).filter_map(|rest| rest.split('"').next());
            for module in modules {
                assert!(find(module).is_some(), "{name}: {module}");
            }
        }
    }
}
