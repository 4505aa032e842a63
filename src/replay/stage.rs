//! The engine once more, told what it was told before.

use std::collections::{HashMap, VecDeque};

use serde_json::Value;

use super::{Divergence, ReplayError};
use crate::engine::{
    Accepted, Comer, Effects, Entry, Fact, Group, Input, Key, Label, Lane, More, Names, Older,
    Refused, Released, Spec, Step, Stood, Time, What, having_waited,
};
use crate::events::event_of;
use crate::sync::Arc;
use crate::{Event, TaskId};

/// All lanes and groups of a recording.
#[derive(Debug)]
pub(super) struct Stage {
    built: (Time, u64),
    lanes: HashMap<u64, Player>,
    groups: HashMap<u64, Company>,
    events: Vec<Event>,
}

/// A lane.
#[derive(Debug)]
struct Player {
    name: Arc<str>,
    engine: Lane<Task>,
    /// Of those who come.
    spec: Option<Spec>,
    /// Of the input that it was told last, and of those of one visit to a group.
    effects: Effects<Task>,
    released: Released<Task>,
    /// What the task waits for that is parked next.
    waits_for: Option<Arc<str>>,
    /// The group that it is in, and which member it is there.
    place: Option<(u64, Key)>,
    /// What it has come to, and was not recorded yet.
    facts: VecDeque<Fact>,
}

/// A group.
#[derive(Debug)]
struct Company {
    group: Group<u64>,
    /// Whom it served first since one of its lanes was told something.
    first: Option<Task>,
}

type Task = Arc<Role>;

/// A task, as far as the engine knows one.
#[derive(Debug)]
struct Role {
    id: TaskId,
    label: Option<Box<Label>>,
}

const NAMES: Names<Task> = Names {
    // As what it is a part of.
    id: |task| {
        let label = task.label.as_deref();
        label.and_then(Label::part_of).unwrap_or(task.id)
    },
    more: |task| {
        let label = task.label.as_deref()?;
        Some(Box::new(More::from(label)))
    },
};

type Told = Result<(), String>;

impl Stage {
    pub(super) fn new(built: (Time, u64)) -> Self {
        Self {
            built,
            lanes: HashMap::new(),
            groups: HashMap::new(),
            events: Vec::new(),
        }
    }

    /// Tells a lane what it was told at this line.
    pub(super) fn tell(
        &mut self,
        line: usize,
        lane: u64,
        input: &Input,
    ) -> Result<(), ReplayError> {
        self.all_recorded(line, lane)?;
        let told = match input {
            Input::Budget { group, budget } => {
                // One without lanes yet is told of with the first.
                if let Some(company) = self.groups.get_mut(group) {
                    company.group.set_budget(*budget);
                }
                Ok(())
            }
            Input::Made {
                name,
                settings,
                fence,
                stood,
            } => {
                // Beyond that they would run out.
                if i64::try_from(*fence).is_err() {
                    let problem = format!("no lane begins with a fence of {fence}");
                    return Err(ReplayError::Line { line, problem });
                }
                let engine = Lane::new(settings.clone(), *fence);
                let player = Player::new(Arc::from(&**name), engine, stood);
                self.lanes.insert(lane, player);
                Ok(())
            }
            Input::InGroup(step) => self.take_step(lane, step),
            other => self
                .player(lane)
                .and_then(|player| player.hear(lane, other)),
        };
        told.map_err(|problem| ReplayError::Line { line, problem })?;
        if let Some(player) = self.lanes.get_mut(&lane) {
            player.collect();
        }
        Ok(())
    }

