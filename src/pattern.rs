//! Which names a pattern stands for.

use std::fmt;

use crate::error::PatternProblem;
use crate::sync::Arc;

/// Text with exactly one `*`, which stands for any run of characters, also
/// none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pattern {
    text: Arc<str>,
    star: usize,
}

impl Pattern {
    pub(crate) fn new(text: &str) -> Result<Self, PatternProblem> {
        crate::error::check_name("a pattern", text)
            .map_err(|name| PatternProblem::Name(name.problem))?;
        let stars = text.matches('*').count();
        match text.find('*') {
            Some(star) if stars == 1 => Ok(Self {
                text: Arc::from(text),
                star,
            }),
            _ => Err(PatternProblem::Stars { stars }),
        }
    }

    pub(crate) const fn text(&self) -> &Arc<str> {
        &self.text
    }

    pub(crate) fn matches(&self, name: &str) -> bool {
        name.strip_prefix(self.prefix())
            .is_some_and(|rest| rest.ends_with(self.suffix()))
    }

    /// Of two patterns that match one name, and of which one is more specific,
    /// it is the one with more characters of its own.
    pub(crate) fn weight(&self) -> usize {
        self.text.len()
    }

    /// A name that both match, if neither is more specific than the other.
    pub(crate) fn quarrel(&self, other: &Self) -> Option<String> {
        let longer = |a: &'_ str, b: &'_ str| if a.len() < b.len() { b } else { a }.to_owned();
        let (p, q) = (self.prefix(), other.prefix());
        let (s, t) = (self.suffix(), other.suffix());
        let quarrel = self.meets(other) && !self.is_within(other) && !other.is_within(self);
        quarrel.then(|| longer(p, q) + &longer(s, t))
    }

    /// Some name is matched by both.
    pub(crate) fn meets(&self, other: &Self) -> bool {
        let (p, q) = (self.prefix(), other.prefix());
        let (s, t) = (self.suffix(), other.suffix());
        (p.starts_with(q) || q.starts_with(p)) && (s.ends_with(t) || t.ends_with(s))
    }

    /// Everything that this one matches, the other matches too: it begins and
    /// ends with the other's beginning and end, since what the star stands for
    /// may be anything.
    fn is_within(&self, other: &Self) -> bool {
        self.prefix().starts_with(other.prefix()) && self.suffix().ends_with(other.suffix())
    }

    fn prefix(&self) -> &str {
        &self.text[..self.star]
    }

    fn suffix(&self) -> &str {
        &self.text[self.star + 1..]
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pattern(text: &str) -> Pattern {
        Pattern::new(text).expect("a sound pattern")
    }

    #[test]
    fn the_star_stands_for_any_run_also_none() {
        let session = pattern("session:*");
        assert!(session.matches("session:") && session.matches("session:42"));
        assert!(!session.matches("session") && !session.matches("a session:42"));
        let around = pattern("a*a");
        assert!(around.matches("aa") && around.matches("aba"));
        assert!(!around.matches("a"), "its two ends do not overlap");
        assert!(pattern("*").matches("anything"));
        assert!(pattern("ü*é").matches("üé"));
    }

    #[test]
    fn s18_a_pattern_has_one_star() {
        let problem = |text: &str| Pattern::new(text).map(drop);
        assert_eq!(problem("main"), Err(PatternProblem::Stars { stars: 0 }));
        assert_eq!(problem("a*b*"), Err(PatternProblem::Stars { stars: 2 }));
        assert!(matches!(problem(""), Err(PatternProblem::Name(_))));
        assert!(matches!(problem("a\n*"), Err(PatternProblem::Name(_))));
    }

    /// Every name of up to this many letters; what two patterns of up to three
    /// letters each have to do with each other shows in them.
    fn names() -> Vec<String> {
        let mut all = vec![String::new()];
        let mut last = all.clone();
        for _ in 0..7 {
            let longer = |name: &String| ["a", "b"].map(|letter| name.clone() + letter);
            last = last.iter().flat_map(longer).collect();
            all.extend(last.clone());
        }
        all
    }

    proptest! {
        /// Against what the words mean, name by name.
        #[test]
        fn two_quarrel_where_some_name_is_of_both_and_neither_is_within(
            (p, s) in ("[ab]{0,2}", "[ab]{0,2}"),
            (q, t) in ("[ab]{0,2}", "[ab]{0,2}"),
        ) {
            let (one, other) = (pattern(&format!("{p}*{s}")), pattern(&format!("{q}*{t}")));
            let names = names();
            let both = names.iter().any(|name| one.matches(name) && other.matches(name));
            let within = |a: &Pattern, b: &Pattern| {
                names.iter().all(|name| !a.matches(name) || b.matches(name))
            };
            let comparable = within(&one, &other) || within(&other, &one);
            let quarrel = one.quarrel(&other);
            prop_assert_eq!(quarrel.is_some(), both && !comparable);
            if let Some(name) = quarrel {
                prop_assert!(one.matches(&name) && other.matches(&name), "{}", name);
            } else if both && one != other {
                let inner = if one.weight() > other.weight() { &one } else { &other };
                let outer = if one.weight() > other.weight() { &other } else { &one };
                prop_assert!(within(inner, outer), "the heavier is the more specific");
            }
        }
    }
}
