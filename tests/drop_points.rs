//! Every future of ours, polled so and so often and then dropped, for every
//! such number until it is ready: right after a poll, and after what happened
//! next. The lane is then as if it had never come (S12), a grant that it did
//! not claim has been passed on (S20), and nothing that it held is left (S15).

#![expect(
    clippy::disallowed_types,
    reason = "the lint protects the crate; these are a test's own"
)]

mod common;

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use common::{HOUR, MINUTE, SECOND, assert_clean, let_run, poll_once, until};
use futures::StreamExt;
use laneway::{
    Descendants, Drain, Lane, LaneConfig, Lanes, OnFull, QueuedWork, Reason, Slot, TaskContext,
    TaskError, TaskHandle, Timeout,
};
use tokio::io::AsyncReadExt;
use tokio::runtime::Builder;
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// What happens between two polls.
#[derive(Clone, Copy, Debug)]
enum Event {
    Nothing,
    /// The holder gives its slot back, and whoever was first in line has had
    /// it.
    Release,
    /// Somebody else takes the slot that was given back.
    Hold,
    /// What the future itself waits for comes.
    Open,
    /// Everybody is asked to end.
    Ask,
    /// So long that a grant nobody claimed is passed on (S20).
    Pass,
    /// A slot is granted, and passed on unclaimed: whoever was granted it
    /// sleeps, and is back in line when it is polled.
    Late,
    /// A thread has come to its end.
    Thread,
}
use Event::{Ask, Hold, Late, Nothing, Open, Pass, Release, Thread};

/// A lane of one, its holder, somebody in line before the future, and
/// somebody behind it.
struct Scene {
    lanes: Lanes,
    main: Lane,
    inner: Lane,
    holder: RefCell<Option<Slot>>,
    cx: TaskContext,
    gate: Arc<Notify>,
    /// What a thread waits for.
    thread: Arc<AtomicBool>,
    /// What the future holds; it is free again when the future is gone.
    witness: Arc<()>,
    first: TaskHandle<()>,
    last: RefCell<Option<TaskHandle<()>>>,
    say: UnboundedSender<&'static str>,
    said: UnboundedReceiver<&'static str>,
}

type Body = Pin<Box<dyn Future<Output = ()> + Send>>;
type Subject<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;
type Make = for<'a> fn(&'a Scene) -> Subject<'a>;

impl Scene {
    fn new() -> Self {
        let config = LaneConfig::new(1).stall_ceiling(HOUR);
        let builder = Lanes::builder().lane("main", config.clone()).events(100);
        let config = config.queue_capacity(1).on_full(OnFull::Wait);
        let lanes = builder.lane("inner", config).build().unwrap();
        let (main, inner) = (lanes.lane("main").unwrap(), lanes.lane("inner").unwrap());
        let holder = main.try_acquire().unwrap();
        let (say, said) = unbounded_channel();
        let first = say.clone();
        Self {
            cx: holder.context().clone(),
            first: main.spawn(async move |_| first.send("first").unwrap()),
            holder: RefCell::new(Some(holder)),
            last: RefCell::new(None),
            gate: Arc::new(Notify::new()),
            thread: Arc::default(),
            witness: Arc::new(()),
            lanes,
            main,
            inner,
            say,
            said,
        }
    }

    fn queue_last(&self) {
        let last = self.say.clone();
        let last = self.main.spawn(async move |_| last.send("last").unwrap());
        self.last.borrow_mut().get_or_insert(last);
    }

    async fn happen(&self, event: Event) {
        match event {
            Nothing => {}
            Release => drop(self.holder.take()),
            Hold => {
                let_run().await;
                let holder = self.main.try_acquire().unwrap();
                drop(self.holder.replace(Some(holder)));
            }
            Open => self.gate.notify_one(),
            Ask => drop(self.main.cancel_all(Reason::User)),
            Pass => tokio::time::sleep(6 * SECOND).await,
            Late => {
                drop(self.holder.take());
                tokio::time::sleep(6 * SECOND).await;
            }
            Thread => {
                self.thread.store(true, SeqCst);
                until(|| self.main.snapshot().active.is_empty()).await;
            }
        }
        let_run().await;
    }