    /// Holds what a lane has come to against what was recorded of it.
    pub(super) fn compare(
        &mut self,
        line: usize,
        lane: u64,
        at: Time,
        recorded: &Value,
    ) -> Result<(), ReplayError> {
        let next = self.next_event(lane, at);
        if let Some((when, event)) = &next
            && *when == at
            && serde_json::to_value(event).is_ok_and(|event| event == *recorded)
        {
            self.events.extend(next.map(|(_, event)| event));
            return Ok(());
        }
        Err(ReplayError::Diverged(Box::new(Divergence {
            line,
            recorded: Some(recorded.to_string()),
            replayed: next.map(|(_, event)| event),
        })))
    }

    /// All that happened, if that is all that was recorded.
    pub(super) fn end(mut self, line: usize) -> Result<Vec<Event>, ReplayError> {
        let mut lanes: Vec<u64> = self.lanes.keys().copied().collect();
        lanes.sort_unstable();
        for lane in lanes {
            self.all_recorded(line, lane)?;
        }
        Ok(self.events)
    }

    /// Whatever the lane has come to was recorded before it was told anything else.
    fn all_recorded(&mut self, line: usize, lane: u64) -> Result<(), ReplayError> {
        let now = self.built.0;
        match self.next_event(lane, now) {
            None => Ok(()),
            Some((_, event)) => Err(ReplayError::Diverged(Box::new(Divergence {
                line,
                recorded: None,
                replayed: Some(event),
            }))),
        }
    }

    /// What the lane has come to next, and when; of that which bears no time, the shell
    /// had said when.
    fn next_event(&mut self, lane: u64, untimed: Time) -> Option<(Time, Event)> {
        let player = self.lanes.get_mut(&lane)?;
        let mut fact = player.facts.pop_front()?;
        if fact.at == Time::FAR {
            fact.at = untimed;
        }
        let seq = self.events.len() as u64;
        let name = Arc::clone(&player.name);
        Some((fact.at, event_of(self.built, seq, (lane, name), &fact)))
    }

    fn player(&mut self, lane: u64) -> Result<&mut Player, String> {
        let player = self.lanes.get_mut(&lane);
        player.ok_or_else(|| format!("nothing is known of a lane {lane}"))
    }

    fn take_step(&mut self, lane: u64, step: &Step) -> Told {
        let Self { lanes, groups, .. } = self;
        let player = lanes.get_mut(&lane);
        let player = player.ok_or_else(|| format!("nothing is known of a lane {lane}"))?;
        if let Step::Join {
            group: number,
            budget,
            reserved,
            share,
        } = step
        {
            if usize::try_from(*share).is_ok_and(|share| share >= reserved.len()) {
                return Err(format!("group {number} has no share {share}"));
            }
            let add = |sum: usize, share: &usize| sum.checked_add(*share);
            if reserved.iter().try_fold(0, add).is_none() {
                return Err(format!("group {number} cannot have reserved so much"));
            }
            let company = groups.entry(*number).or_insert_with(|| Company {
                group: Group::new(*budget, reserved),
                first: None,
            });
            let member = company.group.join(lane, *share, &mut player.engine);
            player.place = Some((*number, member));
            return Ok(());
        }
        let place = player.place;
        let (number, member) = place.ok_or_else(|| format!("lane {lane} is in no group"))?;
        let company = groups.get_mut(&number);
        let company = company.ok_or_else(|| format!("nothing is known of a group {number}"))?;
        let (group, engine) = (&mut company.group, &mut player.engine);
        match step {
            Step::Enter => {
                player.effects = Effects::new();
                group.enter(member, engine);
            }
            Step::Leave => {
                group.leave(member, engine);
                company.first = None;
            }
            Step::Visit { now } => {
                let mut effects = Effects::new();
                let served = group.visit(*now, member, engine, &mut effects);
                let record = served.and_then(|key| engine.record(key));
                if let (None, Some(record)) = (&company.first, record) {
                    company.first = Some(Arc::clone(&record.payload));
                }
            }
            Step::Verify => {
                group.verify(engine, company.first.take(), &mut player.effects);
                engine.note_reclaims(&player.effects);
            }
            Step::Part => {
                group.part(member, engine);
                player.place = None;
            }
            Step::Join { .. } | Step::Look => {}
        }
        Ok(())
    }
}

