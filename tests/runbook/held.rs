//! The rest of the page, held to the sources: what it quotes, names and leads to.

use std::fs;
use std::path::Path;

use crate::quoted::{blocks, flat, has};

const PAGE: &str = include_str!("../../docs/runbook.md");
const README: &str = include_str!("../../README.md");

/// What the page quotes of the tests is in them, and each text of it is of one of them.
#[test]
fn all_that_the_page_shows_is_held_to_something() {
    let source = include_str!("main.rs");
    let mut code = 0;
    for (kind, block) in blocks(PAGE) {
        match kind.split_once(' ') {
            Some(("text", name)) => {
                let shown = format!(".must_be_shown_as({name:?})");
                assert!(source.contains(&shown), "nothing says {name:?}");
            }
            _ => {
                assert_eq!(kind, "rust", "what is\n{block}");
                assert!(has(&flat(source), block), "this file has no\n{block}");
                code += 1;
            }
        }
    }
    assert!(code > 0, "it quotes no code");
}

/// Calls that the page names exist, and so do the words that it quotes.
#[test]
fn what_the_page_names_is_in_the_sources() {
    let mut sources = String::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                sources += &fs::read_to_string(path).unwrap();
            }
        }
    }
    // What is between the blocks.
    let prose: String = PAGE.split("```").step_by(2).collect();
    let (mut calls, mut words) = (0, 0);
    for span in prose.split('`').skip(1).step_by(2) {
        // `lanes.lane(name)?.explain()` is two calls.
        let called = span.split('(').rev().skip(1);
        for call in called.filter_map(|call| Some(call.rsplit_once(['.', ':'])?.1)) {
            let is_there = [format!("fn {call}("), format!("fn {call}<")];
            let is_there = is_there.iter().any(|there| sources.contains(there));
            assert!(is_there, "no {call:?}, of {span:?}");
            calls += 1;
        }
        if span.contains(' ') && !span.contains(['(', '{']) {
            assert!(sources.contains(span), "nothing says {span:?}");
            words += 1;
        }
    }
    assert!(
        calls > 20 && words > 20,
        "it names {calls} calls, {words} words"
    );
}

#[test]
fn its_links_lead_somewhere() {
    let mut links = 0;
    for link in PAGE.split("](").skip(1) {
        let (link, _) = link.split_once(')').expect("an end");
        let (file, place) = link.split_once('#').unwrap_or((link, ""));
        let within = match file {
            "" => PAGE,
            "../README.md" => README,
            file => {
                let home = Path::new(env!("CARGO_MANIFEST_DIR"));
                assert!(home.join("docs").join(file).exists(), "no {file}");
                continue;
            }
        };
        let heads = within.lines().filter_map(|line| line.split_once("# "));
        let mut heads = heads.map(|(_, head)| anchor(head));
        assert!(heads.any(|head| head == place), "{link} leads nowhere");
        links += 1;
    }
    assert!(links > 20, "it has {links} links");
}

/// As GitHub makes them of headings.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter_map(|c| match c {
        ' ' => Some('-'),
        c if c.is_alphanumeric() || c == '-' => Some(c.to_ascii_lowercase()),
        _ => None,
    });
    kept.collect()
}
