//! The page, the dashboard and the alerts speak of what is really emitted: of all of it,
//! and of nothing else.

use std::collections::{BTreeMap, BTreeSet};

use laneway::{LaneConfig, Lanes};
use metrics::Unit;
use serde_json::Value;

use crate::seen::Seen;

const PAGE: &str = include_str!("../../docs/metrics.md");
const DASHBOARD: &str = include_str!("../../dashboards/grafana.json");
const ALERTS: &str = include_str!("../../dashboards/alerts.yml");

type Texts = BTreeSet<String>;

#[derive(Debug, PartialEq, Eq)]
struct Metric {
    kind: String,
    unit: String,
    labels: Texts,
    help: String,
}

async fn emitted() -> BTreeMap<String, Metric> {
    let mut seen = Seen::install();
    let lanes = Lanes::builder()
        .lane("main", LaneConfig::new(1))
        .pattern("session:*", LaneConfig::new(1))
        .events(8)
        .metrics()
        .build()
        .unwrap();
    for name in ["main", "session:1"] {
        let lane = lanes.lane(name).unwrap();
        lane.run(async |_| ()).await.unwrap();
    }
    let mut metrics = BTreeMap::new();
    for ((name, labels), value) in seen.all() {
        let unit = match value.unit {
            Some(Unit::Count) => "",
            Some(Unit::Seconds) => "seconds",
            other => panic!("{name} is in {other:?}"),
        };
        let metric = Metric {
            kind: value.kind.to_owned(),
            unit: unit.to_owned(),
            labels: labels.keys().cloned().collect(),
            help: value.help.clone().expect("it is described"),
        };
        let known = metrics.entry(name.clone()).or_insert(metric);
        assert!(known.labels.iter().eq(labels.keys()), "{name}");
    }
    metrics
}

#[tokio::test]
async fn the_table_is_what_is_emitted() {
    let plain = |cell: &str| cell.trim().replace('`', "");
    let row = |line: &str| -> Option<(String, Metric)> {
        let cells: Vec<String> = line.split('|').map(plain).collect();
        let [_, name, kind, unit, labels, help, _] = <[String; 7]>::try_from(cells).ok()?;
        let labels = labels.split(", ").filter(|label| !label.is_empty());
        let labels = labels.map(str::to_owned).collect();
        let metric = Metric {
            kind,
            unit,
            labels,
            help,
        };
        name.starts_with("laneway_").then_some((name, metric))
    };
    let table: BTreeMap<String, Metric> = PAGE.lines().filter_map(row).collect();
    assert_eq!(table, emitted().await);
    let rest = PAGE.lines().filter(|line| row(line).is_none());
    for name in rest.flat_map(words).filter(|word| is_name(word)) {
        assert!(table.contains_key(name), "{name}");
    }
}

#[tokio::test]
async fn outcomes_are_those_on_the_page() {
    let mut seen = Seen::install();
    let lanes = Lanes::builder().lane("main", LaneConfig::new(1)).metrics();
    drop(lanes.build().unwrap());
    let outcomes: Texts = seen
        .all()
        .keys()
        .filter_map(|(_, labels)| labels.get("outcome").cloned())
        .collect();
    let said = PAGE.split("`outcome` is ").nth(1).unwrap();
    let said = said.split(", as in").next().unwrap();
    let said: Texts = said
        .split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect();
    assert_eq!(said, outcomes);
}

/// Names follow OpenMetrics: the unit, and `_total` of a counter.
#[tokio::test]
async fn names_say_what_they_count() {
    for (name, metric) in emitted().await {
        assert_eq!(name.ends_with("_total"), metric.kind == "counter", "{name}");
        assert_eq!(
            name.ends_with("_seconds"),
            metric.unit == "seconds",
            "{name}"
        );
    }
}

#[tokio::test]
async fn the_dashboard_shows_all_of_it_and_nothing_else() {
    let emitted = emitted().await;
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let mut shown = Texts::new();
    let mut ids = BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{panel}");
        for target in panel["targets"].as_array().into_iter().flatten() {
            let expr = target["expr"].as_str().unwrap();
            let legend = target["legendFormat"].as_str().unwrap();
            let used = check(expr, &emitted);
            for label in legend.split("{{").skip(1) {
                let label = label.split("}}").next().unwrap();
                let keeps = format!("by ({label}");
                assert!(expr.contains(&keeps), "{legend} of {expr}");
            }
            shown.extend(used);
        }
    }
    assert!(emitted.keys().eq(&shown), "not all, but {shown:?}");
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    let definition = variables.iter().find_map(|v| v["definition"].as_str());
    let definition = definition.unwrap();
    check(definition, &emitted);
    assert!(definition.ends_with("_concurrent, lane)"));
}

#[tokio::test]
async fn the_alerts_are_about_what_is_emitted() {
    let emitted = emitted().await;
    let exprs = ALERTS
        .lines()
        .filter_map(|line| line.trim().strip_prefix("expr: "));
    let mut alerts = 0;
    for expr in exprs {
        check(expr, &emitted);
        alerts += 1;
    }
    assert_eq!(alerts, ALERTS.matches("- alert: ").count());
    assert!(alerts > 5);
    for label in ALERTS.split("$labels.").skip(1) {
        let label = words(label).next().unwrap();
        assert_eq!(label, "lane");
    }
}

/// Every metric of an expression is there, is used as what it is, and has the labels that
/// are asked for; says which it speaks of.
#[track_caller]
fn check(expr: &str, emitted: &BTreeMap<String, Metric>) -> Texts {
    let mut used = Texts::new();
    let mut labels: Texts = ["le".to_owned()].into();
    for word in words(expr).filter(|word| is_name(word)) {
        let of_histogram = ["_bucket", "_sum", "_count"].map(|end| word.strip_suffix(end));
        let of_histogram = of_histogram.into_iter().flatten().next();
        let name = of_histogram.unwrap_or(word);
        let metric = emitted.get(name);
        let metric = metric.unwrap_or_else(|| panic!("no {name}, which is in {expr}"));
        let histogram = metric.kind == "histogram";
        assert_eq!(of_histogram.is_some(), histogram, "{word} in {expr}");
        let adds_up = ["rate(", "increase("].map(|over| expr.contains(&format!("{over}{word}")));
        let is_gauge = metric.kind == "gauge";
        assert!(is_gauge || adds_up.contains(&true), "{word} in {expr}");
        labels.extend(metric.labels.iter().cloned());
        used.insert(name.to_owned());
    }
    let selectors = expr
        .split('{')
        .skip(1)
        .filter_map(|rest| rest.split('}').next());
    let selected = selectors.flat_map(|all| all.split(','));
    let selected = selected.filter_map(|one| words(one).next());
    let kept = expr
        .split("by (")
        .skip(1)
        .filter_map(|rest| rest.split(')').next());
    let kept = kept.flat_map(|all| all.split(", "));
    for label in selected.chain(kept) {
        assert!(
            labels.contains(label),
            "no label {label}, which is in {expr}"
        );
    }
    assert!(!used.is_empty(), "{expr}");
    used
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    let parts = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    parts.filter(|word| !word.is_empty())
}

fn is_name(word: &str) -> bool {
    word.starts_with("laneway_")
}
