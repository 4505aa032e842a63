//! A recording goes to its writer in parts, and nothing of it is lost on the way.

use std::future::pending;
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::common::MINUTE;
use super::{one, replayed, saved, told};
use laneway::replay::{Recording, ReplayError, SaveError};
use laneway::{LaneConfig, Lanes};
use tokio::time::sleep;

#[tokio::test(start_paused = true)]
async fn a_recording_is_saved_in_parts() {
    let (lanes, main) = one();
    let mut parts = saved(&lanes);
    let stuck = main.spawn(async |_| pending::<()>().await);
    parts.extend(saved(&lanes));
    let next = main.spawn(async |_| ());
    sleep(MINUTE).await;
    let before = parts.clone();
    parts.extend(saved(&lanes));
    next.await.unwrap();
    assert!(stuck.await.is_err());
    parts.extend(saved(&lanes));
    assert_eq!(replayed(&parts).events(), told(&lanes));
    // What was saved by then can be replayed by itself.
    assert_eq!(replayed(&before).events(), &told(&lanes)[..2]);
}

#[tokio::test(start_paused = true)]
async fn what_found_no_room_is_said_and_not_replayed() {
    let builder = Lanes::builder().lane("main", LaneConfig::new(1));
    let lanes = builder.events(4).recording(6).build().unwrap();
    let main = lanes.lane("main").unwrap();
    main.run(async |_| ()).await.unwrap();
    let mut parts = saved(&lanes);
    assert_eq!(replayed(&parts).dispatched().count(), 1);
    for _ in 0..9 {
        main.run(async |_| ()).await.unwrap();
    }
    parts.extend(saved(&lanes));
    let refused = |parts: &[u8]| {
        let recording = Recording::read(parts).unwrap();
        match recording.replay() {
            Err(ReplayError::Overflowed { missed }) => missed,
            other => panic!("{other:?}"),
        }
    };
    let missed = refused(&parts);
    assert!(missed >= 12, "{missed}");
    // It does not begin anew.
    main.run(async |_| ()).await.unwrap();
    parts.extend(saved(&lanes));
    assert!(refused(&parts) > missed);
}

#[tokio::test(start_paused = true)]
async fn what_a_writer_did_not_take_is_missing() {
    struct Full;
    impl std::io::Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let (lanes, main) = one();
    let mut parts = saved(&lanes);
    main.run(async |_| ()).await.unwrap();
    assert!(matches!(lanes.save_recording(Full), Err(SaveError::Io(_))));
    parts.extend(saved(&lanes));
    let replayed = Recording::read(&parts[..]).unwrap().replay();
    assert!(matches!(
        replayed,
        Err(ReplayError::Overflowed { missed: 3.. })
    ));

    // And if that was the first part.
    let (lanes, _) = one();
    assert!(lanes.save_recording(Full).is_err());
    let replayed = Recording::read(&saved(&lanes)[..]).unwrap().replay();
    assert!(matches!(replayed, Err(ReplayError::Overflowed { .. })));
}

/// A log that is shorter than what was recorded, of lanes that are gone by then.
#[tokio::test(start_paused = true)]
async fn what_the_log_has_let_go_of_is_saved_too() {
    let builder = Lanes::builder().default_lane(LaneConfig::new(1));
    let lanes = builder.events(3).recording(1_000).build().unwrap();
    let mut parts = Vec::new();
    for n in 0..40 {
        let session = lanes.lane(&format!("session:{n}")).unwrap();
        session.run(async |_| ()).await.unwrap();
        drop(session);
        if n % 7 == 0 {
            parts.extend(saved(&lanes));
        }
    }
    parts.extend(saved(&lanes));
    let replayed = replayed(&parts);
    let ran: Vec<_> = replayed.dispatched().map(|event| &*event.lane).collect();
    let expected: Vec<_> = (0..40).map(|n| format!("session:{n}")).collect();
    assert_eq!(ran, expected);
}

/// Does something each time that it is written to, and then takes it.
struct Meanwhile<F>(Vec<u8>, F);

