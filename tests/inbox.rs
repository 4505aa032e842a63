//! Messages that are offered to whoever runs: each is taken once, or is a task
//! of its own.

mod common;

use std::future::{Future, pending};
use std::sync::Arc;
use std::task::{Context, Wake, Waker};

use common::{MINUTE, SECOND, assert_clean, ceilinged, let_run, now, one_lane, poll_once};
use laneway::{
    Drain, Lane, LaneConfig, Lanes, Offered, OnFull, OnStall, QueuedWork, Reason, TaskContext,
    TaskError, TaskStatus, Timeout,
};
use tokio::time::{sleep, timeout};

#[tokio::test(start_paused = true)]
async fn a_message_is_taken_by_who_runs_or_is_the_next_task() {
    let (_lanes, main) = ceilinged(1);
    // Nobody runs: it starts at once.
    let alone = main.task().offer(1_u32, async |_, n| n);
    assert_eq!(alone.await.unwrap(), Offered::Ran(1));
    let turn = main.spawn(async |cx| {
        let mut inbox = cx.inbox::<u32>();
        let mut all = Vec::new();
        while let Some(n) = inbox.recv().await {
            all.push(n);
            if n == 4 {
                break;
            }
        }
        // Whatever comes from here on comes too late.
        sleep(MINUTE).await;
        all
    });
    // In line before the inbox is open, and after.
    let early = main.task().offer(2_u32, async |_, n| n);
    assert_eq!(early.task().status(), TaskStatus::Queued);
    let_run().await;
    let more = [
        main.task().offer(3_u32, async |_, n| n),
        main.task().offer(4_u32, async |_, n| n),
    ];
    let_run().await;
    let late = main.task().offer(5_u32, async |_, n| n * 10);
    let taken = Offered::Taken { by: turn.id() };
    assert_eq!(early.await.unwrap(), taken);
    for offer in more {
        assert_eq!(offer.await.unwrap(), taken);
    }
    assert_eq!(late.await.unwrap(), Offered::Ran(50));
    assert_eq!(turn.await.unwrap(), [2, 3, 4]);
    // Each was a task, and its message was counted once.
    let counters = assert_clean(&main);
    assert_eq!(
        (counters.submitted, counters.completed, counters.ended),
        (6, 3, 3)
    );
}

/// What is unread when a turn ends is the next turn's, first to last, and may
/// be taken by that one.
#[tokio::test(start_paused = true)]
async fn s7_what_is_unread_at_the_end_of_a_turn_is_not_lost() {
    let (_lanes, main) = ceilinged(1);
    let turn = main.spawn(async |cx| {
        let inbox = cx.inbox::<&str>();
        sleep(SECOND).await;
        drop(inbox);
    });
    let_run().await;
    let body = async |cx: laneway::TaskContext, first: &'static str| {
        let mut inbox = cx.inbox::<&str>();
        let mut all = vec![first];
        while let Some(more) = inbox.try_recv() {
            all.push(more);
        }
        all
    };
    let offers = ["a", "b", "c"].map(|text| main.task().offer(text, body));
    turn.await.unwrap();
    let [a, b, c] = offers;
    let by = a.id();
    assert_eq!(a.await.unwrap(), Offered::Ran(vec!["a", "b", "c"]));
    assert_eq!(b.await.unwrap(), Offered::Taken { by });
    assert_eq!(c.await.unwrap(), Offered::Taken { by });
    assert_clean(&main);
}

