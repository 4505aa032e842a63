//! Streams and readers whose output is progress.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use pin_project_lite::pin_project;
use tokio::io::{AsyncRead, ReadBuf};

use crate::TaskContext;

/// Counts everything.
#[derive(Clone, Copy, Debug, Default)]
pub struct Always;

pin_project! {
    /// A stream whose items are progress of a task; made by
    /// [`TaskContext::track`].
    #[must_use = "streams do nothing unless polled"]
    #[derive(Debug)]
    pub struct Tracked<S, P = Always> {
        #[pin]
        stream: S,
        cx: TaskContext,
        when: P,
    }
}

impl<S> Tracked<S> {
    pub(crate) const fn new(cx: TaskContext, stream: S) -> Self {
        Self {
            stream,
            cx,
            when: Always,
        }
    }

    /// Only items that satisfy this are progress: a keep-alive is not.
    pub fn when<P>(self, when: P) -> Tracked<S, When<P>>
    where
        S: Stream,
        P: FnMut(&S::Item) -> bool,
    {
        Tracked {
            stream: self.stream,
            cx: self.cx,
            when: When(when),
        }
    }
}

/// Counts what a predicate says.
#[derive(Clone, Copy)]
pub struct When<P>(P);

impl<P> std::fmt::Debug for When<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("When")
    }
}

trait Counts<T: ?Sized> {
    fn counts(&mut self, value: &T) -> bool;
}

impl<T: ?Sized> Counts<T> for Always {
    fn counts(&mut self, _: &T) -> bool {
        true
    }
}

impl<T: ?Sized, P: FnMut(&T) -> bool> Counts<T> for When<P> {
    fn counts(&mut self, value: &T) -> bool {
        self.0(value)
    }
}

impl<S: Stream, P: Counts<S::Item>> Stream for Tracked<S, P> {
    type Item = S::Item;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<S::Item>> {
        let this = self.project();
        let polled = this.stream.poll_next(cx);
        if let Poll::Ready(Some(item)) = &polled
            && this.when.counts(item)
        {
            this.cx.progress();
        }
        polled
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.stream.size_hint()
    }
}

pin_project! {
    /// A reader whose non-empty reads are progress of a task; made by
    /// [`TaskContext::track_read`].
    #[derive(Debug)]
    pub struct TrackedRead<R, P = Always> {
        #[pin]
        reader: R,
        cx: TaskContext,
        when: P,
    }
}

impl<R> TrackedRead<R> {
    pub(crate) const fn new(cx: TaskContext, reader: R) -> Self {
        Self {
            reader,
            cx,
            when: Always,
        }
    }

    /// Only reads whose bytes satisfy this are progress.
    pub fn when<P>(self, when: P) -> TrackedRead<R, When<P>>
    where
        P: FnMut(&[u8]) -> bool,
    {
        TrackedRead {
            reader: self.reader,
            cx: self.cx,
            when: When(when),
        }
    }
}

impl<R: AsyncRead, P: Counts<[u8]>> AsyncRead for TrackedRead<R, P> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let this = self.project();
        let before = buf.filled().len();
        let polled = this.reader.poll_read(cx, buf);
        if let Poll::Ready(Ok(())) = &polled {
            let read = buf.filled().get(before..).unwrap_or_default();
            if !read.is_empty() && this.when.counts(read) {
                this.cx.progress();
            }
        }
        polled
    }
}
