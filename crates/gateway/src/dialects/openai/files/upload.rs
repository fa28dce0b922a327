//! `POST /v1/files`: streams a form with a file into the blob store. Memory holds a piece of the file at a time.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use actix_multipart::{Field, Multipart, MultipartError};
use actix_web::error::PayloadError;
use actix_web::http::header::{CONTENT_LENGTH, CONTENT_TYPE, ContentDisposition, HeaderMap};
use actix_web::web::{Bytes, Payload};
use actix_web::{HttpRequest, HttpResponse, web};
use futures::stream::{self, Stream, StreamExt, TryStreamExt};
use protocol::BlobId;
use queue::{BlobError, NewBlob};
use tokio::time::{Duration, Instant, Sleep, sleep};

use super::super::query::invalid;
use super::form::Form;
use super::reply;
use crate::extract::Submitter;
use crate::refusal::Refusal;
use crate::state::State;

/// Maximum size of a field that is no file.
const MAX_FIELD: usize = 4 * 1024;
/// Maximum number of bytes that a form has beside its file.
const FORM_BYTES: u64 = 64 * 1024;
/// Maximum length of a file's name, in characters.
const MAX_NAME: usize = 255;
/// Maximum number of bytes of a refused upload that are read and discarded, for clients that write all of it
/// before they read.
const MAX_DRAIN_BYTES: usize = 16 * 1024 * 1024;

/// Stores an uploaded file.
pub(super) async fn create(
    caller: Submitter,
    request: HttpRequest,
    payload: Payload,
    state: web::Data<State>,
) -> Result<HttpResponse, Refusal> {
    let payload = Patient::new(payload, state.options.client_timeout);
    let stored = store(&caller, request.headers(), payload.clone(), &state).await;
    if stored.is_err() {
        payload.drain().await;
    }
    Ok(HttpResponse::Ok().json(reply::file(&stored?)))
}

async fn store(
    caller: &Submitter,
    headers: &HeaderMap,
    payload: Patient,
    state: &State,
) -> Result<queue::Blob, Refusal> {
    let max = state.blobs.limits().max_bytes;
    let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if length.is_some_and(|length: u64| length > max.saturating_add(FORM_BYTES)) {
        return Err(too_large(max));
    }
    require_form(headers)?;
    let form = Rc::new(RefCell::new(Form::default()));
    let mut upload = Upload { parts: Multipart::new(headers, payload), file: None, form };
    let Some(file) = upload.next_file().await? else {
        return Err(invalid("body", "file", "missing", "this field is required: a file"));
    };
    let new = NewBlob {
        tenant: caller.tenant().clone(),
        purpose: String::new(), // may come behind the file
        media_type: media_type(&file),
        filename: Some(file_name(file.content_disposition())),
        ttl: None,
        announced: length.map(|length| length.min(max)),
    };
    upload.file = Some(file);

    // Errors of the body must be Send, which those of its reader are not.
    let broken: Rc<RefCell<Option<Refusal>>> = Rc::default();
    let note = |refusal: Refusal| {
        *broken.borrow_mut() = Some(refusal);
        Broken
    };
    let form = Rc::clone(&upload.form);
    let body = stream::try_unfold(upload, |mut upload| async move {
        Ok(upload.next_piece().await?.map(|piece| (piece, upload)))
    });
    let amend = |new: NewBlob| {
        let wishes = form.borrow().finish().map_err(note)?;
        Ok(NewBlob { purpose: wishes.purpose, ttl: wishes.ttl, ..new })
    };
    let stored = state.blobs.put_amended(BlobId::new(), new, body.map_err(note), amend).await;
    stored.map_err(|error| match (broken.take(), error) {
        (Some(refusal), _) => refusal,
        (None, BlobError::TooLarge { limit }) => too_large(limit),
        (None, error @ (BlobError::TenantFull { .. } | BlobError::Longer { .. })) => {
            invalid("body", "file", "value_error", error.to_string())
        }
        (None, BlobError::TooSlow(_)) => Refusal::body_timeout(),
        (None, BlobError::Store(error)) => error.into(),
        (None, error) => Refusal::internal(error.to_string()),
    })
}

