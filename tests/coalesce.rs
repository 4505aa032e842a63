//! Many calls that come to one task: each input is in one task, and whoever
//! gave it has the outcome of that.

mod common;

use std::cell::RefCell;
use std::future::Future;
use std::time::Duration;

use common::{MINUTE, SECOND, assert_clean, ceilinged, let_run, now, one_lane, poll_once};
use laneway::{
    Lane, LaneConfig, Lanes, Priority, Reason, SharedHandle, TaskError, TaskStatus, Timeout,
};
use tokio::time::sleep;

fn join(lane: &Lane, key: &'static str, text: &str) -> SharedHandle<String> {
    let task = lane.task().key(key);
    let merge = |all: String, more: String| all + "," + &more;
    task.coalesce(text.to_owned(), merge, async |_, all| {
        sleep(SECOND).await;
        all
    })
}

#[tokio::test(start_paused = true)]
async fn s6_inputs_are_merged_in_their_order_and_everybody_has_the_outcome() {
    let (_lanes, main) = ceilinged(1);
    let slot = main.acquire().await.unwrap();
    let (a, other, b) = (
        join(&main, "k", "a"),
        join(&main, "l", "x"),
        join(&main, "k", "b"),
    );
    let dropped = join(&main, "k", "dropped");
    assert_eq!((a.id(), a.id()), (b.id(), dropped.id()));
    assert_ne!(a.id(), other.id());
    assert_eq!(main.snapshot().queued.len(), 2);
    drop(dropped);
    drop(slot);
    let (mut a, mut b) = (a, b);
    // Awaited as often as one likes, by any number of them.
    for _ in 0..2 {
        let (a, b) = tokio::join!(&mut a, &mut b);
        assert_eq!(
            (&***a.as_ref().unwrap(), &***b.as_ref().unwrap()),
            ("a,b,dropped", "a,b,dropped")
        );
        assert!(
            std::sync::Arc::ptr_eq(&a.unwrap(), &b.unwrap()),
            "one outcome"
        );
    }
    assert_eq!(*other.await.unwrap(), "x");
    let counters = assert_clean(&main);
    assert_eq!((counters.submitted, counters.completed), (3, 3));
}

/// What has begun is not joined, and what is newest is.
#[tokio::test(start_paused = true)]
async fn s2_a_task_that_has_begun_takes_no_more() {
    let (_lanes, main) = ceilinged(1);
    let first = join(&main, "k", "a");
    let_run().await;
    let (second, third) = (join(&main, "k", "b"), join(&main, "k", "c"));
    assert_ne!(first.id(), second.id());
    assert_eq!(second.id(), third.id());
    assert_eq!(*first.await.unwrap(), "a");
    assert_eq!(
        (&**second.await.unwrap(), &**third.await.unwrap()),
        ("b,c", "b,c")
    );
    // Other types are another matter, and so is another key, or none.
    let slot = main.acquire().await.unwrap();
    let text = join(&main, "k", "a");
    let number = main
        .task()
        .key("k")
        .coalesce(1, |a, b| a + b, async |_, n: u32| n);
    let keyless = || main.task().coalesce(1, |a, b| a + b, async |_, n: u32| n);
    let (one, other) = (keyless(), keyless());
    let plain = main.task().key("k").spawn(async |_| ());
    assert_eq!(main.snapshot().queued.len(), 4);
    drop(slot);
    plain.await.unwrap();
    assert_eq!((&**text.await.unwrap(), *number.await.unwrap()), ("a", 1));
    assert_eq!((*one.await.unwrap(), *other.await.unwrap()), (2, 2));
    assert_clean(&main);
}