/// By type, and by key.
#[tokio::test(start_paused = true)]
async fn s4_a_message_is_for_whom_it_is_meant() {
    let (_lanes, main) = ceilinged(2);
    let reader = |key: &'static str| {
        main.task().key(key).spawn(async |cx| {
            let mut inbox = cx.inbox::<u32>();
            let mut all = Vec::new();
            while let Some(n) = inbox.recv().await {
                all.push(n);
                if n == 0 {
                    break;
                }
            }
            all
        })
    };
    let (a, b) = (reader("a"), reader("b"));
    let_run().await;
    let stranger = main
        .task()
        .key("a")
        .offer("no number", async |_, text| text);
    let third = main.task().key("c").offer(9_u32, async |_, n| n);
    for n in [1, 2] {
        drop(main.task().key("a").offer(n, async |_, _: u32| ()));
    }
    drop(main.task().key("b").offer(3, async |_, _: u32| ()));
    let_run().await;
    assert_eq!(stranger.task().status(), TaskStatus::Queued);
    assert_eq!(third.task().status(), TaskStatus::Queued);
    // One for all, and a last word to each.
    let any = main.task().offer(4_u32, async |_, _| ());
    let Offered::Taken { by } = any.await.unwrap() else {
        panic!("both of them wait for it");
    };
    for key in ["a", "b"] {
        drop(main.task().key(key).offer(0, async |_, _: u32| ()));
    }
    let (a_id, mut a, mut b) = (a.id(), a.await.unwrap(), b.await.unwrap());
    let one = if by == a_id { &mut a } else { &mut b };
    one.retain(|n| *n != 4);
    assert_eq!((a, b), (vec![1, 2, 0], vec![3, 0]));
    assert_eq!(stranger.await.unwrap(), Offered::Ran("no number"));
    assert_eq!(third.await.unwrap(), Offered::Ran(9));
    assert_clean(&main);
}

/// One who was asked to end, or has lost its slot, takes nothing any more.
#[tokio::test(start_paused = true)]
async fn s11_nobody_takes_a_message_who_is_not_to_act_on_it() {
    let (lanes, main) = ceilinged(1);
    let turn = main.spawn(async |cx| {
        let mut inbox = cx.inbox::<u32>();
        let mut reason = std::pin::pin!(cx.cancelled());
        assert!(poll_once(reason.as_mut()).is_pending(), "it listens");
        // The ask ends the wait for messages, too.
        let last = inbox.recv().await;
        sleep(SECOND).await;
        (last, inbox.try_recv())
    });
    let_run().await;
    lanes.cancel(turn.id(), Reason::User).unwrap();
    let offer = main.task().offer(1_u32, async |_, n| n);
    let began = now();
    assert_eq!(turn.await.unwrap(), (None, None));
    assert_eq!(offer.await.unwrap(), Offered::Ran(1));
    assert_eq!(began.elapsed(), SECOND);
    // By force: its slot is the next one's, and so is the message.
    let slot = main.acquire().await.unwrap();
    let mut inbox = slot.context().inbox::<u32>();
    let mut waits = Box::pin(inbox.recv());
    assert!(poll_once(waits.as_mut()).is_pending());
    main.reset();
    let offer = main.task().offer(2_u32, async |_, n| n);
    assert_eq!(waits.await, None);
    assert_eq!(offer.await.unwrap(), Offered::Ran(2));
    drop(inbox);
    drop(slot);
    assert_clean(&main);
}

