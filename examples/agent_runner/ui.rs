//! What is shown while it runs: progress bars on a terminal, plain lines elsewhere.

use std::fmt::Display;
use std::io::{self, Write};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::jobs::Job;
use crate::outcome::Outcome;

/// The bars draw on standard error and are hidden if that is no terminal; all
/// that should last goes to standard output.
#[derive(Clone, Debug)]
pub(crate) struct Ui {
    bars: MultiProgress,
    total: ProgressBar,
    verbose: bool,
}

impl Ui {
    pub(crate) fn new(verbose: bool) -> Self {
        let bars = MultiProgress::new();
        let total = bars.add(ProgressBar::new(0));
        total.set_style(style("{bar:30} {pos} of {len} jobs, {elapsed}"));
        Self {
            bars,
            total,
            verbose,
        }
    }

    /// A line that lasts. A reader that went away is no reason to stop working.
    pub(crate) fn say(&self, line: impl Display) {
        self.bars.suspend(|| {
            let _ = writeln!(io::stdout(), "{line}");
        });
    }

    /// A line for whoever looks at standard error.
    pub(crate) fn complain(&self, line: impl Display) {
        self.bars.suspend(|| {
            let _ = writeln!(io::stderr(), "{line}");
        });
    }

    pub(crate) fn queued(&self) {
        self.total.inc_length(1);
    }

    /// A job got its slot in `main`.
    pub(crate) fn started(&self, job: &Job) -> Activity {
        let title = title(job);
        if self.bars.is_hidden() {
            self.say(format_args!("{title}: started"));
        }
        let bar = ProgressBar::new_spinner()
            .with_style(style("{spinner} {prefix} {elapsed:>4} {wide_msg:.dim}"))
            .with_prefix(title.clone());
        let bar = self.bars.insert_before(&self.total, bar);
        bar.enable_steady_tick(Duration::from_millis(100));
        Activity {
            ui: self.clone(),
            bar,
            title,
        }
    }

    /// A job is over. Those that never ran are left to the list of what is
    /// handed back.
    pub(crate) fn finished(&self, job: &Job, outcome: &Outcome, ran: Option<Duration>) {
        let title = title(job);
        match (outcome, ran.as_ref().map(Duration::as_secs_f64)) {
            (Outcome::NotRun, _) => {}
            (_, Some(ran)) => self.say(format_args!("{title}: {outcome} ({ran:.2}s)")),
            (_, None) => self.say(format_args!("{title}: {outcome}")),
        }
        self.total.inc(1);
    }

    /// No more bars from here on.
    pub(crate) fn close(&self) {
        self.total.finish_and_clear();
    }

    /// Standard error, for whoever else has something to say there.
    pub(crate) fn stderr(&self) -> AboveBars {
        AboveBars(self.bars.clone())
    }
}

/// A running job. Its bar goes when the job does, however that comes about.
#[derive(Debug)]
pub(crate) struct Activity {
    ui: Ui,
    bar: ProgressBar,
    title: String,
}

impl Activity {
    pub(crate) fn printed(&self, line: &str) {
        if self.ui.verbose {
            self.ui.say(format_args!("{}| {line}", self.title));
        }
        self.bar.set_message(line.to_owned());
    }
}

impl Drop for Activity {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
        self.ui.bars.remove(&self.bar);
    }
}

/// Writes to standard error without tearing the bars.
#[derive(Debug)]
pub(crate) struct AboveBars(MultiProgress);

impl Write for AboveBars {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.0.suspend(|| io::stderr().write(text))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

fn title(job: &Job) -> String {
    format!("[{}] {}", job.session, job.name)
}

/// A template that does not parse costs the looks, never the run.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