impl Player {
    fn new(name: Arc<str>, mut engine: Lane<Task>, stood: &Stood) -> Self {
        // As it was before anybody knew of it.
        if stood.paused {
            engine.pause(None);
        }
        if let Some((deadline, admit_descendants, queued)) = stood.drains {
            engine.start_draining(deadline, admit_descendants, queued);
        }
        if stood.closed {
            engine.close();
        }
        engine.keep_journal(NAMES, false);
        Self {
            name,
            engine,
            spec: None,
            effects: Effects::new(),
            released: Released::Unknown,
            waits_for: None,
            place: None,
            facts: VecDeque::from([Fact::of_lane(What::Made)]),
        }
    }

    fn hear(&mut self, lane: u64, input: &Input) -> Told {
        if self.place.is_none() {
            self.effects = Effects::new();
        }
        let (engine, effects) = (&mut self.engine, &mut self.effects);
        match input {
            Input::Spec(spec) => self.spec = Some(spec.clone()),
            Input::Come {
                now,
                key,
                label,
                entry,
                comer,
            } => {
                // One that is refused is nobody.
                let key = key.unwrap_or(Key::NOBODY);
                let id = TaskId { lane, key };
                let label = label.clone();
                let task = Arc::new(Role { id, label });
                return self.come(*now, task, *entry, comer);
            }
            Input::Release { key, completed } => {
                self.released = engine.release(*key, *completed);
            }
            Input::NoteRelease {
                now,
                key,
                told,
                completed,
            } => engine.note_release(*now, *key, &self.released, told.clone(), *completed),
            Input::SettleRelease { now } => engine.settle_release(*now, &self.released, effects),
            Input::Clear { now, end } => {
                engine.clear(*now, effects, |waited| having_waited(*end, waited));
            }
            Input::Said { key, said } => match key {
                Some(key) => engine.note_untimed(*key, || said.what()),
                None => engine.note_lane(None, || said.what()),
            },
            Input::WaitsFor { text } => self.waits_for = Some(Arc::from(&**text)),
            Input::Retired => self.facts.push_back(Fact::of_lane(What::Retired)),
            listed => {
                listed.repeat(engine, effects);
                let text = self.waits_for.take();
                text.into_iter()
                    .for_each(|text| engine.note_waits_for(text));
            }
        }
        Ok(())
    }

    /// What comes of it is held against the record with what is told of the task.
    fn come(&mut self, now: Time, task: Task, entry: Entry, comer: &Comer) -> Told {
        let (engine, effects) = (&mut self.engine, &mut self.effects);
        let spec = self.spec.as_ref();
        let spec = spec.ok_or("nothing is known of what it is granted")?;
        let _came: Result<Accepted, Refused> = match comer {
            Comer::Plain => engine.submit(now, task, spec, entry),
            Comer::Quiet { window } => engine.submit_quiet(now, task, spec, entry, *window),
            Comer::Placed { kept } => {
                let (came, _) = engine.submit_for(now, task, spec, entry, *kept, effects);
                came
            }
            Comer::Back { task: of } => engine.submit_back(now, task, spec, entry, *of),
            Comer::Instead { older } => {
                let older = older.as_deref().map_or(Older::Holders, Older::These);
                let came = engine.submit_instead(now, task, spec, entry, older, effects);
                came.map(|(accepted, _)| accepted)
            }
            Comer::Reserve => {
                let came = engine.reserve(now, task, spec, entry);
                came.map(|(key, _)| Accepted::Queued { key })
            }
        };
        Ok(())
    }

    fn collect(&mut self) {
        if let Some(news) = self.engine.news() {
            let facts = news.facts().iter_mut();
            self.facts
                .extend(facts.map(|fact| std::mem::replace(fact, Fact::BLANK)));
            news.clear();
        }
    }
}