/// S7: whatever happens to the queue, the message's sender is told.
#[tokio::test(start_paused = true)]
async fn s7_an_offer_is_a_task_like_any_other() {
    let (lanes, main) = one_lane(LaneConfig::new(1).queue_capacity(1));
    let slot = main.acquire().await.unwrap();
    // No inbox: it waits.
    let offer = main.task().key("k").offer(1_u32, async |_, n| n);
    let full = main.task().offer(2_u32, async |_, n| n).await.unwrap_err();
    assert!(matches!(full, TaskError::QueueFull { .. }), "{full:?}");
    assert_eq!(lanes.cancel_key("k", Reason::User), 1);
    let told = offer.await.unwrap_err();
    assert!(matches!(
        told,
        TaskError::CancelledQueued {
            reason: Reason::User,
            ..
        }
    ));
    let offer = main.task().offer(3_u32, async |_, n| n);
    main.clear();
    assert!(matches!(
        offer.await.unwrap_err(),
        TaskError::Cleared { .. }
    ));
    let patient = main.task().timeout(Timeout::wait(SECOND));
    let offer = patient.offer(4_u32, async |_, n| n);
    let told = offer.await.unwrap_err();
    assert!(matches!(told, TaskError::TimedOut { .. }), "{told:?}");
    let offer = main.task().meta("kept").offer(5_u32, async |_, n| n);
    let drain = main.drain(Drain::within(MINUTE).queued(QueuedWork::Return));
    assert!(offer.await.unwrap_err().is_retryable());
    drop(slot);
    let report = drain.await;
    assert_eq!(report.returned.len(), 1);
    let meta = report.returned[0].meta.as_ref().unwrap();
    assert_eq!(meta.downcast_ref::<&str>(), Some(&"kept"));
    let told = main.task().offer(6_u32, async |_, n| n).await.unwrap_err();
    assert!(matches!(told, TaskError::Draining { .. }));
    main.resume();
    // Taken from a full queue, it leaves its place to the next.
    let slot = main.acquire().await.unwrap();
    let mut inbox = slot.context().inbox::<u32>();
    for n in 0..10 {
        let offer = main.task().offer(n, async |_, n| n);
        assert_eq!(inbox.try_recv(), Some(n));
        assert_eq!(offer.await.unwrap(), Offered::Taken { by: slot.id() });
    }
    assert_eq!(inbox.try_recv(), None);
    drop((inbox, slot));
    assert_clean(&main);
}

/// S12: a wait for a message that is dropped loses none.
#[tokio::test(start_paused = true)]
async fn s12_a_wait_that_is_dropped_takes_nothing() {
    let (_lanes, main) = ceilinged(1);
    let slot = main.acquire().await.unwrap();
    let mut inbox = slot.context().inbox::<u32>();
    for polled in [false, true] {
        let mut waits = Box::pin(inbox.recv());
        if polled {
            assert!(poll_once(waits.as_mut()).is_pending());
        }
        let offer = main.task().offer(7_u32, async |_, n| n);
        let_run().await;
        drop(waits);
        assert_eq!(offer.task().status(), TaskStatus::Queued);
        assert_eq!(inbox.recv().await, Some(7));
        assert_eq!(offer.await.unwrap(), Offered::Taken { by: slot.id() });
    }
    let offer = main.task().offer(8_u32, async |_, n| n);
    drop((inbox, slot));
    assert_eq!(offer.await.unwrap(), Offered::Ran(8));
    assert_clean(&main);
}

/// S13, S14: the message's destructor may use the lane, and may panic.
#[tokio::test(start_paused = true)]
async fn s13_s14_a_message_that_panics_as_it_goes_costs_nobody() {
    struct Hostile(laneway::Lane);
    impl Drop for Hostile {
        fn drop(&mut self) {
            drop(self.0.snapshot());
            drop(self.0.try_acquire());
            if !std::thread::panicking() {
                std::panic::resume_unwind(Box::new("on purpose"));
            }
        }
    }
    let (_lanes, main) = ceilinged(1);
    let slot = main.acquire().await.unwrap();
    let offer = main.task().offer(Hostile(main.clone()), async |_, _| ());
    assert_eq!(main.clear(), 1);
    assert!(matches!(
        offer.await.unwrap_err(),
        TaskError::Cleared { .. }
    ));
    let offer = main.task().offer(Hostile(main.clone()), async |_, _| ());
    drop(offer);
    assert_eq!(main.clear(), 1);
    drop(slot);
    main.run(async |_| ()).await.unwrap();
    assert_clean(&main);
}

