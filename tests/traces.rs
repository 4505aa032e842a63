//! The example of traces, run as its user would: what it prints is what its
//! comment says.

mod built;

use std::collections::BTreeMap;
use std::process::Command;

/// A span as it is printed. What is said twice is said of what it is linked to
/// the second time.
#[derive(Debug)]
struct Printed {
    fields: BTreeMap<String, String>,
    link: Option<String>,
}

impl Printed {
    fn read(text: &str) -> Self {
        let (own, linked) = text.split_once("Link #0").unwrap_or((text, ""));
        let fields = |text: &str| -> BTreeMap<String, String> {
            let lines = text.lines().filter_map(|line| line.split_once(':'));
            let field = |(name, value): (&str, &str)| {
                let name = name.trim().trim_start_matches("->").trim();
                (name.to_owned(), value.trim().to_owned())
            };
            lines.map(field).collect()
        };
        // After the name of who printed it.
        let (_, own) = own.split_once("\n\n").expect("a span");
        Self {
            fields: fields(own),
            link: fields(linked).remove("SpanId"),
        }
    }

    fn get(&self, field: &str) -> &str {
        self.fields.get(field).map_or("", String::as_str)
    }
}

#[test]
fn a_request_is_a_trace_in_which_its_task_waits_and_runs() {
    let traces = Command::new(built::example("traces"))
        .output()
        .expect("it starts");
    assert!(traces.status.success(), "{traces:?}");
    let out = String::from_utf8(traces.stdout).expect("text");
    let spans = out.split("Span #0").skip(1).map(Printed::read);
    let spans: Vec<_> = spans.collect();
    let get = |field| spans.iter().map(|span| span.get(field)).collect::<Vec<_>>();
    let [parked, run, request, queue, run_next, request_next] = &*spans else {
        panic!("{out}");
    };
    assert_eq!(
        get("Name"),
        ["parked", "run", "request", "queue", "run", "request"]
    );
    let trace = |span: &Printed| span.get("TraceId").to_owned();
    assert_ne!(trace(request), trace(request_next));
    for (child, parent) in [
        (parked, run),
        (run, request),
        (queue, request_next),
        (run_next, request_next),
    ] {
        assert_eq!(child.get("ParentSpanId"), parent.get("SpanId"), "{out}");
        assert_eq!(trace(child), trace(parent), "{out}");
        assert!(child.get("lane").contains("session:42"), "{out}");
    }
    assert_eq!(run_next.link.as_deref(), Some(queue.get("SpanId")), "{out}");
    assert_eq!(run.link, None, "{out}");
    for (span, outcome) in [(run, "completed"), (queue, "dispatched")] {
        assert!(span.get("outcome").contains(outcome), "{out}");
    }
    // A number, for whoever filters by it.
    assert!(run_next.get("waited_ms").starts_with("I64("), "{out}");
}
