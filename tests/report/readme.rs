
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_block_changes() {
        let text = "a\n<!-- begin x -->\n\nold\n\n<!-- end x -->\nb\n";
        let new = with_block(text, "x", "new\n").unwrap();
        assert_eq!(new, "a\n<!-- begin x -->\n\nnew\n\n<!-- end x -->\nb\n");
        assert_eq!(with_block(text, "y", "new"), None);
    }
}