    /// A task's body, which holds the witness and waits.
    fn body(&self) -> impl FnOnce(TaskContext) -> Body + Send + use<> {
        let (witness, gate) = (Arc::clone(&self.witness), Arc::clone(&self.gate));
        move |_| {
            Box::pin(async move {
                let _held = witness;
                gate.notified().await;
            })
        }
    }

    /// The future is gone: everything goes on as if it had never been there.
    async fn assert_as_before(mut self, point: &str) {
        if self.last.borrow().is_none() {
            self.queue_last();
        }
        // Tasks that were detached with their handles may end by themselves.
        self.gate.notify_one();
        self.thread.store(true, SeqCst);
        drop(self.holder.take());
        // Whatever it was that was begun, it is over, or taken back.
        let idle = tokio::time::timeout(MINUTE, self.lanes.idle()).await;
        idle.unwrap_or_else(|_| panic!("{point}: {:#?}", self.lanes.snapshot()));
        let_run().await;
        self.lanes.resume();
        // The key of a waitpoint is free.
        drop(self.lanes.waitpoint::<Arc<()>>("key").expect(point));
        for lane in [&self.main, &self.inner] {
            let counters = assert_clean(lane);
            let ends = counters.completed + counters.ended;
            assert_eq!(counters.submitted, ends, "{point}: {counters:?}");
            assert_eq!(
                (counters.taken, counters.late),
                (0, 0),
                "{point}: {counters:?}"
            );
        }
        let last = self.last.take().unwrap();
        let told = [self.first.await, last.await];
        let (mut ran, mut expected) = (Vec::new(), Vec::new());
        for (name, told) in ["first", "last"].into_iter().zip(told) {
            match told {
                Ok(()) => expected.push(name),
                Err(
                    TaskError::CancelledQueued { .. }
                    | TaskError::Shutdown { .. }
                    | TaskError::Closed { .. }
                    | TaskError::Draining { .. },
                ) => {}
                Err(other) => panic!("{point}: {other}"),
            }
        }
        while let Ok(name) = self.said.try_recv() {
            ran.push(name);
        }
        assert_eq!(ran, expected, "{point}: in line as ever");
        match self.main.run(async |_| 7).await {
            Ok(7) | Err(TaskError::Closed { .. }) => {}
            other => panic!("{point}: {other:?}"),
        }
        assert_eq!(
            Arc::strong_count(&self.witness),
            1,
            "{point}: something is kept"
        );
    }
}

/// One future at every point of its life: ready at the poll that follows the
/// last event, and no sooner, so that no point was passed over because it had
/// failed early.
fn prove(name: &str, events: &[Event], make: Make) {
    prove_of(name, events, make);
}

/// Lends a closure the signature of a [`Make`].
const fn making<M>(make: M) -> M
where
    M: for<'a> Fn(&'a Scene) -> Subject<'a>,
{
    make
}

fn prove_of<M>(name: &str, events: &[Event], make: M)
where
    M: for<'a> Fn(&'a Scene) -> Subject<'a>,
{
    assert!(!name.contains(' '), "{name}: figures are split at spaces");
    let mut points = 0;
    let mut polls = 0;
    loop {
        let mut ready = false;
        for then in [false, true] {
            let point = format!(
                "{name}, {polls} polls{}",
                if then { " and more" } else { "" }
            );
            let mut builder = Builder::new_current_thread();
            let runtime = builder.enable_all().start_paused(true).build().unwrap();
            runtime.block_on(async {
                let scene = Scene::new();
                {
                    let mut subject = make(&scene);
                    for n in 0..polls {
                        if n == 1 {
                            scene.queue_last();
                        }
                        scene
                            .happen(events.get(n).copied().unwrap_or(Nothing))
                            .await;
                        if poll_once(subject.as_mut()).is_ready() {
                            ready = true;
                            break;
                        }
                    }
                    if then && !ready {
                        scene
                            .happen(events.get(polls).copied().unwrap_or(Nothing))
                            .await;
                    }
                }
                scene.assert_as_before(&point).await;
            });
            points += 1;
        }
        if ready {
            break;
        }
        polls += 1;
        assert!(polls <= events.len() + 4, "{name} is never ready");
    }
    assert_eq!(polls, events.len(), "{name} is ready at another poll");
    println!("proof: layer=cancel future={name} points={points}");
}