/// S7: whatever the one task comes to, all of them are told.
#[tokio::test(start_paused = true)]
async fn s7_everybody_is_told_how_it_ended() {
    let (lanes, main) = one_lane(LaneConfig::new(1).queue_capacity(1));
    let slot = main.acquire().await.unwrap();
    let both = || (join(&main, "k", "a"), join(&main, "k", "b"));
    let (a, b) = both();
    assert_eq!(lanes.cancel_key("k", Reason::User), 1);
    for told in [a.await, b.await] {
        let told = told.unwrap_err();
        assert!(matches!(
            told,
            TaskError::CancelledQueued {
                reason: Reason::User,
                ..
            }
        ));
    }
    let (a, b) = both();
    b.cancel(Reason::Superseded);
    for told in [a.await, b.await] {
        let told = told.unwrap_err();
        let reason = Reason::Superseded;
        assert!(matches!(told, TaskError::CancelledQueued { reason: r, .. } if r == reason));
    }
    // A full queue takes what needs no place, and refuses the rest.
    let (a, b) = both();
    let mut refused = join(&main, "l", "a");
    let told = (&mut refused).await.unwrap_err();
    assert_eq!(told.id(), Some(refused.id()));
    assert!(matches!(told, TaskError::QueueFull { .. }), "{told:?}");
    // Closed to all that is new, merged or not.
    main.close();
    let told = join(&main, "k", "c").await.unwrap_err();
    assert!(matches!(told, TaskError::Closed { .. }), "{told:?}");
    drop(slot);
    assert_eq!((&**a.await.unwrap(), &**b.await.unwrap()), ("a,b", "a,b"));
    assert_clean(&main);
}

/// S14: a panic in the task, or in what merges, reaches each of them.
#[tokio::test(start_paused = true)]
async fn s14_a_panic_is_everybodys() {
    let (_lanes, main) = ceilinged(1);
    for merges in [false, true] {
        let slot = main.acquire().await.unwrap();
        let task = || {
            let merge = move |a: u32, b: u32| {
                assert!(!merges, "merged on purpose");
                a + b
            };
            let task = main.task().key("k");
            task.coalesce(1, merge, async |_, n: u32| {
                assert_eq!(n, 0, "run on purpose");
            })
        };
        let all = [task(), task(), task()];
        drop(slot);
        for told in all {
            let TaskError::Panicked { payload, .. } = told.await.unwrap_err() else {
                panic!("it panicked");
            };
            let why = if merges { "merged" } else { "run" };
            assert!(payload.message().contains(why), "{payload}");
        }
    }
    main.run(async |_| ()).await.unwrap();
    assert_clean(&main);
}

/// The options are the first one's.
#[tokio::test(start_paused = true)]
async fn s6_whoever_is_merged_has_the_place_of_the_first() {
    let (_lanes, main) = ceilinged(1);
    let slot = main.acquire().await.unwrap();
    let order = RefCell::new(Vec::new());
    let first = main.task().key("k").priority(Priority::Background);
    let first = first.coalesce(1, |a, b| a + b, async |_, n: u32| n);
    let mut between = Box::pin(main.run(async |_| order.borrow_mut().push("between")));
    assert!(poll_once(between.as_mut()).is_pending());
    let urgent = main.task().key("k").priority(Priority::Foreground);
    let urgent = urgent.timeout(Timeout::wait(SECOND));
    let urgent = urgent.coalesce(2, |a, b| a + b, async |_, n: u32| n);
    sleep(MINUTE / 4).await;
    assert_eq!(
        main.snapshot().queued.len(),
        2,
        "its patience is the first one's"
    );
    drop(slot);
    let both = async {
        assert_eq!((*first.await.unwrap(), *urgent.await.unwrap()), (3, 3));
        order.borrow_mut().push("both");
    };
    let (ran, ()) = tokio::join!(between, both);
    ran.unwrap();
    assert_eq!(*order.borrow(), ["between", "both"]);
    assert_clean(&main);
}

