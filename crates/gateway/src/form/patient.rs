//! [`Patient`]: a body, each piece of which must arrive in time.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use actix_web::error::PayloadError;
use actix_web::web::{Bytes, Payload};
use futures::stream::{Stream, StreamExt};
use tokio::time::{Duration, Instant, Sleep, sleep};

use crate::refusal::Refusal;

/// Maximum number of bytes of a refused upload that are read and discarded, for clients that write all of it
/// before they read.
const MAX_DRAIN_BYTES: usize = 16 * 1024 * 1024;

/// A body, each piece of which must arrive in time. Clones read from the same body.
#[derive(Clone)]
pub(crate) struct Patient(Rc<RefCell<Waiting>>);

struct Waiting {
    payload: Payload,
    patience: Duration,
    /// When the patience ends, while a piece is waited for.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl Patient {
    /// Reads a body by `read`. If that refuses it, discards the rest.
    ///
    /// # Errors
    /// Those of `read`.
    pub(crate) async fn read<T>(
        payload: Payload,
        patience: Duration,
        read: impl AsyncFnOnce(Self) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let body = Self(Rc::new(RefCell::new(Waiting { payload, patience, deadline: None })));
        let done = read(body.clone()).await;
        if done.is_err() {
            body.drain().await;
        }
        done
    }

    /// Reads and discards the rest, within bounds.
    async fn drain(mut self) {
        let until = Instant::now() + self.0.borrow().patience;
        let mut drained = 0;
        while let Some(Ok(piece)) = self.next().await {
            drained += piece.len();
            if drained > MAX_DRAIN_BYTES || Instant::now() > until {
                return;
            }
        }
    }
}

impl Stream for Patient {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut waiting = self.0.borrow_mut();
        if let Poll::Ready(piece) = waiting.payload.poll_next_unpin(context) {
            waiting.deadline = None;
            return Poll::Ready(piece);
        }
        let patience = waiting.patience;
        let deadline = waiting.deadline.get_or_insert_with(|| Box::pin(sleep(patience)));
        if deadline.as_mut().poll(context).is_pending() {
            return Poll::Pending;
        }
        let error = io::Error::from(io::ErrorKind::TimedOut);
        Poll::Ready(Some(Err(PayloadError::Io(error))))
    }
}