#[test]
fn s12_s20_run_at_every_point() {
    prove(
        "Lane::run",
        &[Nothing, Nothing, Release, Nothing, Open],
        |scene| Box::pin(async { drop(scene.main.run(scene.body()).await) }),
    );
    prove(
        "Lane::run/granted-and-late",
        &[Nothing, Late, Nothing, Open],
        |scene| Box::pin(async { drop(scene.main.run(scene.body()).await) }),
    );
    prove(
        "Lane::run/asked",
        &[Nothing, Release, Nothing, Ask],
        |scene| Box::pin(async { drop(scene.main.run(scene.body()).await) }),
    );
    prove(
        "Lane::run/asked-in-the-queue",
        &[Nothing, Nothing, Ask],
        |scene| Box::pin(async { drop(scene.main.run(scene.body()).await) }),
    );
    let listens: Make = |scene| {
        let body = scene.body();
        Box::pin(async {
            let run = scene.main.run(async |cx| {
                let reason = cx.cancelled().await;
                body(cx).await;
                reason
            });
            drop(run.await);
        })
    };
    prove(
        "Lane::run/listens",
        &[Nothing, Release, Nothing, Ask, Nothing, Open],
        listens,
    );
    let hooked: Make = |scene| {
        let (body, witness) = (scene.body(), Arc::clone(&scene.witness));
        Box::pin(async {
            let run = scene.main.run(async |cx| {
                cx.defer(async move |_| {
                    let _held = witness;
                    tokio::task::yield_now().await;
                });
                body(cx).await;
            });
            drop(run.await);
        })
    };
    let to_the_end = [Nothing, Release, Nothing, Open, Nothing];
    prove("Lane::run/deferred", &to_the_end, hooked);
    prove(
        "Lane::run/deferred-asked",
        &[Nothing, Release, Ask, Nothing, Pass, Nothing],
        hooked,
    );
    let nested: Make = |scene| {
        let body = scene.body();
        Box::pin(async { drop(scene.main.run(async |_| scene.inner.run(body).await).await) })
    };
    prove(
        "Lane::run/nested",
        &[Nothing, Nothing, Release, Nothing, Open],
        nested,
    );
    let phased: Make = |scene| {
        let body = scene.body();
        Box::pin(async {
            let run = scene.main.run(async |cx| {
                let _phase = cx.phase("a phase").silence(HOUR).unwrap();
                body(cx).await;
            });
            drop(run.await);
        })
    };
    prove(
        "TaskContext::phase",
        &[Nothing, Release, Nothing, Open],
        phased,
    );
}

/// A wait that closes a circle is refused as it begins, and its task goes on.
#[test]
fn s12_a_wait_that_is_refused_at_every_point() {
    fn goes_on<T>(told: Result<T, TaskError>) {
        assert!(matches!(told, Err(TaskError::WouldDeadlock { .. })));
    }

    let events = [Nothing, Nothing, Open];
    prove("Lane::run/refused", &events, |scene| {
        let (own, never) = (scene.body(), scene.body());
        Box::pin(async {
            let run = scene.inner.run(async |cx| {
                goes_on(scene.inner.run(never).await);
                own(cx).await;
            });
            drop(run.await);
        })
    });
    prove("Lane::acquire/refused", &events, |scene| {
        let own = scene.body();
        Box::pin(async {
            let run = scene.inner.run(async |cx| {
                assert!(scene.inner.acquire().await.is_err());
                own(cx).await;
            });
            drop(run.await);
        })
    });
    prove("TaskHandle/refused", &events, |scene| {
        let (own, never) = (scene.body(), scene.body());
        Box::pin(async {
            let run = scene.inner.run(async |cx| {
                goes_on(scene.inner.spawn(never).await);
                own(cx).await;
            });
            drop(run.await);
        })
    });
    // The child that is awaited holds a slot, and waits for its parent's.
    prove(
        "TaskHandle/await-refused",
        &[Nothing, Release, Open, Nothing, Nothing],
        |scene| {
            let (main, inner) = (scene.main.clone(), scene.inner.clone());
            let gate = Arc::clone(&scene.gate);
            Box::pin(async move {
                let outer = inner.clone();
                let child = outer
                    .run(async move |_| {
                        let child = main.spawn(async move |_| inner.run(async |_| ()).await);
                        let mut child = child.abort_on_drop();
                        gate.notified().await;
                        goes_on((&mut child).await);
                        Some(child)
                    })
                    .await;
                drop(child.unwrap().unwrap().await);
            })
        },
    );
}

