//! Judges every refusal in the moment in which it is decided: by the time at which
//! somebody is told, others may have begun to wait for something else.

use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};

use tracing::field::{Field, Visit};
use tracing::subscriber::DefaultGuard;
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::Registry;

use crate::book::Book;

/// Listens on this thread, as long as it is there.
pub(crate) struct Judge {
    wrong: Arc<Mutex<Vec<String>>>,
    _guard: DefaultGuard,
}

impl Judge {
    pub(crate) fn of(book: &Arc<Mutex<Book>>) -> Self {
        let wrong = Arc::new(Mutex::new(Vec::new()));
        let listens = Listens {
            book: Arc::clone(book),
            wrong: Arc::clone(&wrong),
        };
        super::beside::others_listen();
        let subscriber = Registry::default().with(listens);
        Self {
            wrong,
            _guard: tracing::subscriber::set_default(subscriber),
        }
    }

    /// What was refused and should not have been.
    pub(crate) fn verdict(&self) -> Vec<String> {
        self.wrong
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

struct Listens {
    book: Arc<Mutex<Book>>,
    wrong: Arc<Mutex<Vec<String>>>,
}

impl<S: Subscriber> Layer<S> for Listens {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut cycle = Cycle(None);
        event.record(&mut cycle);
        let Some(cycle) = cycle.0 else { return };
        let book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        let stuck = |said: &str| {
            let id = said.strip_prefix("task ")?.split(' ').next()?;
            Some(book.is_stuck(book.called(id)?))
        };
        if !cycle.split("; ").all(|said| stuck(said) == Some(true)) {
            let wrong = format!("{cycle}\n{book:#?}");
            self.wrong
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(wrong);
        }
    }
}

/// The field of this name.
struct Cycle(Option<String>);

impl Visit for Cycle {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "cycle" {
            self.0 = Some(format!("{value:?}"));
        }
    }
}
