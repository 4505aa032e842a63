//! A task that waits for somebody without one of its slots, against whatever
//! ends it or the wait.

use std::future::{Future, pending, poll_fn};
use std::pin::pin;
use std::task::{Poll, Waker};
use std::time::Duration;

use super::chains::{Two, is_cancelled, second_poll};
use super::explore::{explore, explore_at_least, thread};
use super::world::{CEILING, Hand};
use crate::sync::{Arc, Mutex};
use crate::{Reason, TaskContext, TaskError, TaskId, WaitingError};

const LIMIT: Duration = Duration::from_secs(60);

/// Somebody who is waited for.
#[derive(Clone)]
struct Answer(Arc<Mutex<(bool, Option<Waker>)>>);

impl Answer {
    fn none_yet() -> Self {
        Self(Arc::new(Mutex::new((false, None))))
    }

    fn give(&self) {
        let waker = {
            let mut answer = self.0.lock();
            answer.0 = true;
            answer.1.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn wait(&self) -> impl Future<Output = ()> + Send + use<> {
        let answer = self.clone();
        poll_fn(move |cx| {
            let mut answer = answer.0.lock();
            if answer.0 {
                return Poll::Ready(());
            }
            answer.1 = Some(cx.waker().clone());
            Poll::Pending
        })
    }
}

async fn parks(cx: TaskContext, answer: impl Future<Output = ()>) -> Result<(), WaitingError> {
    let wait = cx.waiting("approval").limit(LIMIT).release(["behind"]);
    wait.on(answer).await
}

type Ended = Result<Result<(), WaitingError>, TaskError>;

/// A task that is parked without its slot behind.
fn parked(two: &Two, answer: &Answer) -> (Hand<Ended>, TaskId) {
    let (chain, answer) = (two.chain.clone(), answer.wait());
    let task = Hand::pending(async move { chain.run(async |cx| parks(cx, answer).await).await });
    let id = two.world.lane.snapshot().active[0].id;
    (task, id)
}

/// It is polled as somebody cancels it.
fn poll_against_ask<T>(two: &Two, task: &mut Hand<T>) {
    let id = two.world.lane.snapshot().active[0].id;
    let lanes = two.world.lanes.clone();
    let ask = thread::spawn(move || lanes.cancel(id, Reason::User).expect("it is known"));
    task.poll();
    ask.join().expect("no panic");
}

/// It went on with its slots, or was cancelled, and perhaps told so at its last
/// poll.
fn went_on_or_ended(ended: Ended) {
    match ended {
        Ok(waited) => assert!(matches!(waited, Ok(()) | Err(WaitingError::NotActive))),
        Err(error) => assert!(is_cancelled(&error), "{error}"),
    }
}

/// S2: a task that is asked as it gives its slot back has given it back once.
#[test]
fn s2_park_against_ask() {
    explore("park_against_ask", || park_against_ask(false));
}

/// S10: and nothing is left of it there, also while it has its grace.
#[test]
fn s10_park_against_ask_of_who_listens() {
    explore("park_against_ask_of_listener", || park_against_ask(true));
}

fn park_against_ask(listens: bool) {
    let two = Two::new();
    let chain = two.chain.clone();
    let mut task = Hand::pending(async move {
        let work = async |cx: TaskContext| {
            second_poll().await;
            let mut asked = pin!(cx.cancelled());
            let mut wait = pin!(parks(cx.clone(), pending()));
            // Asked after that, it is still in its wait at the end of this poll.
            let either = poll_fn(|cx| match listens && asked.as_mut().poll(cx).is_ready() {
                true => Poll::Ready(Err(WaitingError::NotActive)),
                false => wait.as_mut().poll(cx),
            });
            either.await
        };
        chain.run(work).await
    });
    poll_against_ask(&two, &mut task);
    let held = two.behind.snapshot().active.len();
    let known = two.behind.domain.read(|engine| engine.records().count());
    assert_eq!(known, held, "S10: it is known where it has no slot");
    two.world.quiesce(&mut [&mut task]);
    match task.answer() {
        Ok(refused) => assert_eq!(refused, Err(WaitingError::NotActive)),
        Err(error) => assert!(is_cancelled(&error), "{error}"),
    }
    two.wind_up();
}

/// S7: an answer that comes as the limit passes is the answer, or the limit is.
#[test]
fn s7_answer_against_the_limit() {
    explore("answer_against_limit", || {
        let two = Two::new();
        let answer = Answer::none_yet();
        let (mut task, _) = parked(&two, &answer);
        let answers = thread::spawn(move || answer.give());
        two.world.pass(LIMIT);
        answers.join().expect("no panic");
        two.world.quiesce(&mut [&mut task]);
        match task.answer().expect("S7: nobody ended it") {
            Ok(()) => {}
            Err(error) => assert!(matches!(error, WaitingError::LimitPassed { .. }), "{error}"),
        }
        two.wind_up();
    });
}

/// S12: a slot that is granted to a task on its way back as that is dropped is
/// passed on.
#[test]
fn s12_stand_in_grant_against_drop() {
    explore("stand_in_grant_against_drop", || {
        let two = Two::new();
        let answer = Answer::none_yet();
        let (mut task, _) = parked(&two, &answer);
        let busy = two.behind.try_acquire().expect("it was given back");
        answer.give();
        assert!(!task.poll(), "it is in line");
        let lane = two.behind.clone();
        let mut next = Hand::pending(async move { lane.acquire().await.map(drop) });
        let release = thread::spawn(move || drop(busy));
        drop(task);
        release.join().expect("no panic");
        two.world.quiesce(&mut [&mut next]);
        next.answer().expect("S12: nobody is in its way");
        two.wind_up();
    });
}

/// S2, S7: the same for one that is cancelled.
#[test]
fn s7_stand_in_grant_against_cancel() {
    explore("stand_in_grant_against_cancel", || {
        let two = Two::new();
        let answer = Answer::none_yet();
        let (mut task, id) = parked(&two, &answer);
        let busy = two.behind.try_acquire().expect("it was given back");
        answer.give();
        assert!(!task.poll(), "it is in line");
        let release = thread::spawn(move || drop(busy));
        two.world
            .lanes
            .cancel(id, Reason::User)
            .expect("it is known");
        release.join().expect("no panic");
        two.world.quiesce(&mut [&mut task]);
        went_on_or_ended(task.answer());
        two.wind_up();
    });
}

/// S4: a lane that is cleared as a task comes back to it clears none that has
/// begun.
#[test]
fn s4_come_back_against_clear() {
    explore("come_back_against_clear", || {
        let two = Two::new();
        let answer = Answer::none_yet();
        let (mut task, _) = parked(&two, &answer);
        let busy = two.behind.try_acquire().expect("it was given back");
        answer.give();
        let behind = two.behind.clone();
        let clear = thread::spawn(move || behind.clear());
        task.poll();
        clear.join().expect("no panic");
        drop(busy);
        two.world.quiesce(&mut [&mut task]);
        task.answer().expect("it had begun").expect("S7");
        two.wind_up();
    });
}

/// S2, S12: a wait that is dropped as its task is cancelled leaves nothing.
#[test]
fn s12_dropped_wait_against_cancel() {
    explore("dropped_wait_against_cancel", || {
        let two = Two::new();
        let chain = two.chain.clone();
        let mut task = Hand::pending(async move {
            let work = async |cx: TaskContext| {
                let wait = cx.waiting("x").limit(LIMIT).release(["behind"]);
                {
                    let mut wait = pin!(wait.on(pending::<()>()));
                    let mut polls = 0;
                    poll_fn(|cx| {
                        polls += 1;
                        let waits = wait.as_mut().poll(cx).is_pending();
                        assert!(waits, "nobody answers");
                        match polls {
                            1 => Poll::Pending,
                            _ => Poll::Ready(()),
                        }
                    })
                    .await;
                }
                second_poll().await;
            };
            chain.run(work).await
        });
        poll_against_ask(&two, &mut task);
        two.world.quiesce(&mut [&mut task]);
        if let Err(error) = task.answer() {
            assert!(is_cancelled(&error), "{error}");
        }
        two.wind_up();
    });
}

/// S7: an answer that comes as the wait is polled wakes its task.
#[test]
fn s7_answer_against_poll() {
    explore("answer_against_poll", || {
        let two = Two::new();
        let answer = Answer::none_yet();
        let (mut task, _) = parked(&two, &answer);
        let answers = thread::spawn(move || answer.give());
        task.poll();
        answers.join().expect("no panic");
        two.world.quiesce(&mut [&mut task]);
        task.answer().expect("nobody ended it").expect("S7");
        two.wind_up();
    });
}

/// S5: a slot that comes free as a task on its way back is polled wakes it.
#[test]
fn s5_release_against_the_way_back() {
    explore("release_against_way_back", || {
        let two = Two::new();
        let answer = Answer::none_yet();
        let (mut task, _) = parked(&two, &answer);
        let busy = two.behind.try_acquire().expect("it was given back");
        answer.give();
        let release = thread::spawn(move || drop(busy));
        task.poll();
        release.join().expect("no panic");
        two.world.quiesce(&mut [&mut task]);
        task.answer().expect("nobody ended it").expect("S5");
        two.wind_up();
    });
}

/// S1: whoever is asked to end as it waits for its slot, having dropped its wait,
/// is not polled without it.
#[test]
fn s1_ask_against_the_way_back_from_a_dropped_wait() {
    explore("ask_against_way_back", || {
        let two = Two::new();
        let chain = two.chain.clone();
        let mut task = Hand::pending(async move {
            let work = async |cx: TaskContext| {
                let wait = cx.waiting("x").limit(LIMIT).release(["behind"]);
                {
                    let mut wait = pin!(wait.on(pending::<()>()));
                    poll_fn(|cx| Poll::Ready(wait.as_mut().poll(cx).is_pending())).await;
                }
                second_poll().await;
            };
            chain.run(work).await
        });
        let busy = two.behind.try_acquire().expect("it was given back");
        poll_against_ask(&two, &mut task);
        two.world.quiesce(&mut [&mut task]);
        assert!(is_cancelled(&task.answer().expect_err("S1")));
        drop(busy);
        two.wind_up();
    });
}

/// S7: one that is detached on its way back goes on without, whenever that is.
#[test]
fn s7_detach_against_the_way_back() {
    explore_at_least(20_000, "detach_against_way_back", || {
        let two = Two::detaching();
        let answer = Answer::none_yet();
        let (mut task, _) = parked(&two, &answer);
        two.world.pass(LIMIT);
        two.world.host.advance(CEILING);
        let domain = Arc::clone(&two.world.lane.domain);
        let driver = thread::spawn(move || domain.fire());
        task.poll();
        driver.join().expect("no panic");
        two.world.quiesce(&mut [&mut task]);
        let _waited = task.answer().expect("nobody ended it");
        two.wind_up();
    });
}