#[test]
fn s12_s20_a_described_task_at_every_point() {
    let described: Make = |scene| {
        let (body, meta) = (scene.body(), Arc::clone(&scene.witness));
        let (on_wait, signal) = (Arc::clone(&meta), Arc::clone(&meta));
        let task = scene.main.task().name("described").key("key").meta(meta);
        let task = task.on_wait(HOUR, move |_| drop(on_wait)).warn_after(HOUR);
        let task = task.timeout(Timeout::idle(HOUR).budget(HOUR).wait(HOUR));
        let task = task.cancel_on(async move {
            let _held = signal;
            std::future::pending::<()>().await;
        });
        Box::pin(async { drop(task.run(body).await) })
    };
    prove(
        "TaskBuilder::run",
        &[Nothing, Nothing, Release, Nothing, Open],
        described,
    );
    prove(
        "TaskBuilder::run/asked",
        &[Nothing, Release, Nothing, Ask],
        described,
    );
    let acquired: Make = |scene| {
        let task = scene
            .main
            .task()
            .meta(Arc::clone(&scene.witness))
            .key("key");
        Box::pin(async { drop(task.acquire().await) })
    };
    prove(
        "TaskBuilder::acquire",
        &[Nothing, Nothing, Release],
        acquired,
    );
}

#[test]
fn s12_s20_acquire_at_every_point() {
    let acquire: Make = |scene| Box::pin(async { drop(scene.main.acquire().await) });
    prove("Lane::acquire", &[Nothing, Nothing, Release], acquire);
    prove("Lane::acquire/late", &[Nothing, Late], acquire);
    prove("Lane::acquire/asked", &[Nothing, Nothing, Ask], acquire);
    let held: Make = |scene| {
        let (witness, gate) = (Arc::clone(&scene.witness), Arc::clone(&scene.gate));
        Box::pin(async move {
            let slot = scene.main.acquire().await;
            let _held = (slot, witness);
            gate.notified().await;
        })
    };
    prove("Slot", &[Nothing, Release, Nothing, Ask, Open], held);
}

#[test]
fn s12_s20_chains_at_every_point() {
    // In line in its first lane, or in its second with a slot of the first.
    for lanes in [["main", "inner"], ["inner", "main"]] {
        let name = |what: &str| format!("Chain::{what}/{}", lanes.join("-"));
        let chain = move |scene: &Scene| scene.lanes.chain(lanes).unwrap();
        let run = making(move |scene| {
            let (chain, body) = (chain(scene), scene.body());
            Box::pin(async move { drop(chain.run(body).await) })
        });
        let acquire = making(move |scene| {
            let chain = chain(scene);
            Box::pin(async move { drop(chain.acquire().await) })
        });
        let spawn = making(move |scene| {
            let task = chain(scene).spawn(scene.body()).abort_on_drop();
            Box::pin(async move { drop(task.await) })
        });
        let through = [Nothing, Nothing, Release, Nothing, Open];
        prove_of(&name("run"), &through, run);
        prove_of(&name("run/late"), &[Nothing, Late, Nothing, Open], run);
        prove_of(&name("run/asked"), &[Nothing, Release, Nothing, Ask], run);
        prove_of(&name("run/asked-in-line"), &[Nothing, Nothing, Ask], run);
        prove_of(&name("acquire"), &[Nothing, Nothing, Release], acquire);
        prove_of(&name("acquire/late"), &[Nothing, Late], acquire);
        prove_of(&name("spawn"), &through, spawn);
    }
}

