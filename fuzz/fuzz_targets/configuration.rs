//! Arbitrary settings through the public surface: each is refused with a typed
//! error and nothing half applied, or it works (S18).

#![no_main]

use std::time::Duration;

use arbitrary::Arbitrary;
use laneway::{LaneConfig, LaneTimeout, Lanes, OnFull, OnStall, Priority, Timeout};
use libfuzzer_sys::fuzz_target;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Zero, the longest there is, and everything between.
#[derive(Clone, Copy, Debug, Arbitrary)]
enum Span {
    Zero,
    Longest,
    Nanos(u64),
    Millis(u16),
    Seconds(u64),
}

#[derive(Clone, Copy, Debug, Arbitrary)]
struct Parts {
    idle: Option<Span>,
    budget: Option<Span>,
    wait: Option<Span>,
    grace: Option<Span>,
}

#[derive(Clone, Debug, Arbitrary)]
struct Settings {
    name: String,
    max_concurrent: usize,
    max_orphans: Option<usize>,
    strict: bool,
    ceiling: Option<Span>,
    no_ceiling: bool,
    on_stall: u8,
    timeout: Option<Parts>,
    teardown: Option<Span>,
    warn_after: Option<Span>,
    aging: Option<Span>,
    pinned: bool,
    queue_capacity: Option<usize>,
    waits: bool,
}

/// Of few letters, so that two of them meet.
#[derive(Clone, Debug, Arbitrary)]
struct Pattern {
    prefix: Vec<bool>,
    suffix: Vec<bool>,
    settings: Settings,
}

/// What is set anew.
#[derive(Clone, Debug, Arbitrary)]
enum Change {
    Resize(String, usize),
    Add(Settings),
    Remove(String),
    Pattern(Pattern),
    RemovePattern(Pattern),
}

#[derive(Clone, Debug, Arbitrary)]
struct Options {
    name: Option<String>,
    key: Option<String>,
    priority: u8,
    timeout: Option<Parts>,
    ceiling: Option<Span>,
    warn_after: Option<Span>,
    waited: Option<Span>,
}

#[derive(Clone, Debug, Arbitrary)]
struct Input {
    lanes: Vec<Settings>,
    default: Option<Settings>,
    patterns: Vec<Pattern>,
    changes: Vec<Change>,
    observe_only: bool,
    fence: Option<u64>,
    max_orphans: Option<usize>,
    asked: String,
    options: Options,
    resized: Option<usize>,
    paused: Option<Span>,
}

fn span(span: Span) -> Duration {
    match span {
        Span::Zero => Duration::ZERO,
        Span::Longest => Duration::MAX,
        Span::Nanos(nanos) => Duration::from_nanos(nanos),
        Span::Millis(millis) => Duration::from_millis(millis.into()),
        Span::Seconds(seconds) => Duration::from_secs(seconds),
    }
}

fn timeout(parts: Parts) -> LaneTimeout {
    // A grace of the default's is where every lane timeout can begin.
    let mut timeout = Timeout::grace(parts.grace.map_or(Duration::from_secs(5), span));
    if let Some(idle) = parts.idle {
        timeout = timeout.idle(span(idle));
    }
    if let Some(budget) = parts.budget {
        timeout = timeout.budget(span(budget));
    }
    if let Some(wait) = parts.wait {
        timeout = timeout.wait(span(wait));
    }
    timeout
}

fn config(settings: &Settings) -> LaneConfig {
    let mut config = LaneConfig::new(settings.max_concurrent);
    if let Some(bound) = settings.max_orphans {
        config = config.max_orphans(bound);
    }
    if settings.strict {
        config = config.strict();
    }
    if let Some(ceiling) = settings.ceiling {
        config = config.stall_ceiling(span(ceiling));
    }
    if settings.no_ceiling {
        config = config.no_stall_ceiling();
    }
    config = config.on_stall(match settings.on_stall % 3 {
        0 => OnStall::Reclaim,
        1 => OnStall::Detach,
        _ => OnStall::WarnOnly,
    });
    if let Some(parts) = settings.timeout {
        config = config.timeout(timeout(parts));
    }
    if let Some(teardown) = settings.teardown {
        config = config.teardown(span(teardown));
    }
    if let Some(warn_after) = settings.warn_after {
        config = config.warn_after(span(warn_after));
    }
    if let Some(aging) = settings.aging {
        config = config.aging(span(aging));
    }
    if settings.pinned {
        config = config.pinned();
    }
    if let Some(capacity) = settings.queue_capacity {
        config = config.queue_capacity(capacity);
    }
    if settings.waits {
        config = config.on_full(OnFull::Wait);
    }
    config
}

