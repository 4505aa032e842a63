//! Where the time of a request goes: its tasks as OpenTelemetry spans, printed.
//!
//! ```text
//! cargo run --example traces
//! ```
//!
//! Two turns of one session are requested at the same moment, and there is one
//! lane of one for both. Each request is a trace. That of the first has a span
//! `run`; that of the second has a span `queue` for as long as the first one runs,
//! and then a `run` that is linked to it. In the first, the task waits for somebody
//! meanwhile, which is a span `parked`.
//!
//! laneway knows nothing of OpenTelemetry: it makes spans of `tracing`, and
//! `tracing-opentelemetry` exports them. Put an exporter of your own in the place
//! of the one that prints.

use std::time::Duration;

use laneway::{Lane, LaneConfig, Lanes, TaskError};
use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let exporter = SdkTracerProvider::builder()
        .with_resource(Resource::builder().with_service_name("traces").build())
        .with_simple_exporter(opentelemetry_stdout::SpanExporter::default())
        .build();
    // The lanes' own spans and the program's, at the level at which they are made.
    let ours = Targets::new()
        .with_target("laneway", LevelFilter::INFO)
        .with_target("traces", LevelFilter::INFO);
    let layer = tracing_opentelemetry::layer()
        .with_tracer(exporter.tracer("traces"))
        .with_filter(ours);
    tracing_subscriber::registry().with(layer).init();

    let lanes = Lanes::builder()
        .pattern("session:*", LaneConfig::new(1))
        .build()?;
    let session = lanes.lane("session:42")?;
    let (first, second) = tokio::join!(request(&session, "first"), request(&session, "second"));
    first?;
    second?;

    exporter.shutdown()?;
    Ok(())
}

/// A request with a trace of its own.
#[tracing::instrument(skip(session))]
async fn request(session: &Lane, turn: &'static str) -> Result<(), TaskError> {
    let task = session.task().name(turn).key("ticket-42");
    task.run(async |cx| {
        if turn == "first" {
            let approval = tokio::time::sleep(Duration::from_millis(20));
            let waited = cx.waiting("approval").on(approval).await;
            waited.expect("nobody else ends it");
        }
        tokio::time::sleep(Duration::from_millis(30)).await;
    })
    .await
}
