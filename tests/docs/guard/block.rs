//! Generated blocks of README. The comparison in `benches/side_by_side` writes its tables with this as well.

/// A text whose block of this name has this body; `None` where the text has no such block.
///
/// A block stands between `<!-- begin NAME -->` and `<!-- end NAME -->`, each on a line of its own. The body ends with a
/// newline.
pub(crate) fn with_block(text: &str, name: &str, body: &str) -> Option<String> {
    let begin = format!("<!-- begin {name} -->\n");
    let end = format!("<!-- end {name} -->\n");
    let (before, rest) = text.split_once(&begin)?;
    let (_, after) = rest.split_once(&end)?;
    Some(format!("{before}{begin}\n{body}\n{end}{after}"))
}
