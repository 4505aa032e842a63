//! What the types promise: where they may go, how big they are, what errors
//! say, and what a structured task may borrow.

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::fmt::Debug;
use std::future::pending;
use std::marker::PhantomData;
use std::rc::Rc;
use std::time::Duration;

use laneway::{
    AcquireError, ConfigError, ControlError, Counters, Cycle, CycleTask, Drain, DrainReport,
    FlattenTask, Inbox, InvalidDuration, InvalidName, InvalidOption, Lane, LaneChange, LaneConfig,
    LaneNameError, LaneOrigin, LaneSnapshot, LaneTimeout, Lanes, LanesBuilder, OfferHandle,
    Offered, OnBusy, OnDeadlock, OnFull, PanicPayload, Phase, QueuedWork, Reason, Reconfigure,
    Reservation, ReturnedTask, Scoped, SharedHandle, Slot, Snapshot, TaskBuilder, TaskContext,
    TaskError, TaskHandle, TaskId, TaskSnapshot, TaskStatus, Timeout, Tracked, TryAcquireError,
    WaitActiveError, WaitInfo, WaitsFor,
};

type NotSync = Cell<u8>;
type NotSend = Rc<u8>;

const fn shared<T: Send + Sync + Unpin + 'static>() {}
const fn error<T: Error + Send + Sync + 'static>() {}

macro_rules! all {
    ($check:ident: $($ty:ty),+ $(,)?) => { $( $check::<$ty>(); )+ };
}

/// Whether a type is `Send`, also where it is not: an inherent constant goes
/// before a trait's.
struct IsSend<T>(PhantomData<T>);

trait Otherwise {
    const SEND: bool = false;
}

impl<T> Otherwise for IsSend<T> {}

impl<T: Send> IsSend<T> {
    const SEND: bool = true;
}

#[test]
fn handles_go_anywhere() {
    all!(shared:
        Lanes, LanesBuilder, Lane, LaneConfig, LaneTimeout, TaskContext, Slot, Phase,
        TaskHandle<()>, TaskHandle<NotSync>, Drain, DrainReport, ReturnedTask, Snapshot,
        LaneSnapshot, TaskSnapshot, Counters, TaskId, TaskStatus, WaitInfo,
        Tracked<()>, Scoped<()>, PanicPayload, Reconfigure, LaneChange<'static>, LaneOrigin,
        Inbox<NotSync>, OfferHandle<()>, Offered<()>,
        SharedHandle<u8>, OnBusy, OnFull, OnDeadlock, Cycle, CycleTask, WaitsFor,
    );
    fn clone<T: Clone + Send + Sync + 'static>() {}
    clone::<TaskContext>();
    clone::<Lane>();
    clone::<Lanes>();
    all!(error:
        TaskError, AcquireError, TryAcquireError, ControlError, WaitActiveError, ConfigError,
        LaneNameError, InvalidName, InvalidDuration, InvalidOption,
    );
    // A handle is as good as its value.
    let sent = [
        IsSend::<TaskBuilder<'static>>::SEND && IsSend::<Reservation<'static>>::SEND,
        IsSend::<TaskHandle<NotSync>>::SEND,
        IsSend::<TaskHandle<NotSend>>::SEND,
    ];
    assert_eq!(sent, [true, true, false]);
}

#[test]
fn futures_go_where_their_parts_go() {
    fn is_send<T: Send>(_: &T) {}
    let lanes = Lanes::builder().lane("main", LaneConfig::new(1));
    let lanes = lanes.build().unwrap();
    let main = lanes.lane("main").unwrap();
    is_send(&main.run(async |cx| cx.id()));
    is_send(&main.acquire());
    is_send(&main.task().acquire());
    is_send(&main.reserve());
    is_send(&main.idle());
    is_send(&main.wait_active(Duration::ZERO));
    is_send(&lanes.idle());
    is_send(&lanes.wait_active(Duration::ZERO));
    fn outlives<T: Send + 'static>(_: T) {}
    outlives(main.drain(Drain::within(Duration::ZERO)));
    outlives(lanes.drain(Drain::within(Duration::ZERO)));
    outlives(main.shutdown());
    outlives(lanes.shutdown());
}