/// On threads, while tasks begin and end all the time: each input is in one
/// task, and the outcome is of that one.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn s2_s7_each_of_many_inputs_is_merged_once() {
    const CALLERS: usize = 8;
    const EACH: usize = 300;
    let lanes = Lanes::builder();
    let lanes = lanes.lane("main", LaneConfig::new(2).no_stall_ceiling());
    let lanes = lanes.build().unwrap();
    let main = lanes.lane("main").unwrap();
    let (say, mut said) = tokio::sync::mpsc::unbounded_channel();
    let mut callers = Vec::new();
    for caller in 0..CALLERS {
        let (main, say) = (main.clone(), say.clone());
        callers.push(tokio::spawn(async move {
            for n in 0..EACH {
                let (mine, say) = (caller * EACH + n, say.clone());
                let merge = |mut all: Vec<usize>, more: Vec<usize>| {
                    all.extend(more);
                    all
                };
                let task = main.task().key("k");
                let all = task.coalesce(vec![mine], merge, async move |_, all: Vec<usize>| {
                    tokio::task::yield_now().await;
                    say.send(all.clone()).unwrap();
                    all
                });
                assert!(all.await.unwrap().contains(&mine), "the outcome of another");
            }
        }));
    }
    drop(say);
    for caller in callers {
        caller.await.unwrap();
    }
    let (mut seen, mut tasks) = (vec![0; CALLERS * EACH], 0);
    while let Some(all) = said.recv().await {
        tasks += 1;
        for n in all {
            seen[n] += 1;
        }
    }
    assert!(seen.iter().all(|times| *times == 1), "S2: exactly once");
    assert_eq!(assert_clean(&main).completed, tasks);
}

fn typed(lane: &Lane, text: &str) -> SharedHandle<String> {
    let merge = |all: String, more: String| all + "," + &more;
    let task = lane.task().key("typed");
    task.debounce(2 * SECOND, text.to_owned(), merge, async |_, all| all)
}

#[tokio::test(start_paused = true)]
async fn a_quiet_window_begins_anew_with_everything_that_is_merged() {
    let (_lanes, main) = ceilinged(1);
    let began = now();
    let mut all = vec![typed(&main, "a")];
    for text in ["b", "c", "d"] {
        sleep(SECOND).await;
        all.push(typed(&main, text));
    }
    // It is put off, and so in nobody's way.
    main.run(async |_| ()).await.unwrap();
    assert_eq!(main.snapshot().queued.len(), 1);
    for one in all {
        assert_eq!(&**one.await.unwrap(), "a,b,c,d");
    }
    assert_eq!(began.elapsed(), 5 * SECOND);
    // Alone it waits for its window, too, and what comes later is another.
    let began = now();
    assert_eq!(&**typed(&main, "e").await.unwrap(), "e");
    assert_eq!(began.elapsed(), 2 * SECOND);
    assert_clean(&main);
}

/// However long its slot is awaited: it goes out of the queue, and back to its place.
#[tokio::test(start_paused = true)]
async fn s6_a_quiet_window_begins_anew_in_the_queue_too() {
    let (_lanes, main) = ceilinged(1);
    let slot = main.acquire().await.unwrap();
    let began = now();
    let a = typed(&main, "a");
    let other = main.spawn(async move |_| began.elapsed());
    sleep(3 * SECOND).await;
    let b = typed(&main, "b");
    // Without a window of its own it is merged all the same.
    sleep(SECOND).await;
    let merge = |all: String, more: String| all + "," + &more;
    let task = main.task().key("typed");
    let c = task.coalesce("c".to_owned(), merge, async |_, all| all);
    sleep(SECOND).await;
    drop(slot);
    assert_eq!(other.await.unwrap(), 5 * SECOND);
    for one in [a, b, c] {
        assert_eq!(&**one.await.unwrap(), "a,b,c");
    }
    assert_eq!(began.elapsed(), 6 * SECOND);
    let slot = main.acquire().await.unwrap();
    let a = typed(&main, "a");
    let other = main.spawn(async |_| sleep(SECOND).await);
    sleep(3 * SECOND).await;
    let b = typed(&main, "b");
    sleep(3 * SECOND).await;
    drop(slot);
    assert_eq!(&**a.await.unwrap(), "a,b");
    assert_ne!(other.status(), TaskStatus::Settled);
    drop(b);
    other.await.unwrap();
    assert_clean(&main);
}

