//! What is said through `tracing` on the thread of a test, as fields.

#[path = "../beside/mod.rs"]
mod beside;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::mpsc;

use tracing::field::{Field, Visit};
use tracing::subscriber::DefaultGuard;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::{LookupSpan, Registry};

/// One event: its level, its fields, and the spans it happened in, outermost
/// first.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) level: Level,
    fields: BTreeMap<&'static str, String>,
    pub(crate) spans: Vec<&'static str>,
}

impl Line {
    pub(crate) fn message(&self) -> &str {
        self.get("message")
    }

    pub(crate) fn get(&self, field: &str) -> &str {
        self.fields.get(field).map_or("", String::as_str)
    }

    pub(crate) fn number(&self, field: &str) -> u64 {
        let text = self.get(field);
        text.parse()
            .unwrap_or_else(|_| panic!("{field} of {self:?}"))
    }

    #[track_caller]
    pub(crate) fn assert_fields(&self, expected: &[(&str, &str)]) {
        for (field, value) in expected {
            assert_eq!(self.get(field), *value, "{field} of {self:?}");
        }
    }
}

struct Fields<'a>(&'a mut BTreeMap<&'static str, String>);

impl Visit for Fields<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }
}

struct Tap(mpsc::Sender<Line>);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Tap {
    fn on_event(&self, event: &Event<'_>, cx: Context<'_, S>) {
        let mut fields = BTreeMap::new();
        event.record(&mut Fields(&mut fields));
        let scope = cx.event_scope(event).into_iter().flatten();
        let mut spans: Vec<_> = scope.map(|span| span.name()).collect();
        spans.reverse();
        let _ = self.0.send(Line {
            level: *event.metadata().level(),
            fields,
            spans,
        });
    }
}

/// Everything that is said on this thread from now on.
pub(crate) struct Log {
    lines: mpsc::Receiver<Line>,
    _guard: DefaultGuard,
}

impl Log {
    pub(crate) fn tap() -> Self {
        beside::others_listen();
        let (send, lines) = mpsc::channel();
        let subscriber = Registry::default().with(Tap(send));
        Self {
            lines,
            _guard: tracing::subscriber::set_default(subscriber),
        }
    }

    /// What was said since the last call, from debug up, runtimes apart.
    pub(crate) fn take(&self) -> Vec<Line> {
        let lines = self.lines.try_iter();
        lines.filter(|line| line.level <= Level::DEBUG).collect()
    }

    pub(crate) fn warnings(&self) -> Vec<Line> {
        let mut lines = self.take();
        lines.retain(|line| line.level <= Level::WARN);
        lines
    }

    #[track_caller]
    pub(crate) fn one_warning(&self, message: &str) -> Line {
        let mut lines = self.warnings();
        assert_eq!(lines.len(), 1, "{lines:#?}");
        let line = lines.remove(0);
        assert_eq!(line.message(), message);
        line
    }
}
