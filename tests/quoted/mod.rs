//! Documents that quote what there is: code of sources, and what is printed.

/// What stands behind the opening fence, and what is in the block.
pub(crate) fn blocks(document: &str) -> impl Iterator<Item = (&str, &str)> {
    let fenced = document.split("```").skip(1).step_by(2);
    fenced.map(|block| block.split_once('\n').expect("a block"))
}

/// Without its indentation.
pub(crate) fn flat(text: &str) -> String {
    let lines = text.lines().map(|line| format!("{}\n", line.trim()));
    lines.collect()
}

/// Whether this source, made flat, has this code. Parts that are left out are between
/// parts that are there.
pub(crate) fn has(source: &str, code: &str) -> bool {
    let mut rest = Some(source);
    for part in flat(code).split("…\n") {
        rest = rest
            .and_then(|rest| rest.split_once(part))
            .map(|(_, rest)| rest);
    }
    rest.is_some()
}