/// A task has the options of the first that is merged, and that had no window.
#[tokio::test(start_paused = true)]
async fn whoever_has_a_quiet_window_puts_nobody_off_who_has_none() {
    let (_lanes, main) = ceilinged(1);
    let slot = main.acquire().await.unwrap();
    let merge = |all: String, more: String| all + "," + &more;
    let task = main.task().key("typed");
    let a = task.coalesce("a".to_owned(), merge, async |_, all| all);
    let _b = typed(&main, "b");
    let began = now();
    drop(slot);
    assert_eq!(&**a.await.unwrap(), "a,b");
    assert_eq!(began.elapsed(), Duration::ZERO);
}

/// A queue of no places has one for nobody, and whoever finds a slot needs none.
#[tokio::test(start_paused = true)]
async fn who_is_put_off_is_accepted_for_a_free_slot_where_nobody_may_queue() {
    let (_lanes, main) = one_lane(LaneConfig::new(1).queue_capacity(0));
    let put_off = |n: u32| {
        let task = main.task().key("k");
        task.debounce(SECOND, n, |a, b| a + b, async |_, n| n)
    };
    let both = [put_off(1), put_off(2)];
    // The slot is not kept for it: it comes to the queue if that is taken by then.
    let slot = main.try_acquire().unwrap();
    sleep(2 * SECOND).await;
    drop(slot);
    for task in both {
        assert_eq!(*task.await.unwrap(), 3);
    }
    let _slot = main.try_acquire().unwrap();
    assert!(matches!(
        put_off(4).await,
        Err(TaskError::QueueFull { capacity: 0, .. })
    ));
}

/// S7: not for ever, however often it is asked for.
#[tokio::test(start_paused = true)]
async fn s7_nobody_is_put_off_for_ever() {
    let (_lanes, main) = ceilinged(1);
    let began = now();
    let mut first = typed(&main, "a");
    let mut more = 0;
    let told = loop {
        tokio::select! {
            biased;
            told = &mut first => break told.unwrap(),
            () = sleep(SECOND) => {
                drop(typed(&main, "b"));
                more += 1;
            }
        }
    };
    assert_eq!(began.elapsed(), 20 * SECOND);
    assert!(told.matches('b').count() >= more - 1, "{told}");
    main.idle().await;
    assert_clean(&main);
}

/// S7: a task that is put off is queued in every other respect.
#[tokio::test(start_paused = true)]
async fn s7_who_is_put_off_is_answered_like_the_queued() {
    let (lanes, main) = one_lane(LaneConfig::new(1).queue_capacity(1));
    let off = typed(&main, "a");
    assert_eq!(lanes.cancel_key("typed", Reason::User), 1);
    assert!(matches!(
        off.await.unwrap_err(),
        TaskError::CancelledQueued { .. }
    ));
    let off = typed(&main, "a");
    assert_eq!(main.clear(), 1);
    assert!(matches!(off.await.unwrap_err(), TaskError::Cleared { .. }));
    let patient = main.task().timeout(Timeout::wait(SECOND));
    let off = patient.debounce(MINUTE, 1, |a, b| a + b, async |_, n: u32| n);
    assert!(matches!(off.await.unwrap_err(), TaskError::TimedOut { .. }));
    let off = typed(&main, "a");
    let newer = main.task().key("typed").on_busy(laneway::OnBusy::Supersede);
    newer.run(async |_| ()).await.unwrap();
    let told = off.await.unwrap_err();
    let reason = Reason::Superseded;
    assert!(matches!(told, TaskError::CancelledQueued { reason: r, .. } if r == reason));
    // The lane is not idle before it has run; and it is not refused any more.
    let off = typed(&main, "a");
    let (slot, queued) = (main.acquire().await.unwrap(), main.spawn(async |_| ()));
    let mut idle = Box::pin(main.idle());
    assert!(poll_once(idle.as_mut()).is_pending());
    sleep(MINUTE).await;
    assert_eq!(main.snapshot().queued.len(), 2);
    let merged = typed(&main, "b");
    assert_eq!(merged.id(), off.id(), "into the queued one");
    drop(slot);
    idle.await;
    queued.await.unwrap();
    assert_eq!(
        (&**off.await.unwrap(), &**merged.await.unwrap()),
        ("a,b", "a,b")
    );
    let zero = main.task().debounce(
        std::time::Duration::ZERO,
        1,
        |a, b| a + b,
        async |_, n: u32| n,
    );
    assert!(matches!(zero.await.unwrap_err(), TaskError::Invalid(_)));
    let slot = main.acquire().await.unwrap();
    let queued = main.spawn(async |_| ());
    let full = typed(&main, "c").await.unwrap_err();
    assert!(matches!(full, TaskError::QueueFull { .. }), "{full:?}");
    drop(slot);
    queued.await.unwrap();
    assert_clean(&main);
}