#[test]
fn s12_s20_a_parked_task_at_every_point() {
    let leaves: Make = |scene| {
        let body = scene.body();
        Box::pin(async {
            let run = scene.main.run(async |cx| {
                let wait = cx.waiting("x").release(["main"]);
                drop(wait.on(body(cx.clone())).await);
            });
            drop(run.await);
        })
    };
    prove("Parked", &[Nothing, Release, Nothing, Open], leaves);
    prove("Parked/asked", &[Nothing, Release, Nothing, Ask], leaves);
    prove(
        "Parked/comes-back",
        &[Nothing, Release, Hold, Open, Nothing, Release],
        leaves,
    );
    prove(
        "Parked/comes-back-late",
        &[Nothing, Release, Hold, Open, Late],
        leaves,
    );
    prove(
        "Parked/asked-on-its-way-back",
        &[Nothing, Release, Hold, Open, Ask],
        leaves,
    );
    let stays: Make = |scene| {
        let body = scene.body();
        Box::pin(async {
            let run = scene
                .main
                .run(async |cx| drop(cx.waiting("x").on(body(cx.clone())).await));
            drop(run.await);
        })
    };
    prove(
        "Parked/with-its-slot",
        &[Nothing, Release, Nothing, Open],
        stays,
    );
}

#[test]
fn s12_handles_at_every_point() {
    let spawned: Make = |scene| {
        let body = scene.body();
        let task = scene.main.spawn(async move |cx| body(cx).await);
        Box::pin(async { drop(task.await) })
    };
    prove(
        "TaskHandle",
        &[Nothing, Nothing, Release, Nothing, Open],
        spawned,
    );
    prove("TaskHandle/asked", &[Nothing, Release, Ask], spawned);
    let aborted: Make = |scene| {
        let body = scene.body();
        let task = scene
            .main
            .spawn(async move |cx| body(cx).await)
            .abort_on_drop();
        Box::pin(async { drop(task.await) })
    };
    prove(
        "TaskHandle::abort_on_drop",
        &[Nothing, Nothing, Release, Nothing, Open],
        aborted,
    );
    let by_reference: Make = |scene| {
        let body = scene.body();
        Box::pin(async {
            let mut task = scene.main.spawn(async move |cx| body(cx).await);
            drop((&mut task).await);
        })
    };
    prove(
        "TaskHandle/by-reference",
        &[Nothing, Nothing, Release, Open],
        by_reference,
    );
    let blocking: Make = |scene| {
        let witness = Arc::clone(&scene.witness);
        let open = Arc::clone(&scene.thread);
        let task = scene.main.spawn_blocking(move |_| {
            let _held = witness;
            while !open.load(SeqCst) {
                std::thread::yield_now();
            }
        });
        Box::pin(async { drop(task.await) })
    };
    prove("TaskHandle/blocking", &[Nothing, Release, Thread], blocking);
}

#[test]
fn s12_shared_tasks_and_offers_at_every_point() {
    let shared: Make = |scene| {
        let body = scene.body();
        let task = scene.main.task().key("key");
        let task = task.coalesce((), |(), ()| (), async move |cx, ()| body(cx).await);
        Box::pin(async { drop(task.await) })
    };
    let to_the_end = [Nothing, Nothing, Release, Nothing, Open];
    prove("SharedHandle", &to_the_end, shared);
    prove("SharedHandle/asked", &[Nothing, Release, Ask], shared);
    let offered: Make = |scene| {
        let body = scene.body();
        let task = scene.main.task().key("key");
        let task = task.offer(7_u8, async move |cx, _| body(cx).await);
        Box::pin(async { drop(task.await) })
    };
    prove("OfferHandle", &to_the_end, offered);
    prove("OfferHandle/asked", &[Nothing, Release, Ask], offered);
    prove("Inbox::recv", &[Nothing, Nothing, Ask], |scene| {
        let mut inbox = scene.cx.inbox::<u8>();
        Box::pin(async move { assert_eq!(inbox.recv().await, None) })
    });
}

/// The only place of a queue is another's until the gate opens.
#[test]
fn s12_s20_a_wait_for_a_place_at_every_point() {
    let reserved: Make = |scene| {
        let (witness, gate) = (Arc::clone(&scene.witness), Arc::clone(&scene.gate));
        Box::pin(async move {
            let other = scene.inner.reserve().await.unwrap();
            let leaves = async {
                gate.notified().await;
                drop(other);
            };
            let ((), place) = tokio::join!(leaves, scene.inner.reserve());
            let _held = (place.unwrap(), witness);
        })
    };
    prove("Lane::reserve", &[Nothing, Nothing, Open], reserved);
    let used: Make = |scene| {
        let (body, gate) = (scene.body(), Arc::clone(&scene.gate));
        Box::pin(async move {
            let other = scene.inner.reserve().await.unwrap();
            let leaves = async {
                gate.notified().await;
                drop(other);
            };
            let ((), place) = tokio::join!(leaves, scene.inner.reserve());
            drop(place.unwrap().run(body).await);
        })
    };
    prove("Reservation::run", &[Nothing, Open, Nothing, Open], used);
    let held: Make = |scene| {
        let (witness, gate) = (Arc::clone(&scene.witness), Arc::clone(&scene.gate));
        Box::pin(async move {
            let place = scene.inner.reserve().await.unwrap();
            let other = scene.inner.try_acquire().unwrap();
            let leaves = async {
                gate.notified().await;
                drop(other);
            };
            let ((), slot) = tokio::join!(leaves, place.acquire());
            let _held = (slot.unwrap(), witness);
        })
    };
    prove("Reservation::acquire", &[Nothing, Nothing, Open], held);
}