fn too_large(limit: u64) -> Refusal {
    Refusal::body_too_large(usize::try_from(limit).unwrap_or(usize::MAX))
}

/// Checks that the body is a form.
fn require_form(headers: &HeaderMap) -> Result<(), Refusal> {
    let given = headers.get(CONTENT_TYPE).and_then(|given| given.to_str().ok());
    let essence = given.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("multipart/form-data") {
        return Ok(());
    }
    Err(Refusal::unsupported_media_type(
        "Unsupported Content-Type: send a form with a file and its purpose as \
         'multipart/form-data'",
    ))
}

/// A form that is read to its end.
struct Upload {
    parts: Multipart,
    /// The file, until all of it is read.
    file: Option<Field>,
    /// The other fields.
    form: Rc<RefCell<Form>>,
}

impl Upload {
    /// Reads fields up to a file.
    async fn next_file(&mut self) -> Result<Option<Field>, Refusal> {
        while let Some(mut field) = self.parts.try_next().await.map_err(unreadable)? {
            let name = field.name().unwrap_or_default().to_owned();
            if name == "file" {
                self.form.borrow().check()?;
                return Ok(Some(field));
            }
            let value = field.bytes(MAX_FIELD).await.map_err(|_| {
                let message = format!("a field of a form may have {MAX_FIELD} bytes");
                invalid("body", &crate::validate::echo(&name), "string_too_long", message)
            })?;
            let value = value.map_err(unreadable)?;
            let value = String::from_utf8_lossy(&value).into_owned();
            self.form.borrow_mut().set(&name, value);
        }
        Ok(None)
    }

    /// Returns the next piece of the file. Behind the last, reads the rest of the form.
    async fn next_piece(&mut self) -> Result<Option<Bytes>, Refusal> {
        if let Some(file) = &mut self.file {
            if let Some(piece) = file.try_next().await.map_err(unreadable)? {
                return Ok(Some(piece));
            }
            self.file = None;
        }
        match self.next_file().await? {
            None => Ok(None),
            Some(_) => Err(invalid("body", "file", "value_error", "an upload has one file")),
        }
    }
}

fn unreadable(error: MultipartError) -> Refusal {
    match error {
        MultipartError::Payload(PayloadError::Io(error))
            if error.kind() == io::ErrorKind::TimedOut =>
        {
            Refusal::body_timeout()
        }
        MultipartError::Payload(error) => Refusal::body_broken(&error),
        error => {
            let message = format!("the form is malformed: {error}");
            invalid("body", "file", "value_error", message)
        }
    }
}

fn media_type(file: &Field) -> String {
    let given = file.content_type().map(ToString::to_string);
    given.filter(|given| given.len() <= MAX_NAME).unwrap_or_default()
}

/// Returns the file's name without folders and control characters.
fn file_name(disposition: Option<&ContentDisposition>) -> String {
    let given = disposition.and_then(|given| {
        let extended = given.get_filename_ext().map(|name| String::from_utf8_lossy(&name.value));
        extended.or_else(|| given.get_filename().map(Into::into))
    });
    let given = given.unwrap_or_default();
    let name = given.rsplit(['/', '\\']).next().unwrap_or_default();
    let name: String = name.chars().filter(|c| !c.is_control()).take(MAX_NAME).collect();
    if name.is_empty() { "upload".to_owned() } else { name }
}

/// The body can't be read on; the reason is noted elsewhere.
#[derive(Debug)]
struct Broken;

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the form can't be read")
    }
}

impl std::error::Error for Broken {}

/// A body, each piece of which must arrive in time. Clones read from the same body.
#[derive(Clone)]
struct Patient(Rc<RefCell<Waiting>>);

struct Waiting {
    payload: Payload,
    patience: Duration,
    /// When the patience ends, while a piece is waited for.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl Patient {
    fn new(payload: Payload, patience: Duration) -> Self {
        Self(Rc::new(RefCell::new(Waiting { payload, patience, deadline: None })))
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