impl Pattern {
    fn text(&self) -> String {
        let letters = |letters: &[bool]| -> String {
            letters.iter().map(|a| if *a { 'a' } else { 'b' }).collect()
        };
        format!("{}*{}", letters(&self.prefix), letters(&self.suffix))
    }
}

/// All of it or nothing.
fn set_anew(lanes: &Lanes, changes: &[Change]) {
    let before = format!("{:?}", lanes.snapshot());
    let told = lanes.reconfigure(|draft| {
        for change in changes.iter().cloned() {
            match change {
                Change::Resize(name, slots) => {
                    draft.lane(name).max_concurrent(slots);
                }
                Change::Add(settings) => draft.add_lane(settings.name.clone(), config(&settings)),
                Change::Remove(name) => draft.remove_lane(name),
                Change::Pattern(pattern) => {
                    draft.pattern(pattern.text(), config(&pattern.settings));
                }
                Change::RemovePattern(pattern) => draft.remove_pattern(pattern.text()),
            }
        }
    });
    if told.is_err() {
        assert_eq!(format!("{:?}", lanes.snapshot()), before, "half applied");
    }
}

async fn configure(input: Input) {
    let mut builder = Lanes::builder();
    for settings in &input.lanes {
        builder = builder.lane(settings.name.clone(), config(settings));
    }
    if let Some(settings) = &input.default {
        builder = builder.default_lane(config(settings));
    }
    for pattern in &input.patterns {
        builder = builder.pattern(pattern.text(), config(&pattern.settings));
    }
    if input.observe_only {
        builder = builder.observe_only();
    }
    if let Some(fence) = input.fence {
        builder = builder.fence_start(fence);
    }
    if let Some(bound) = input.max_orphans {
        builder = builder.max_orphans(bound);
    }
    let Ok(lanes) = builder.build() else { return };
    let names: Vec<&str> = input.lanes.iter().map(|lane| lane.name.as_str()).collect();
    for name in names.iter().copied().chain([input.asked.as_str()]) {
        let Ok(lane) = lanes.lane(name) else {
            assert!(!names.contains(&name), "a lane that was accepted is there");
            continue;
        };
        let before = lane.snapshot().max_concurrent;
        if let Some(most) = input.resized {
            let resized = lane.set_max_concurrent(most);
            let after = lane.snapshot().max_concurrent;
            assert_eq!(
                after,
                if resized.is_ok() { most } else { before },
                "half applied"
            );
        }
        if let Some(pause) = input.paused
            && lane.pause_for(span(pause)).is_err()
        {
            assert!(!lane.snapshot().paused, "half applied");
        }
        lane.resume();
        works(&lane, &input.options).await;
    }
    set_anew(&lanes, &input.changes);
    for name in ["", "a", "b", "ab", "aba"].into_iter().chain(names) {
        if let Ok(lane) = lanes.lane(name) {
            lane.resume();
            works(&lane, &input.options).await;
        }
    }
}

/// A task that is submitted runs to its end, or its submitter is told why not.
async fn works(lane: &laneway::Lane, options: &Options) {
    let mut task = lane.task().priority(match options.priority % 3 {
        0 => Priority::Foreground,
        1 => Priority::Normal,
        _ => Priority::Background,
    });
    if let Some(name) = &options.name {
        task = task.name(name.as_str());
    }
    if let Some(key) = &options.key {
        task = task.key(key.as_str());
    }
    if let Some(parts) = options.timeout {
        task = task.timeout(timeout(parts));
    }
    if let Some(ceiling) = options.ceiling {
        task = task.stall_ceiling(span(ceiling));
    }
    if let Some(warn_after) = options.warn_after {
        task = task.warn_after(span(warn_after));
    }
    if let Some(waited) = options.waited {
        task = task.waited(span(waited));
    }
    let open = lane.snapshot().max_concurrent > 0;
    let waits = options.timeout.and_then(|parts| parts.wait).map(span);
    let told = tokio::time::timeout(DAY, task.run(async |_| 7)).await;
    match &told {
        Ok(Ok(value)) => assert_eq!(*value, 7),
        Ok(Err(_)) => {}
        // A lane of no slots lets its tasks wait for as long as they are told.
        Err(_) => assert!(
            !open && waits.is_none_or(|wait| wait >= DAY),
            "S7: it never ends"
        ),
    }
    let left = lane.snapshot();
    assert_eq!((left.queued.len(), left.active.len()), (0, 0), "{told:?}");
    if open {
        let plain = lane.task().no_stall_ceiling().run(async |_| 7);
        let plain = tokio::time::timeout(DAY, plain).await;
        assert!(matches!(plain, Ok(Ok(7))), "S18: {plain:?}");
    }
}

fuzz_target!(|input: Input| {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(configure(input));
});
