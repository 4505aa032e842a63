//! Lanes that wait for each other, where that is not refused: somebody has to say
//! so (S16).

#[expect(dead_code, reason = "other files read more of a line")]
mod tap;

use std::time::Duration;

use laneway::{Lane, LaneConfig, Lanes, OnDeadlock};
use tap::Log;

const MINUTE: Duration = Duration::from_secs(60);
const BLOCKED: &str = "lane dispatch blocked";
const DEADLOCK: &str = "deadlock";

fn lanes() -> (Lanes, Lane, Lane) {
    let lanes = Lanes::builder()
        .lane("a", LaneConfig::new(1))
        .lane("b", LaneConfig::new(1))
        .on_deadlock(OnDeadlock::Warn)
        .build()
        .unwrap();
    let (a, b) = (lanes.lane("a").unwrap(), lanes.lane("b").unwrap());
    (lanes, a, b)
}

#[tokio::test(start_paused = true)]
async fn s16_a_task_that_waits_for_its_own_lane_is_named() {
    let log = Log::tap();
    let (_lanes, a, _b) = lanes();
    let again = a.clone();
    let holder = a.task().name("outer").spawn(async move |_| {
        let _ = again.run(async |_| ()).await;
    });
    tokio::time::sleep(MINUTE).await;
    let lines = log.warnings();
    let [deadlock, blocked] = &lines[..] else {
        panic!("{lines:?}");
    };
    let circle = format!(
        "task {} \"outer\" in lane \"a\" waits for lane \"a\"",
        holder.id()
    );
    assert_eq!(deadlock.message(), DEADLOCK);
    deadlock.assert_fields(&[("lane", "a"), ("cycle", &circle), ("refused", "false")]);
    assert_eq!(blocked.message(), BLOCKED);
    blocked.assert_fields(&[
        ("lane", "a"),
        ("root", "a"),
        ("holder", &holder.id().to_string()),
        ("holder_name", "outer"),
    ]);
}

#[tokio::test(start_paused = true)]
async fn s16_of_two_lanes_that_wait_for_each_other_one_speaks() {
    let log = Log::tap();
    let (_lanes, a, b) = lanes();
    let nested = |outer: &Lane, inner: &Lane| {
        let inner = inner.clone();
        outer.spawn(async move |_| {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let _ = inner.run(async |_| ()).await;
        })
    };
    let _both = (nested(&a, &b), nested(&b, &a));
    tokio::time::sleep(MINUTE * 30).await;
    let lines = log.warnings();
    assert_eq!(lines[0].message(), DEADLOCK);
    let lines = &lines[1..];
    assert!(!lines.is_empty());
    let speaker = lines[0].get("lane").to_owned();
    let other = if speaker == "a" { "b" } else { "a" };
    for line in lines {
        assert_eq!(line.message(), BLOCKED);
        line.assert_fields(&[("lane", &speaker), ("root", other)]);
    }
}