#[test]
fn s12_waiting_for_a_lane_at_every_point() {
    let events = [Nothing, Nothing, Release];
    prove("Lane::idle", &events, |scene| Box::pin(scene.main.idle()));
    prove("Lanes::idle", &events, |scene| Box::pin(scene.lanes.idle()));
    prove("Lane::wait_active", &events, |scene| {
        Box::pin(async {
            let _ = scene.main.wait_active(HOUR).await;
        })
    });
    prove("Lanes::wait_active", &events, |scene| {
        Box::pin(async {
            let _ = scene.lanes.wait_active(HOUR).await;
        })
    });
    prove("Lane::wait_active/over", &[Nothing, Pass], |scene| {
        Box::pin(async {
            let _ = scene.main.wait_active(SECOND).await;
        })
    });
}

#[test]
fn s12_what_comes_from_outside_at_every_point() {
    prove("Waitpoint", &[Nothing, Nothing, Open], |scene| {
        let (witness, gate) = (Arc::clone(&scene.witness), Arc::clone(&scene.gate));
        let point = scene.lanes.waitpoint::<Arc<()>>("key").unwrap();
        Box::pin(async move {
            let resumes = async {
                gate.notified().await;
                scene.lanes.resume_waitpoint("key", witness).unwrap();
            };
            let ((), value) = tokio::join!(resumes, point);
            drop(value.unwrap());
        })
    });
    // Somebody more is in line at the second poll, which is an event.
    prove("EventStream::next", &[Nothing, Nothing], |scene| {
        let mut events = scene.lanes.events().unwrap();
        Box::pin(async move { drop(events.next().await) })
    });
    prove("Lanes::probe", &[Nothing, Pass], |scene| {
        Box::pin(scene.lanes.probe())
    });
}

#[test]
fn s12_drains_and_shutdowns_at_every_point() {
    let events = [Nothing, Nothing, Release];
    prove("Lane::drain", &events, |scene| {
        let meta = Arc::clone(&scene.witness);
        drop(scene.main.task().meta(meta).spawn(async |_| ()));
        let drain = Drain::within(MINUTE).queued(QueuedWork::Return);
        Box::pin(async move { drop(scene.main.drain(drain).await) })
    });
    prove("Lanes::drain", &events, |scene| {
        let meta = Arc::clone(&scene.witness);
        drop(scene.main.task().meta(meta).spawn(async |_| ()));
        let drain = Drain::within(MINUTE).queued(QueuedWork::Return);
        let drain = drain.descendants(Descendants::Admit);
        Box::pin(async move { drop(scene.lanes.drain(drain).await) })
    });
    prove("Lane::drain/run", &events, |scene| {
        Box::pin(async { drop(scene.main.drain(Drain::within(MINUTE)).await) })
    });
    prove("Lane::shutdown", &events, |scene| {
        Box::pin(async { scene.main.shutdown().await })
    });
    prove("Lanes::shutdown", &events, |scene| {
        Box::pin(async { scene.lanes.shutdown().await })
    });
}