impl<F: FnMut(usize)> Write for Meanwhile<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (self.1)(self.0.len());
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Parts that begin while another is saved, and end before it or after it, with a log
/// that has let go of most of what is in them.
#[tokio::test(start_paused = true)]
async fn s13_what_happens_while_a_part_is_saved_is_in_the_next() {
    let builder = Lanes::builder().lane("main", LaneConfig::new(1));
    let lanes = builder.events(8).recording(10_000).build().unwrap();
    let main = lanes.lane("main").unwrap();
    let names = std::cell::Cell::new(0);
    // Each with a name of its own, so that none passes for another.
    let happen = |count: usize| {
        for _ in 0..count {
            names.set(names.get() + 1);
            let slot = main.task().name(names.get().to_string()).try_acquire();
            drop(slot.unwrap());
        }
    };
    happen(400);
    let (mut second, mut third, mut fourth) = (Vec::new(), Vec::new(), Vec::new());
    let inside = Meanwhile(Vec::new(), |_| {
        happen(7);
        fourth.extend(saved(&lanes));
        happen(7);
    });
    let mut inside = Some(inside);
    let mut first = Meanwhile(Vec::new(), |before: usize| {
        happen(3);
        if before > 0 && second.is_empty() {
            second = saved(&lanes);
            happen(9);
            let mut inside = inside.take().unwrap();
            lanes.save_recording(&mut inside).unwrap();
            third = inside.0;
            happen(20);
        }
    });
    lanes.save_recording(&mut first).unwrap();
    let first = first.0;
    assert!(second.len() > 200 && first.len() > 40_000);
    let rest = saved(&lanes);
    let all = [first, second, third, fourth, rest].concat();
    let replayed = replayed(&all);
    let published = lanes.snapshot().events.unwrap().published;
    assert_eq!(replayed.events().len() as u64, published);
    let names_of = replayed.dispatched().map(|event| event.name.clone());
    let ran: Vec<_> = names_of.map(|name| name.unwrap().to_string()).collect();
    let expected: Vec<_> = (1..=names.get()).map(|n| n.to_string()).collect();
    assert_eq!(ran, expected);
}

#[tokio::test(start_paused = true)]
async fn s14_what_a_writer_that_panicked_did_not_take_is_missing() {
    let (lanes, main) = one();
    let mut parts = saved(&lanes);
    main.run(async |_| ()).await.unwrap();
    let panics = Meanwhile(Vec::new(), |_| panic!("on purpose"));
    let save = AssertUnwindSafe(|| lanes.save_recording(panics));
    assert!(catch_unwind(save).is_err());
    main.run(async |_| ()).await.unwrap();
    parts.extend(saved(&lanes));
    let replayed = Recording::read(&parts[..]).unwrap().replay();
    assert!(matches!(
        replayed,
        Err(ReplayError::Overflowed { missed: 5.. })
    ));
}

/// A disk that is full after so many bytes, and then is not.
struct Fills(Vec<u8>, Option<usize>);

impl Write for &mut Fills {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = self.1.map_or(bytes.len(), |most| most - self.0.len());
        match room.min(bytes.len()) {
            0 => {
                self.1 = None;
                Err(io::ErrorKind::StorageFull.into())
            }
            taken => self.0.write(&bytes[..taken]),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn of_a_save_that_failed_nothing_is_written_later_and_the_file_says_so() {
    for (before, room) in [(false, 0), (false, 300), (true, 0), (true, 300), (true, 70)] {
        let (lanes, main) = one();
        let mut file = if before { saved(&lanes) } else { Vec::new() };
        main.run(async |_| ()).await.unwrap();
        let mut fills = Fills(Vec::new(), Some(room));
        assert!(lanes.save_recording(&mut fills).is_err());
        assert_eq!(fills.0.len(), room);
        file.extend(fills.0);
        main.run(async |_| ()).await.unwrap();
        file.extend(saved(&lanes));
        file.extend(saved(&lanes));
        let recording = Recording::read(&file[..]).unwrap();
        assert!(matches!(
            recording.replay(),
            Err(ReplayError::Overflowed { missed: 3.. })
        ));
    }
}

#[tokio::test(start_paused = true)]
async fn a_part_that_is_missing_or_in_another_place_is_named() {
    let (lanes, main) = one();
    let mut parts = Vec::new();
    for _ in 0..4 {
        parts.push(saved(&lanes));
        main.run(async |_| ()).await.unwrap();
    }
    let replay = |which: &[usize]| {
        let file: Vec<u8> = which.iter().flat_map(|n| parts[*n].clone()).collect();
        Recording::read(&file[..])?.replay()
    };
    assert_eq!(replay(&[0, 1, 2, 3]).unwrap().dispatched().count(), 3);
    for which in [&[0, 2, 3][..], &[0, 2, 1, 3], &[0, 1, 1], &[0, 3]] {
        let error = replay(which).unwrap_err();
        assert!(matches!(error, ReplayError::Line { .. }), "{error}");
        assert!(error.to_string().contains("part"), "{error}");
    }
    assert!(matches!(replay(&[1, 2]), Err(ReplayError::NoRecording)));
}

/// What is told of a task that comes plainly, and completes, is what its events tell.
#[tokio::test(start_paused = true)]
async fn a_plain_task_takes_the_room_of_its_two_events() {
    let builder = Lanes::builder().lane("main", LaneConfig::new(1));
    let lanes = builder.events(1).recording(2_000).build().unwrap();
    let main = lanes.lane("main").unwrap();
    // With what its lane was made of, and what tasks are granted.
    for _ in 0..(2_000 - 3) / 2 {
        main.run(async |_| ()).await.unwrap();
    }
    let mut parts = saved(&lanes);
    assert_eq!(replayed(&parts).dispatched().count(), 998);
    for _ in 0..1_001 {
        main.task().name("named").run(async |_| ()).await.unwrap();
    }
    parts.extend(saved(&lanes));
    let recording = Recording::read(&parts[..]).unwrap();
    assert!(matches!(
        recording.replay(),
        Err(ReplayError::Overflowed { missed: 2 })
    ));
}
