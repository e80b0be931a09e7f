//! Tables in README, between marks.

/// The text with this body between `<!-- begin NAME -->` and `<!-- end NAME -->`; `None` where it has no such marks.
pub(crate) fn with_block(text: &str, name: &str, body: &str) -> Option<String> {
    let begin = format!("<!-- begin {name} -->\n");
    let end = format!("<!-- end {name} -->\n");
    let (before, rest) = text.split_once(&begin)?;
    let (_, after) = rest.split_once(&end)?;
    Some(format!("{before}{begin}\n{}\n\n{end}{after}", body.trim()))
}