/// S9: whoever awaits a shared task twice still waits when one of them is gone.
#[tokio::test(start_paused = true)]
async fn s9_two_handles_of_one_task_are_two_waits() {
    let lanes = Lanes::builder()
        .lane("main", LaneConfig::new(1).stall_ceiling(MINUTE))
        .lane("index", LaneConfig::new(1).no_stall_ceiling())
        .build()
        .unwrap();
    let (main, index) = (lanes.lane("main").unwrap(), lanes.lane("index").unwrap());
    let slot = index.acquire().await.unwrap();
    let waits = main.run(async |_| {
        let (one, mut other) = (join(&index, "k", "a"), join(&index, "k", "b"));
        tokio::select! {
            biased;
            _ = one => panic!("the lane is held"),
            _ = &mut other => panic!("the lane is held"),
            () = sleep(SECOND) => {}
        }
        other.await.unwrap()
    });
    let holds = async {
        sleep(10 * MINUTE).await;
        drop(slot);
    };
    let (told, ()) = tokio::join!(waits, holds);
    assert_eq!(&**told.unwrap(), "a,b");
}

/// However urgent it would have been: it is in the task that waits already.
#[tokio::test(start_paused = true)]
async fn s6_whoever_is_merged_overtakes_nobody() {
    let (_lanes, main) = ceilinged(1);
    let slot = main.acquire().await.unwrap();
    let of = |priority, n: u32| {
        let task = main.task().key("k").priority(priority);
        let merge = |a: Vec<u32>, b: Vec<u32>| [a, b].concat();
        task.coalesce(vec![n], merge, async |_, all: Vec<u32>| {
            sleep(SECOND).await;
            all
        })
    };
    // The first one begins, the second one waits, and the third one is in it.
    let first = of(Priority::Normal, 1);
    drop(slot);
    let_run().await;
    let second = of(Priority::Background, 2);
    let third = of(Priority::Foreground, 3);
    assert_eq!(
        second.id(),
        third.id(),
        "merged, and so it does not overtake"
    );
    assert_eq!(
        (&**first.await.unwrap(), &**third.await.unwrap()),
        (&[1][..], &[2, 3][..])
    );
    drop(second);
    assert_clean(&main);
}

/// S15: whoever has given it up leaves nothing with the task.
#[tokio::test(start_paused = true)]
async fn s15_a_handle_that_is_dropped_keeps_no_waker() {
    struct Nobody;
    impl std::task::Wake for Nobody {
        fn wake(self: std::sync::Arc<Self>) {}
    }
    let (_lanes, main) = one_lane(LaneConfig::new(1));
    let _slot = main.try_acquire().unwrap();
    let nobody = std::sync::Arc::new(Nobody);
    let waker = std::task::Waker::from(std::sync::Arc::clone(&nobody));
    for _ in 0..3 {
        let mut handle = Box::pin(join(&main, "k", "x"));
        let mut cx = std::task::Context::from_waker(&waker);
        assert!(handle.as_mut().poll(&mut cx).is_pending());
    }
    drop(waker);
    assert_eq!(std::sync::Arc::strong_count(&nobody), 1);
}