#[test]
fn s12_what_a_task_awaits_at_every_point() {
    prove(
        "TaskContext::cancelled",
        &[Nothing, Nothing, Ask],
        |scene| {
            Box::pin(async {
                let _ = scene.cx.cancelled().await;
            })
        },
    );
    prove(
        "TaskContext::cancelled/over",
        &[Nothing, Nothing, Release],
        |scene| {
            Box::pin(async {
                let _ = scene.cx.cancelled().await;
            })
        },
    );
    prove("Slot::lost", &[Nothing, Nothing, Ask], |scene| {
        let lost = scene.holder.borrow().as_ref().unwrap().lost();
        Box::pin(async {
            let _ = lost.await;
        })
    });
    prove("TaskContext::scope", &[Nothing, Nothing, Open], |scene| {
        let body = scene.body();
        Box::pin(scene.cx.scope(body(scene.cx.clone())))
    });
    prove(
        "TaskContext::scope/submits",
        &[Nothing, Nothing, Open],
        |scene| {
            let body = scene.body();
            Box::pin(scene.cx.scope(async { drop(scene.inner.run(body).await) }))
        },
    );
    prove("TaskContext::spawn", &[Nothing, Nothing, Open], |scene| {
        let (witness, gate) = (Arc::clone(&scene.witness), Arc::clone(&scene.gate));
        let joined = scene.cx.spawn(async move {
            let _held = witness;
            gate.notified().await;
        });
        Box::pin(async { drop(joined.await) })
    });
    prove("TaskContext::track", &[Nothing, Nothing, Open], |scene| {
        let body = scene.body();
        let stream = futures::stream::once(body(scene.cx.clone()));
        let mut stream = Box::pin(scene.cx.track(stream).when(|()| true));
        Box::pin(async move {
            let _ = stream.next().await;
        })
    });
    prove(
        "TaskContext::track_read",
        &[Nothing, Nothing, Open],
        |scene| {
            let (near, mut far) = tokio::io::duplex(1);
            let (witness, gate) = (Arc::clone(&scene.witness), Arc::clone(&scene.gate));
            drop(tokio::spawn(async move {
                gate.notified().await;
                drop(tokio::io::AsyncWriteExt::write_all(&mut far, b"x").await);
            }));
            let mut near = Box::pin(scene.cx.track_read(near));
            Box::pin(async move {
                let _held = witness;
                drop(near.read_u8().await);
            })
        },
    );
}

/// A hundred thousand at once, in line for one slot, ended in every way in
/// which somebody's future ends.
#[test]
fn s6_s12_a_hundred_thousand_aborts_leave_the_lane_as_it_was() {
    const MANY: usize = 100_000;
    for way in ["cancelled", "handle-dropped", "aborted", "future-dropped"] {
        let mut builder = Builder::new_current_thread();
        let runtime = builder.enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let scene = Scene::new();
            let witness = || Arc::clone(&scene.witness);
            let body = |held: Arc<()>| async move |_| drop(held);
            match way {
                "cancelled" => {
                    let spawn = |_| scene.main.spawn(body(witness()));
                    let tasks: Vec<_> = (0..MANY).map(spawn).collect();
                    tasks.iter().for_each(|task| task.cancel(Reason::User));
                    for task in tasks {
                        assert!(matches!(task.await, Err(TaskError::CancelledQueued { .. })));
                    }
                }
                "handle-dropped" => {
                    let spawn = |_| scene.main.spawn(body(witness())).abort_on_drop();
                    drop((0..MANY).map(spawn).collect::<Vec<_>>());
                }
                "aborted" => {
                    let (begin, mut begun) = unbounded_channel();
                    let spawn = |_| {
                        let (main, held, begin) = (scene.main.clone(), witness(), begin.clone());
                        tokio::spawn(async move {
                            begin.send(()).unwrap();
                            main.run(body(held)).await
                        })
                    };
                    let tasks: Vec<_> = (0..MANY).map(spawn).collect();
                    for _ in 0..MANY {
                        begun.recv().await.unwrap();
                    }
                    tasks.iter().for_each(tokio::task::JoinHandle::abort);
                    for task in tasks {
                        assert!(task.await.unwrap_err().is_cancelled());
                    }
                }
                _ => {
                    let make = |_| Box::pin(scene.main.run(body(witness())));
                    let mut tasks: Vec<_> = (0..MANY).map(make).collect();
                    for task in &mut tasks {
                        assert!(poll_once(task.as_mut()).is_pending());
                    }
                }
            }
            let snapshot = scene.main.snapshot();
            assert_eq!(
                (snapshot.active.len(), snapshot.queued.len()),
                (1, 1),
                "{way}"
            );
            scene.assert_as_before(way).await;
        });
        println!("proof: layer=cancel future={way} aborts={MANY}");
    }
}