/// On threads: turns that end, and messages that come all the time; each is
/// handled exactly once, and by a task of its own or by one that was current.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn s2_s7_each_of_many_messages_is_handled_once() {
    const SENDERS: usize = 8;
    const EACH: usize = 300;
    let lanes = Lanes::builder();
    let lanes = lanes.lane("main", LaneConfig::new(1).no_stall_ceiling());
    let lanes = lanes.build().unwrap();
    let main = lanes.lane("main").unwrap();
    let (handled, mut all) = tokio::sync::mpsc::unbounded_channel();
    let mut senders = Vec::new();
    for sender in 0..SENDERS {
        let (main, handled) = (main.clone(), handled.clone());
        senders.push(tokio::spawn(async move {
            let (mut taken, mut ran) = (0, 0);
            for n in 0..EACH {
                let handled = handled.clone();
                let offer = main
                    .task()
                    .offer(sender * EACH + n, async move |cx, first| {
                        handled.send(first).unwrap();
                        let mut inbox = cx.inbox::<usize>();
                        for _ in 0..first % 4 {
                            tokio::task::yield_now().await;
                            if let Some(more) = inbox.try_recv() {
                                handled.send(more).unwrap();
                            }
                        }
                    });
                match offer.await.unwrap() {
                    Offered::Taken { .. } => taken += 1,
                    Offered::Ran(()) => ran += 1,
                    other => panic!("{other:?}"),
                }
            }
            (taken, ran)
        }));
    }
    drop(handled);
    let (mut taken, mut ran) = (0, 0);
    for sender in senders {
        let (some, others) = sender.await.unwrap();
        taken += some;
        ran += others;
    }
    assert_eq!(taken + ran, SENDERS * EACH);
    let mut seen = vec![0; SENDERS * EACH];
    while let Some(n) = all.recv().await {
        seen[n] += 1;
    }
    assert!(seen.iter().all(|times| *times == 1), "S2: exactly once");
    assert_eq!(usize::try_from(assert_clean(&main).completed).unwrap(), ran);
}

/// Woken for a message, it clears the queue that the message is in.
struct Clears(Lane);

impl Wake for Clears {
    fn wake(self: Arc<Self>) {
        assert_eq!(self.0.clear(), 1);
    }
}

/// It is over before its submitter has seen to what would cancel it.
#[tokio::test(start_paused = true)]
async fn s15_what_would_cancel_a_message_goes_with_it_however_soon_it_is_over() {
    let (_lanes, main) = ceilinged(1);
    let slot = main.acquire().await.unwrap();
    let waker = Waker::from(Arc::new(Clears(main.clone())));
    let mut inbox = slot.context().inbox::<u32>();
    let mut waits = Box::pin(inbox.recv());
    let polled = waits.as_mut().poll(&mut Context::from_waker(&waker));
    assert!(polled.is_pending());
    let kept = Arc::new(());
    let held = Arc::clone(&kept);
    let never = async move {
        pending::<()>().await;
        drop(held);
    };
    let offer = main.task().cancel_on(never).offer(7_u32, async |_, n| n);
    assert_eq!(offer.task().status(), TaskStatus::Settled);
    let_run().await;
    assert_eq!(Arc::strong_count(&kept), 1, "S15: its signal is kept");
    assert!(matches!(offer.await, Err(TaskError::Cleared { .. })));
}

