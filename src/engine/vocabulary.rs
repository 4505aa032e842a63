//! The words that the engine and the public surface share.

use std::fmt;

/// Why a task was asked to end, as `cancelled()`, `lost()` and the `defer`
/// hooks are told.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Reason {
    /// It ended by itself, as its `defer` hooks are told, and whoever still awaits
    /// its cancel signal then.
    Completed,
    /// It panicked, as its `defer` hooks are told.
    Panicked,
    /// Somebody cancelled it.
    User,
    /// A newer task took its place.
    Superseded,
    /// A running task took its message from its inbox, so that it need not run.
    HandedOver,
    /// The future given to `cancel_on` completed.
    Signal,
    /// It made no progress for its stall ceiling.
    Stalled,
    /// A lane timeout, or a deadline of its own, ran out.
    TimedOut,
    /// Its lane was reset.
    Reset,
    /// Its lane was draining, and the drain's time was over.
    Draining,
    /// The scheduler was shut down.
    Shutdown,
    /// The tokio runtime that ran it was shut down.
    RuntimeShutdown,
    /// The future, handle or slot that stood for it was dropped.
    Dropped,
    /// To wait for it would have been a deadlock.
    WouldDeadlock,
}

impl Reason {
    const ALL: [Self; 14] = [
        Self::Completed,
        Self::Panicked,
        Self::User,
        Self::Superseded,
        Self::HandedOver,
        Self::Signal,
        Self::Stalled,
        Self::TimedOut,
        Self::Reset,
        Self::Draining,
        Self::Shutdown,
        Self::RuntimeShutdown,
        Self::Dropped,
        Self::WouldDeadlock,
    ];

    /// The inverse of `self as u8`, for the one atomic byte that carries it.
    pub(crate) fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| *reason as u8 == code)
    }

    /// The word for how a task ended that ended for this.
    pub(crate) const fn outcome(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Panicked => "panicked",
            Self::Stalled => "stalled",
            Self::TimedOut => "timed_out",
            Self::Shutdown => "shutdown",
            Self::RuntimeShutdown => "runtime_shutdown",
            Self::User
            | Self::Superseded
            | Self::HandedOver
            | Self::Signal
            | Self::Reset
            | Self::Draining
            | Self::Dropped
            | Self::WouldDeadlock => "cancelled",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Completed => "completed",
            Self::Panicked => "panicked",
            Self::User => "cancelled by the user",
            Self::Superseded => "superseded",
            Self::HandedOver => "its message was taken",
            Self::Signal => "cancelled by its signal",
            Self::Stalled => "stalled",
            Self::TimedOut => "timed out",
            Self::Reset => "lane reset",
            Self::Draining => "lane draining",
            Self::Shutdown => "scheduler shut down",
            Self::RuntimeShutdown => "runtime shut down",
            Self::Dropped => "dropped",
            Self::WouldDeadlock => "would deadlock",
        })
    }
}

/// Which part of a lane timeout ran out.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Limit {
    /// Too long without progress.
    Idle,
    /// Too long in all, counted from the start.
    Budget,
    /// Too long in the queue.
    Wait,
    /// Past the deadline that the task set itself.
    Deadline,
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Idle => "idle",
            Self::Budget => "budget",
            Self::Wait => "wait",
            Self::Deadline => "deadline",
        })
    }
}

/// What happens to a task that makes no progress for its stall ceiling.
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
/// use laneway::{LaneConfig, Lanes, OnStall, TaskStatus};
///
/// let seconds = Duration::from_secs;
/// let export = LaneConfig::new(1).stall_ceiling(seconds(60)).on_stall(OnStall::Detach);
/// let lanes = Lanes::builder().lane("export", export).build()?;
/// let lane = lanes.lane("export")?;
///
/// let long = lane.spawn(async move |_| tokio::time::sleep(seconds(3600)).await);
/// lane.run(async |_| ()).await?;                      // a minute later
/// assert_eq!(long.status(), TaskStatus::Detached);
/// long.await?;                                        // its late result still counts
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum OnStall {
    /// It is asked to end, and where that fails its slot is taken.
    #[default]
    Reclaim,
    /// Its slot is taken at once and it runs on as an orphan: a result that it
    /// still delivers reaches its caller. Its budget, a cancel or a shutdown
    /// ends that, and then the caller is told that it stalled.
    Detach,
    /// It is only reported.
    WarnOnly,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_survives_its_byte() {
        for (code, reason) in (0u8..).zip(Reason::ALL) {
            assert_eq!(reason as u8, code);
            assert_eq!(Reason::from_code(code), Some(reason));
        }
        assert_eq!(Reason::from_code(200), None);
    }

    #[test]
    fn every_reason_has_its_word() {
        let words = Reason::ALL.map(Reason::outcome);
        let by_itself = ["completed", "panicked"];
        let (first, rest) = words.split_at(2);
        assert_eq!(first, by_itself);
        let others = ["stalled", "timed_out", "shutdown", "runtime_shutdown"];
        let own = rest.iter().filter(|word| **word != "cancelled");
        assert!(own.eq(&others), "{words:?}");
        let mut texts = Reason::ALL.map(|reason| reason.to_string()).to_vec();
        texts.sort_unstable();
        texts.dedup();
        assert_eq!(texts.len(), Reason::ALL.len());
        assert!(texts.iter().all(|text| text.len() > 5), "{texts:?}");
    }
}
