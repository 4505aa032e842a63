//! How lanes are set, as it is written in a file.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::config::{LaneConfig, OnFull};
use crate::engine::{Ceiling, OnStall};
use crate::group::GroupConfig;
use crate::timeout::LaneTimeout;

/// How all lanes are set, as a value that is read from TOML, JSON or whatever
/// else serde reads. With the feature `serde`.
///
/// It is a whole configuration: see
/// [`LanesBuilder::config`](crate::LanesBuilder::config) and
/// [`Reconfigure::replace`](crate::Reconfigure::replace). A key that is unknown
/// is an error. Durations are written as `"10m"`, `"1h 30m"` or `"250ms"`.
///
/// ```
/// use laneway::{Lanes, LanesConfig};
///
/// let config: LanesConfig = toml::from_str(
///     r#"
///     [lanes.main]
///     max_concurrent = 4
///     stall_ceiling = "10m"                 # "none" for no ceiling
///     on_stall = "reclaim"                  # or "detach", "warn_only"
///     timeout = { idle = "5m", budget = "1h", wait = "2m", grace = "5s" }
///     teardown = "5s"
///     warn_after = "30s"
///     aging = "30s"
///
///     [patterns."session:*"]                # "*" is the default lane
///     max_concurrent = 1
///     max_orphans = 0                       # a strict lane
///     queue_capacity = 100
///     max_parked = 1000
///     on_full = "reject"                    # or "wait"
///     pinned = false
///
///     [groups.shared]
///     max_concurrent = 3
///     members = ["main", "session:*"]
///     reserved = { main = 1 }
///     "#,
/// )?;
/// let lanes = Lanes::builder().config(config).build()?;
/// assert_eq!(lanes.lane("session:42")?.snapshot().max_orphans, 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LanesConfig {
    #[serde(default)]
    pub(crate) lanes: Entries<LaneConfig>,
    #[serde(default)]
    pub(crate) patterns: Entries<LaneConfig>,
    #[serde(default)]
    pub(crate) groups: Entries<GroupConfig>,
}

/// A table in the order in which it is written, with every key that is there:
/// one that is there twice is an error later, and not in silence the last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entries<V>(Vec<(String, V)>);

impl<V> Default for Entries<V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<V> IntoIterator for Entries<V> {
    type Item = (String, V);
    type IntoIter = std::vec::IntoIter<(String, V)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Entries<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Table<V>(PhantomData<V>);

        impl<'de, V: Deserialize<'de>> Visitor<'de> for Table<V> {
            type Value = Entries<V>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table by names or patterns")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries<V>, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }

        deserializer.deserialize_map(Table(PhantomData))
    }
}

/// The fields of a [`LaneConfig`], by the names of the methods that set them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a lane's configuration")]
pub(crate) struct Written {
    max_concurrent: usize,
    stall_ceiling: Option<WrittenCeiling>,
    on_stall: Option<OnStall>,
    #[serde(default)]
    timeout: WrittenTimeout,
    teardown: Option<Span>,
    warn_after: Option<Span>,
    aging: Option<Span>,
    max_orphans: Option<usize>,
    queue_capacity: Option<usize>,
    max_parked: Option<usize>,
    #[serde(default)]
    on_full: OnFull,
    #[serde(default)]
    pinned: bool,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "the parts of a lane timeout")]
struct WrittenTimeout {
    idle: Option<Span>,
    budget: Option<Span>,
    wait: Option<Span>,
    grace: Option<Span>,
}

impl From<Written> for LaneConfig {
    fn from(written: Written) -> Self {
        let span = |span: Option<Span>| span.map(|Span(span)| span);
        let WrittenTimeout {
            idle,
            budget,
            wait,
            grace,
        } = written.timeout;
        let mut config = Self::new(written.max_concurrent).timeout(LaneTimeout {
            idle: span(idle),
            budget: span(budget),
            wait: span(wait),
            grace: span(grace),
        });
        if let Some(WrittenCeiling(ceiling)) = written.stall_ceiling {
            config = match ceiling {
                Ceiling::Set(ceiling) => config.stall_ceiling(ceiling),
                _ => config.no_stall_ceiling(),
            };
        }
        if let Some(on_stall) = written.on_stall {
            config = config.on_stall(on_stall);
        }
        if let Some(Span(teardown)) = written.teardown {
            config = config.teardown(teardown);
        }
        if let Some(Span(warn_after)) = written.warn_after {
            config = config.warn_after(warn_after);
        }
        if let Some(Span(aging)) = written.aging {
            config = config.aging(aging);
        }
        if let Some(max_orphans) = written.max_orphans {
            config = config.max_orphans(max_orphans);
        }
        if let Some(capacity) = written.queue_capacity {
            config = config.queue_capacity(capacity);
        }
        if let Some(max_parked) = written.max_parked {
            config = config.max_parked(max_parked);
        }
        config = config.on_full(written.on_full);
        if written.pinned {
            config.pinned()
        } else {
            config
        }
    }
}

/// The fields of a [`GroupConfig`].
#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a group's configuration")]
pub(crate) struct WrittenGroup {
    max_concurrent: usize,
    members: Vec<String>,
    #[serde(default)]
    reserved: Entries<usize>,
}

impl TryFrom<WrittenGroup> for GroupConfig {
    type Error = String;

    fn try_from(written: WrittenGroup) -> Result<Self, String> {
        let budget = Self::new(written.max_concurrent);
        let mut group = written.members.into_iter().fold(budget, Self::member);
        for (member, slots) in written.reserved {
            if group.reserved.contains_key(&member) {
                return Err(format!("slots are reserved for {member:?} twice"));
            }
            group = group.reserve(member, slots);
        }
        Ok(group)
    }
}

struct Span(Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        parse(&text(deserializer, "a duration, such as \"10m\"")?).map(Self)
    }
}

struct WrittenCeiling(Ceiling);

impl<'de> Deserialize<'de> for WrittenCeiling {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = text(deserializer, "a duration, such as \"10m\", or \"none\"")?;
        let ceiling = match &*text {
            "none" => Ceiling::None,
            text => Ceiling::Set(parse(text)?),
        };
        Ok(Self(ceiling))
    }
}

fn parse<E: Error>(text: &str) -> Result<Duration, E> {
    humantime::parse_duration(text)
        .map_err(|error| E::custom(format_args!("invalid duration {text:?}: {error}")))
}

/// Text, borrowed or not; for anything else, what was expected.
fn text<'de, D: Deserializer<'de>>(
    deserializer: D,
    expected: &'static str,
) -> Result<String, D::Error> {
    struct Text(&'static str);

    impl Visitor<'_> for Text {
        type Value = String;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<String, E> {
            Ok(text.to_owned())
        }
    }

    deserializer.deserialize_str(Text(expected))
}