#[test]
fn what_is_passed_around_is_small() {
    let word = size_of::<usize>();
    assert_eq!(size_of::<Lanes>(), word);
    assert_eq!(size_of::<TaskContext>(), word);
    assert_eq!(size_of::<Slot>(), word);
    assert_eq!(size_of::<Lane>(), 2 * word);
    assert!(size_of::<TaskId>() <= 3 * word);
    assert!(size_of::<TaskBuilder<'_>>() <= 2 * word);
    // A handle holds its refusal, and its value lives elsewhere.
    assert_eq!(
        size_of::<TaskHandle<[u8; 4096]>>(),
        size_of::<TaskHandle<()>>()
    );
    assert!(size_of::<TaskHandle<()>>() <= size_of::<TaskError>() + 8 * word);
    // Clippy's limit for the error of a `Result`.
    assert!(size_of::<TaskError>() <= 128, "{}", size_of::<TaskError>());
    assert!(size_of::<AcquireError>() <= 128);
    assert!(size_of::<Option<TaskId>>() <= 4 * word);
}

fn lane() -> (Lanes, Lane) {
    let config = LaneConfig::new(1);
    let lanes = Lanes::builder().lane("main", config).build().unwrap();
    let main = lanes.lane("main").unwrap();
    (lanes, main)
}

#[tokio::test]
async fn run_borrows_and_need_not_be_send() {
    let (_lanes, main) = lane();
    let prompt = String::from("six times seven");
    let mut log = Vec::new();
    let shared = Rc::new(RefCell::new(0));
    let answer = main.run(async |cx| {
        cx.progress();
        log.push(prompt.as_str());
        tokio::task::yield_now().await;
        *shared.borrow_mut() += 42;
        Rc::clone(&shared)
    });
    let answer = answer.await.unwrap();
    assert_eq!(*answer.borrow(), 42);
    assert_eq!(log, ["six times seven"]);
    // An ordinary closure that gives a future will do, too.
    let length = main.run(|_| std::future::ready(prompt.len()));
    assert_eq!(length.await.unwrap(), 15);
}

#[tokio::test]
async fn errors_say_what_happened_in_a_line() {
    let (lanes, main) = lane();
    let lines = |error: &dyn Error| error.to_string();
    let active = main.spawn(async |_| pending::<()>().await);
    let queued = main.spawn(async |_| pending::<()>().await);
    tokio::task::yield_now().await;
    let id = queued.id();
    assert_eq!(main.clear(), 1);
    let said = lines(&queued.await.unwrap_err());
    assert!(said.starts_with(&format!(
        "task {id} was cleared from the queue of lane \"main\""
    )));
    active.cancel(laneway::Reason::User);
    let said = lines(&active.await.unwrap_err());
    assert!(said.contains("was cancelled while active, after"), "{said}");
    assert!(said.ends_with(": cancelled by the user"), "{said}");
    let panicked = main.run(async |_| -> () { std::panic::resume_unwind(Box::new("boom")) });
    let error = panicked.await.unwrap_err();
    assert!(lines(&error).ends_with("panicked: boom"));
    let TaskError::Panicked { payload, .. } = error else {
        panic!("{error:?}");
    };
    assert_eq!(payload.message(), "boom");
    assert_eq!(payload.into_inner().downcast_ref::<&str>(), Some(&"boom"));
    let invalid = main.task().name("").run(async |_| ()).await.unwrap_err();
    assert_eq!(lines(&invalid), "a task name may not be empty");
    assert_eq!(
        lines(&main.pause_for(Duration::ZERO).unwrap_err()),
        "the pause may not be zero"
    );
    assert_eq!(
        lines(&lanes.lane("mian").unwrap_err()),
        "no lane is called \"mian\", no pattern matches it, and no default lane is configured"
    );
    main.close();
    assert_eq!(
        lines(&main.try_acquire().unwrap_err()),
        "lane \"main\" is closed"
    );
}

#[derive(Debug)]
enum AgentError {
    Model(&'static str),
    Task(TaskError),
}

impl From<TaskError> for AgentError {
    fn from(error: TaskError) -> Self {
        Self::Task(error)
    }
}

#[tokio::test]
async fn flatten_task_makes_one_result_of_two() {
    let (_lanes, main) = lane();
    let turn = |outcome: Result<u8, AgentError>| main.run(async move |_| outcome);
    assert_eq!(turn(Ok(7)).await.flatten_task().unwrap(), 7);
    let overloaded = turn(Err(AgentError::Model("overloaded"))).await;
    assert!(matches!(
        overloaded.flatten_task(),
        Err(AgentError::Model("overloaded"))
    ));
    main.close();
    let closed = turn(Ok(7)).await.flatten_task();
    assert!(matches!(
        closed,
        Err(AgentError::Task(TaskError::Closed { .. }))
    ));
}

/// Compiles only while none of them borrows what it came from.
#[tokio::test]
async fn futures_that_wait_outlive_the_handles_they_came_from() {
    fn shut(lane: Lane) -> impl Future<Output = ()> + Send + 'static {
        lane.shutdown()
    }
    let (_lanes, main) = lane();
    let signal = main.run(async |cx| cx.cancelled()).await.unwrap();
    assert_eq!(signal.await, Reason::Completed);
    let lost = main.acquire().await.unwrap().lost();
    assert_eq!(lost.await, Reason::Completed);
    shut(main).await;
}

/// Of a refusal: whether the same call may succeed later.
#[tokio::test(start_paused = true)]
async fn what_may_be_tried_again_says_so() {
    let (lanes, main) = lane();
    let slot = main.acquire().await.unwrap();
    let impatient = main.task().timeout(Timeout::wait(Duration::from_secs(1)));
    let timed_out = impatient.acquire().await.unwrap_err();
    assert!(timed_out.is_retryable(), "{timed_out}");
    let (cleared, _) = tokio::join!(main.acquire(), async { main.clear() });
    let cleared = cleared.unwrap_err();
    assert!(!cleared.is_retryable(), "{cleared}");
    drop(slot);
    main.close();
    let closed = main.acquire().await.unwrap_err();
    assert!(!closed.is_retryable(), "{closed}");
    drop(lanes);
}

/// Nothing of ours prints as nothing.
#[tokio::test(start_paused = true)]
async fn what_is_printed_says_what_it_is() {
    fn assert_names(value: &dyn Debug, parts: &[&str]) {
        let text = format!("{value:?}");
        for part in parts {
            assert!(text.contains(part), "{part} in {text:?}");
        }
    }
    let (lanes, main) = lane();
    assert_names(&lanes, &["Lanes"]);
    assert_names(&main, &["Lane", "main"]);
    let slot = main.acquire().await.unwrap();
    assert_names(&slot, &["Slot"]);
    let cx = slot.context();
    assert_names(cx, &["Task", &slot.id().to_string(), "main"]);
    assert_names(
        &cx.track(futures::stream::empty::<u8>()).when(|_| true),
        &["When"],
    );
    assert_names(
        &main.task().name("turn 17").key("ticket-42"),
        &["turn 17", "ticket-42"],
    );
    assert_names(&main.run(async |_| ()), &["Run"]);
    let queued = main.task().name("turn 18").spawn(async |_| ());
    assert_names(&queued, &["TaskHandle", &queued.id().to_string(), "Queued"]);
    assert_names(&queued.id(), &["TaskId", &queued.id().to_string()]);
    lanes
        .reconfigure(|change| {
            assert_names(&change.lane("main").max_concurrent(1), &["LaneChange", "1"]);
            assert_names(change, &["Reconfigure", "1"]);
        })
        .unwrap();
    let hand_back = Drain::within(Duration::ZERO).queued(QueuedWork::Return);
    let report = main.drain(hand_back).await;
    assert_names(&report.returned, &["ReturnedTask", "turn 18", "main"]);
    let (_lanes, other) = lane();
    let error = other.run(async |_| -> () { std::panic::resume_unwind(Box::new("boom")) });
    let TaskError::Panicked { payload, .. } = error.await.unwrap_err() else {
        panic!("it panicked");
    };
    assert_names(&payload, &[payload.message()]);
}
