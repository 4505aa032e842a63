//! How lanes are set, read from a file (S18).

#![cfg(feature = "serde")]

mod common;

use common::{MINUTE, SECOND};
use laneway::{
    ConfigError, GroupConfig, LaneConfig, LaneOrigin, Lanes, LanesConfig, OnStall, Timeout,
};

const WHOLE: &str = r#"
    [lanes.main]
    max_concurrent = 4
    stall_ceiling = "10m"
    on_stall = "detach"
    timeout = { idle = "5m", budget = "1h 30m", wait = "2m", grace = "1500ms" }
    teardown = "1s"
    warn_after = "2s"
    aging = "3s"
    max_orphans = 7

    [lanes.plain]
    max_concurrent = 2

    [patterns."session:*"]
    max_concurrent = 1
    max_orphans = 0
    pinned = true
    stall_ceiling = "none"

    [patterns."*"]
    max_concurrent = 9
"#;

fn read(toml: &str) -> LanesConfig {
    toml::from_str(toml).unwrap()
}

fn main_of(slots: usize) -> LanesConfig {
    read(&format!("lanes.main.max_concurrent = {slots}"))
}

fn names(lanes: &Lanes) -> Vec<String> {
    let lanes = lanes.snapshot().lanes;
    lanes.into_iter().map(|lane| lane.name).collect()
}

