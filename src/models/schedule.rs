//! A schedule as text: what was done in the run that fails, and what a replay does.
//!
//! The seed, the number of steps, and the steps: the number of the thread that goes
//! on, or `r` for a random value, each with how often in a row. `7:6:0*3.1.r.0`.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;

use shuttle::scheduler::{Schedule, Scheduler, Task, TaskId};

/// What was done since the last run began: the seed, and each step.
#[derive(Clone, Default)]
pub(super) struct Record(Rc<RefCell<(u64, Vec<Option<usize>>)>>);

/// Notes what another one decides. shuttle keeps this, too, but shows it to nobody.
pub(super) struct Recorder {
    decides: Box<dyn Scheduler + Send>,
    record: Record,
}

impl Recorder {
    pub(super) fn new(decides: Box<dyn Scheduler + Send>) -> (Self, Record) {
        let record = Record::default();
        let recorder = Self {
            decides,
            record: record.clone(),
        };
        (recorder, record)
    }

    fn note(&self, step: Option<usize>) {
        self.record.0.borrow_mut().1.push(step);
    }
}

impl Scheduler for Recorder {
    fn new_execution(&mut self) -> Option<Schedule> {
        let begun = self.decides.new_execution()?;
        *self.record.0.borrow_mut() = (begun.seed, Vec::new());
        Some(begun)
    }

    fn next_task(
        &mut self,
        runnable: &[&Task],
        current: Option<TaskId>,
        yields: bool,
    ) -> Option<TaskId> {
        let next = self.decides.next_task(runnable, current, yields)?;
        self.note(Some(next.into()));
        Some(next)
    }

    fn next_u64(&mut self) -> u64 {
        self.note(None);
        self.decides.next_u64()
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seed, steps) = &*self.0.borrow();
        write!(f, "{seed}:{}:", steps.len())?;
        for (n, same) in steps.chunk_by(Option::eq).enumerate() {
            let dot = if n > 0 { "." } else { "" };
            let step = same[0].map_or_else(|| "r".to_owned(), |thread| thread.to_string());
            write!(f, "{dot}{step}")?;
            if same.len() > 1 {
                write!(f, "*{}", same.len())?;
            }
        }
        Ok(())
    }
}

fn parsed(text: &str) -> Option<Schedule> {
    let mut parts = text.trim().splitn(3, ':');
    let mut schedule = Schedule::new(parts.next()?.parse().ok()?);
    let length: usize = parts.next()?.parse().ok()?;
    for same in parts.next()?.split('.') {
        let (step, times) = same.split_once('*').unwrap_or((same, "1"));
        let times: usize = times.parse().ok().filter(|times| *times <= length)?;
        for _ in 0..times {
            match step {
                "r" => schedule.push_random(),
                thread => schedule.push_task(thread.parse::<usize>().ok()?.into()),
            }
        }
    }
    (schedule.len() == length).then_some(schedule)
}

/// The schedule that the environment asks for.
pub(super) fn asked() -> Option<Schedule> {
    let given = std::env::var_os("LANEWAY_SCHEDULE")?;
    let schedule = given.to_str().and_then(parsed);
    Some(schedule.unwrap_or_else(|| panic!("LANEWAY_SCHEDULE is no schedule: {given:?}")))
}

/// A number that the environment gives. One that cannot be read is not ignored.
pub(super) fn given(name: &str) -> Option<u64> {
    let given = std::env::var_os(name)?;
    let number = given.to_str().and_then(|given| given.parse().ok());
    Some(number.unwrap_or_else(|| panic!("{name} is no number: {given:?}")))
}

#[test]
fn a_schedule_is_read_as_it_was_written_or_not_at_all() {
    let steps = [Some(0), Some(0), Some(0), Some(12), None, None, Some(0)];
    let mut schedule = Schedule::new(7);
    for step in steps {
        match step {
            Some(thread) => schedule.push_task(thread.into()),
            None => schedule.push_random(),
        }
    }
    let text = Record(Rc::new(RefCell::new((7, steps.to_vec())))).to_string();
    assert_eq!(text, "7:7:0*3.12.r*2.0");
    assert_eq!(parsed(&text), Some(schedule));
    for end in 0..text.len() {
        assert_eq!(parsed(&text[..end]), None, "half of it");
    }
}
