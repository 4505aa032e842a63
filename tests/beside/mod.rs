//! Why a subscriber of one thread hears all that is said there.

use std::sync::OnceLock;

use tracing::Dispatch;
use tracing::subscriber::NoSubscriber;

/// Before the subscriber of a thread is made. While there is but one in the process,
/// tracing has the thread that comes first to a place in the code say whether anybody
/// listens there, and keeps the answer: nobody does, where that is the thread of another
/// test. Where there are more, it asks them all.
pub(crate) fn others_listen() {
    static OTHERS: OnceLock<[Dispatch; 2]> = OnceLock::new();
    OTHERS.get_or_init(|| [(); 2].map(|()| Dispatch::new(NoSubscriber::new())));
}