/// Every key, against the method of its name.
#[test]
fn what_is_written_is_what_the_builder_says() {
    let written: LaneConfig = toml::from_str(
        r#"
        max_concurrent = 4
        stall_ceiling = "10m"
        on_stall = "detach"
        timeout = { idle = "5m", budget = "1h 30m", wait = "2m", grace = "1500ms" }
        teardown = "1s"
        warn_after = "2s"
        aging = "3s"
        max_orphans = 7
        pinned = true
        "#,
    )
    .unwrap();
    let timeout = Timeout::idle(MINUTE * 5)
        .budget(MINUTE * 90)
        .wait(MINUTE * 2)
        .grace(SECOND * 3 / 2);
    let built = LaneConfig::new(4)
        .stall_ceiling(MINUTE * 10)
        .on_stall(OnStall::Detach)
        .timeout(timeout)
        .teardown(SECOND)
        .warn_after(SECOND * 2)
        .aging(SECOND * 3)
        .max_orphans(7)
        .pinned();
    assert_eq!(written, built);
    let plain: LaneConfig = serde_json::from_str(r#"{ "max_concurrent": 2 }"#).unwrap();
    assert_eq!(plain, LaneConfig::new(2));
    let none: LaneConfig =
        serde_json::from_str(r#"{ "max_concurrent": 2, "stall_ceiling": "none" }"#).unwrap();
    assert_eq!(none, LaneConfig::new(2).no_stall_ceiling());
}

#[tokio::test(start_paused = true)]
async fn a_file_is_built_from_beside_what_is_built_by_hand() {
    let lanes = Lanes::builder()
        .lane("night", LaneConfig::new(1))
        .config(read(WHOLE))
        .build()
        .unwrap();
    assert_eq!(names(&lanes), ["night", "main", "plain"]);
    let session = lanes.lane("session:42").unwrap().snapshot();
    assert_eq!((session.max_concurrent, session.max_orphans), (1, 0));
    assert_eq!(session.origin, LaneOrigin::Pattern("session:*".into()));
    assert_eq!(lanes.lane("other").unwrap().snapshot().max_concurrent, 9);
    let twice = Lanes::builder()
        .lane("main", LaneConfig::new(1))
        .config(main_of(1));
    let lane = "main".to_owned();
    assert_eq!(
        twice.build().unwrap_err(),
        ConfigError::DuplicateLane { lane }
    );
}

/// Read again, it replaces all that was said before, also by hand.
#[tokio::test(start_paused = true)]
async fn s7_a_file_that_is_read_again_replaces_the_whole() {
    let lanes = Lanes::builder()
        .lane("night", LaneConfig::new(1))
        .config(read(WHOLE))
        .build()
        .unwrap();
    let [main, session] = ["main", "session:42"].map(|name| lanes.lane(name).unwrap());
    let held = session.acquire().await.unwrap();
    let queued = session.spawn(async |_| ());
    lanes
        .reconfigure(|change| {
            change.replace(main_of(5));
            change.lane("main").teardown(SECOND * 9);
        })
        .unwrap();
    let set = main.snapshot();
    assert_eq!(set.max_concurrent, 5);
    assert_eq!(set.limits.teardown, SECOND * 9);
    assert_eq!(set.limits.budget, None, "nothing is left of the old file");
    assert!(lanes.lane("night").is_err() && lanes.lane("session:42").is_err());
    drop(held);
    queued.await.unwrap();
    drop(session);
    common::let_run().await;
    assert_eq!(names(&lanes), ["main"]);

    // The same once more says nothing new, and leaves alone what was limited
    // by hand; another number names the limit.
    main.set_max_concurrent(2).unwrap();
    let again = |slots| lanes.reconfigure(|change| change.replace(main_of(slots)));
    again(5).unwrap();
    assert_eq!(main.snapshot().max_concurrent, 2);
    again(6).unwrap();
    assert_eq!(main.snapshot().max_concurrent, 6);
}

#[tokio::test(start_paused = true)]
async fn s18_a_file_that_cannot_work_changes_nothing() {
    let lanes = Lanes::builder().config(main_of(4)).build().unwrap();
    let refused = |toml: &str| {
        let told = lanes.reconfigure(|change| {
            change.replace(read(toml));
            change.lane("main");
        });
        let main = lanes.lane("main").unwrap().snapshot();
        assert_eq!(main.max_concurrent, 4);
        told.unwrap_err()
    };
    let lane = "main".to_owned();
    assert_eq!(
        refused("lanes.mian.max_concurrent = 1"),
        ConfigError::UnknownLane { lane }
    );
    let told = refused(
        r#"
        lanes.main.max_concurrent = 1
        patterns."a*".max_concurrent = 1
        patterns."*a".max_concurrent = 1
        "#,
    );
    let text = told.to_string();
    assert!(
        text.starts_with(r#"patterns "*a" and "a*" both match "aa""#),
        "{text}"
    );
    let told = refused("lanes.main = { max_concurrent = 1, warn_after = '0s' }");
    assert_eq!(
        told.to_string(),
        "lane \"main\": warn_after may not be zero"
    );
    // TOML itself knows no key twice; JSON does.
    let twice = r#"{ "lanes": {
        "main": { "max_concurrent": 1 }, "main": { "max_concurrent": 2 }
    } }"#;
    let twice = serde_json::from_str(twice).unwrap();
    let told = lanes.reconfigure(|change| change.replace(twice));
    let lane = "main".to_owned();
    assert_eq!(told.unwrap_err(), ConfigError::DuplicateLane { lane });
}

/// What the reader says names the key and what may be there.
#[test]
fn s18_unknown_keys_and_bad_values_are_errors() {
    for (toml, said) in [
        (
            "lane.main.max_concurrent = 1",
            "unknown field `lane`, expected one of `lanes`, `patterns`, `groups`",
        ),
        (
            "lanes.main = { max_concurent = 1 }",
            "unknown field `max_concurent`, expected one of",
        ),
        ("lanes.main = {}", "missing field `max_concurrent`"),
        ("lanes.main.max_concurrent = -1", "invalid value"),
        ("lanes.main = 4", "expected a lane's configuration"),
        ("lanes = 4", "expected a table by names or patterns"),
        (
            "lanes.main = { max_concurrent = 1, teardown = 5 }",
            "expected a duration, such as \"10m\"",
        ),
        (
            "lanes.main = { max_concurrent = 1, teardown = '5' }",
            "invalid duration \"5\": time unit needed",
        ),
        (
            "lanes.main = { max_concurrent = 1, stall_ceiling = 'never' }",
            "invalid duration \"never\"",
        ),
        (
            "lanes.main = { max_concurrent = 1, timeout = { total = '1s' } }",
            "unknown field `total`, expected one of `idle`, `budget`, `wait`, `grace`",
        ),
        (
            "lanes.main = { max_concurrent = 1, on_stall = 'kill' }",
            "unknown variant `kill`, expected one of `reclaim`, `detach`, `warn_only`",
        ),
        (
            "lanes.main = { max_concurrent = 1, teardown = '99999999999999999999s' }",
            "invalid duration",
        ),
    ] {
        let told = toml::from_str::<LanesConfig>(toml).unwrap_err().to_string();
        assert!(told.contains(said), "{toml}: {told}");
    }
}

#[tokio::test]
async fn groups_are_read_and_replaced_with_the_rest() {
    let group: GroupConfig = toml::from_str(
        r#"
        max_concurrent = 3
        members = ["main", "session:*"]
        reserved = { main = 1 }
        "#,
    )
    .unwrap();
    let built = GroupConfig::new(3).member("main").member("session:*");
    assert_eq!(group, built.reserve("main", 1));
    let typo = toml::from_str::<GroupConfig>("max_concurrent = 1\nmember = []");
    assert!(
        typo.unwrap_err()
            .to_string()
            .contains("unknown field `member`")
    );

    let twice = r#"{ "max_concurrent": 3, "members": ["a"], "reserved": { "a": 1, "a": 2 } }"#;
    let twice = serde_json::from_str::<GroupConfig>(twice).unwrap_err();
    assert!(
        twice.to_string().contains("reserved for \"a\" twice"),
        "{twice}"
    );

    let shared = |budget: usize| {
        read(&format!(
            r#"
            lanes.main.max_concurrent = 2
            patterns."session:*".max_concurrent = 2
            groups.shared = {{ max_concurrent = {budget}, members = ["main", "session:*"] }}
            "#
        ))
    };
    let lanes = Lanes::builder().config(shared(1)).build().unwrap();
    let held = lanes.lane("main").unwrap().try_acquire().unwrap();
    let session = lanes.lane("session:42").unwrap();
    assert!(session.try_acquire().is_err());
    lanes
        .reconfigure(|change| change.replace(shared(2)))
        .unwrap();
    assert!(session.try_acquire().is_ok());
    lanes
        .reconfigure(|change| change.replace(main_of(2)))
        .unwrap();
    assert!(lanes.snapshot().groups.is_empty());
    drop(held);
}