/// Whoever reads beside the task is told when that is asked to end.
#[tokio::test(start_paused = true)]
async fn s7_a_reader_beside_its_task_is_told_when_that_is_asked_to_end() {
    let (_lanes, main) = ceilinged(1);
    let slot = main.acquire().await.unwrap();
    let mut inbox = slot.context().inbox::<u32>();
    let reads = tokio::spawn(async move { inbox.recv().await });
    let_run().await;
    assert_eq!(main.cancel_all(Reason::User), 1);
    let_run().await;
    assert!(reads.is_finished());
    assert_eq!(reads.await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn s6_of_messages_for_it_and_for_anybody_the_oldest_is_taken_first() {
    for first in ["k", ""] {
        let (_lanes, main) = ceilinged(1);
        let slot = main.task().key("k").acquire().await.unwrap();
        let second = if first.is_empty() { "k" } else { "" };
        for (n, key) in [(1_u32, first), (2, second)] {
            let task = main.task();
            let task = if key.is_empty() { task } else { task.key(key) };
            drop(task.offer(n, async |_, _| ()));
        }
        let mut inbox = slot.context().inbox::<u32>();
        assert_eq!([inbox.try_recv(), inbox.try_recv()], [Some(1), Some(2)]);
    }
}

/// S5: a message that is taken leaves its place to whoever is at the door.
#[tokio::test(start_paused = true)]
async fn s5_whoever_is_at_the_door_has_the_place_of_a_message_that_is_taken() {
    let config = LaneConfig::new(1).queue_capacity(1).on_full(OnFull::Wait);
    let (_lanes, main) = one_lane(config);
    let slot = main.acquire().await.unwrap();
    let offer = main.task().offer(7_u32, async |_, _| ());
    let mut place = Box::pin(main.reserve());
    assert!(poll_once(place.as_mut()).is_pending());
    assert_eq!(slot.context().inbox().try_recv(), Some(7_u32));
    assert!(poll_once(place.as_mut()).is_ready(), "the queue has room");
    drop(offer);
}

/// S11: nor does what runs on without its slot.
#[tokio::test(start_paused = true)]
async fn s11_who_was_detached_from_its_slot_takes_no_message() {
    let config = LaneConfig::new(1).stall_ceiling(MINUTE);
    let (_lanes, main) = one_lane(config.on_stall(OnStall::Detach));
    let slot = main.acquire().await.unwrap();
    let mut inbox = slot.context().inbox::<u32>();
    sleep(MINUTE + SECOND).await;
    let busy = main.acquire().await.unwrap();
    let offer = main.task().offer(7_u32, async |_, n| n);
    assert_eq!(inbox.try_recv(), None);
    drop(busy);
    assert_eq!(offer.await.unwrap(), Offered::Ran(7));
}

/// S7: what runs on without its slot takes no more messages, and is told so.
#[tokio::test(start_paused = true)]
async fn s7_a_reader_that_was_detached_from_its_slot_is_told() {
    let config = LaneConfig::new(1).stall_ceiling(MINUTE);
    let (_lanes, main) = one_lane(config.on_stall(OnStall::Detach));
    let turn = main.spawn(async |cx| cx.inbox::<u32>().recv().await);
    sleep(MINUTE + SECOND).await;
    assert_eq!(turn.status(), TaskStatus::Settled);
    assert_eq!(turn.await.unwrap(), None);
}

/// S7: a wait is no ask, and one that keeps the slot keeps what is offered to it.
#[tokio::test(start_paused = true)]
async fn s7_a_task_reads_while_it_is_parked_with_its_slot() {
    let (_lanes, main) = one_lane(LaneConfig::new(1));
    let turn = main.spawn(async |cx| {
        let mut inbox = cx.inbox::<u32>();
        cx.waiting("an answer").on(inbox.recv()).await
    });
    let_run().await;
    let offer = main.task().offer(7_u32, async |_, n| n);
    assert_eq!(turn.await.unwrap().unwrap(), Some(7));
    assert!(matches!(offer.await.unwrap(), Offered::Taken { .. }));
}

/// S7, S11: without its slot it reads nothing, and goes on when it has it again.
#[tokio::test(start_paused = true)]
async fn s7_s11_a_reader_waits_while_its_task_is_without_its_slot() {
    let (_lanes, main) = one_lane(LaneConfig::new(1));
    let (answer, asked) = tokio::sync::oneshot::channel::<()>();
    let turn = main.spawn(async move |cx| {
        let mut inbox = cx.inbox::<u32>();
        let reader = tokio::spawn(async move { inbox.recv().await });
        drop(cx.waiting("an answer").release(["main"]).on(asked).await);
        reader.await.unwrap()
    });
    let_run().await;
    let alone = main.task().offer(6_u32, async |_, n| n);
    assert_eq!(alone.await.unwrap(), Offered::Ran(6));
    let busy = main.acquire().await.unwrap();
    let offer = main.task().offer(7_u32, async |_, n| n);
    let_run().await;
    answer.send(()).unwrap();
    let_run().await;
    drop(busy);
    assert_eq!(turn.await.unwrap(), Some(7));
    assert!(matches!(offer.await.unwrap(), Offered::Taken { .. }));
}

#[tokio::test(start_paused = true)]
async fn s7_an_inbox_that_goes_takes_nobody_elses_waker() {
    let (_lanes, main) = one_lane(LaneConfig::new(2));
    let first = main.spawn(async |cx: TaskContext| {
        let mut inbox = cx.inbox::<u32>();
        let n = inbox.recv().await;
        sleep(SECOND).await;
        n
    });
    let_run().await;
    let filler = main.acquire().await.unwrap();
    let one = main.task().offer(1_u32, async |_, n| n);
    assert_eq!(one.await.unwrap(), Offered::Taken { by: first.id() });
    drop(filler);
    let second = main.spawn(async |cx: TaskContext| cx.inbox::<u32>().recv().await);
    let_run().await;
    assert_eq!(first.await.unwrap(), Some(1));
    let _filler = main.acquire().await.unwrap();
    let two = main.task().offer(2_u32, async |_, n| n);
    // Within the 30 s after which a warning's probe wakes the reader by chance.
    let told = timeout(5 * SECOND, two)
        .await
        .expect("the reader was not woken");
    assert_eq!(told.unwrap(), Offered::Taken { by: second.id() });
}

/// It was granted a slot where nobody runs it, and that was passed on.
#[tokio::test(start_paused = true)]
async fn s20_a_message_that_is_back_in_line_can_be_taken() {
    let (_lanes, main) = one_lane(LaneConfig::new(2).no_stall_ceiling());
    let elsewhere = || {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_all().build().unwrap()
    };
    // Made, and dropped, where no other runtime is entered.
    let elsewhere = std::thread::spawn(elsewhere).join().unwrap();
    let reader = main.acquire().await.unwrap();
    let mut inbox = reader.context().inbox::<u32>();
    let mut second = reader.context().inbox::<u32>();
    let offer = |n: u32| {
        let _entered = elsewhere.enter();
        main.task().offer(n, async |_, n| n)
    };
    let other = main.acquire().await.unwrap();
    let mut offers = [offer(7), offer(8)];
    drop(other);
    // One of them is granted; the reader that waits is told when it is not any more.
    assert_eq!(inbox.try_recv(), Some(8));
    let read = tokio::spawn(async move { second.recv().await });
    let_run().await;
    sleep(6 * SECOND).await;
    let taken = timeout(SECOND, read).await;
    std::thread::spawn(move || drop(elsewhere)).join().unwrap();
    assert_eq!(taken.expect("it is not told").unwrap(), Some(7));
    let by = reader.id();
    for offer in &mut offers {
        assert_eq!(offer.await.unwrap(), Offered::Taken { by });
    }
}

/// As what a closure has captured does.
#[tokio::test(start_paused = true)]
async fn s15_a_message_that_will_not_run_goes_with_its_place_in_line() {
    let (_lanes, main) = one_lane(LaneConfig::new(1));
    let _slot = main.acquire().await.unwrap();
    let message = Arc::new(());
    let offer = main.task().offer(Arc::clone(&message), async |_, _| ());
    let merge = |older, _| older;
    let input = Arc::clone(&message);
    let merged = [
        main.task()
            .coalesce(Arc::clone(&message), merge, async |_, _| ()),
        main.task().coalesce(input, merge, async |_, _| ()),
    ];
    assert_eq!(main.clear(), 2);
    assert_eq!(Arc::strong_count(&message), 1);
    let told = offer.await;
    assert!(matches!(told, Err(TaskError::Cleared { .. })), "{told:?}");
    for merged in merged {
        let told = merged.await;
        assert!(matches!(told, Err(TaskError::Cleared { .. })), "{told:?}");
    }
}
