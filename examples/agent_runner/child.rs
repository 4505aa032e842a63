//! One job as a child process: a shell at the head of its own process group,
//! which leaves with everything it started.

use std::io;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use laneway::{Reason, TaskContext};
use process_wrap::tokio::{ChildWrapper, CommandWrap, ProcessGroup};
use tokio::net::unix::pipe;
use tokio::signal::unix::SignalKind;
use tokio::sync::Mutex;
use tokio::time;

use crate::lines::Lines;

/// How long the output stays open for what the shell wrote just before it left.
/// Whoever holds the pipe after that is a straggler, and not waited for.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// How often a dead group is looked at again, and for how long: where nobody
/// reaps orphans, what was killed stays in the table for ever.
const REAP_EVERY: Duration = Duration::from_millis(5);
const REAP_WITHIN: Duration = Duration::from_millis(100);

/// How the shell ended, whether it had been asked to, and the last it printed.
#[derive(Debug)]
pub(crate) struct Exit {
    pub(crate) status: ExitStatus,
    pub(crate) asked: Option<Reason>,
    pub(crate) last_line: Option<String>,
}

/// Runs `cmd` in its task until its shell exits. Each line of its output is
/// progress. When the task is asked to end, so is the group, with SIGTERM.
///
/// However this ends, by itself or by being dropped, the slot is not released
/// before the whole group has been killed and the shell reaped.
pub(crate) async fn run(cx: &TaskContext, cmd: &str, on_line: impl Fn(&str)) -> io::Result<Exit> {
    let (child, mut output) = start(cmd)?;
    let child = Arc::new(Mutex::new(child));
    cx.defer({
        let child = Arc::clone(&child);
        // The lock is free by now: hooks run after the future below is gone.
        async move |_reason| end_group(child.lock().await.as_mut()).await
    });

    let mut last_line = None;
    let mut heard = |line: String| {
        // Nothing else reports progress for the child: its silence is ours.
        cx.progress_note(line.as_str());
        on_line(&line);
        last_line = Some(line);
    };
    let mut child = child.lock().await;
    let mut talking = true;
    let mut asked = None;
    // Not `biased`: a flood must hide neither the ask nor the exit.
    let status = loop {
        tokio::select! {
            line = output.next(), if talking => match line? {
                Some(line) => heard(line),
                None => talking = false,
            },
            reason = cx.cancelled(), if asked.is_none() => {
                asked = Some(reason);
                ask_group(child.as_ref());
            }
            status = child.wait() => break status?,
        }
    };
    let last_words = async {
        while let Ok(Some(line)) = output.next().await {
            heard(line);
        }
    };
    // Running out of time here is no error: a grandchild holds the pipe open.
    let _ = time::timeout(LAST_WORDS, last_words).await;
    Ok(Exit {
        status,
        asked,
        last_line,
    })
}

/// Both streams share one pipe, so that lines arrive in the order in which they
/// were written.
fn start(cmd: &str) -> io::Result<(Box<dyn ChildWrapper>, Lines<pipe::Receiver>)> {
    let (reader, stdout) = io::pipe()?;
    let stderr = stdout.try_clone()?;
    let output = pipe::Receiver::from_owned_fd(reader.into())?;
    // Our copies of the writing end go with the command; the child's remain.
    let child = CommandWrap::with_new("sh", |shell| {
        shell
            .args(["-c", cmd])
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(stderr);
    })
    .wrap(ProcessGroup::leader())
    .spawn()?;
    Ok((child, Lines::new(output)))
}

fn ask_group(child: &dyn ChildWrapper) {
    // It fails only if there is nobody left to ask.
    let _ = child.signal(SignalKind::terminate().as_raw_value());
}

/// Kills whatever is left of the group, which after an orderly exit is a
/// straggler or nobody, reaps the shell, and sees the others off.
async fn end_group(child: &mut dyn ChildWrapper) {
    let mut left = child.start_kill().is_ok();
    let _ = child.wait().await;
    let mut patience = REAP_WITHIN;
    while left && !patience.is_zero() {
        time::sleep(REAP_EVERY).await;
        patience = patience.saturating_sub(REAP_EVERY);
        left = child.start_kill().is_ok();
    }
}
