//! `POST /v1/files`: streams a form with a file into the blob store. Memory holds a piece of the file at a time.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use actix_multipart::{Field, Multipart, MultipartError};
use actix_web::http::header::{CONTENT_LENGTH, CONTENT_TYPE, ContentDisposition, HeaderMap};
use actix_web::web::{Bytes, Payload};
use actix_web::{HttpRequest, HttpResponse, web};
use futures::stream::{self, Stream, TryStreamExt};
use protocol::BlobId;
use queue::{Blob, BlobError, NewBlob};

use super::super::query::invalid;
use super::form::Form;
use super::{USER_DATA, reply};
use crate::extract::Submitter;
use crate::form::{Patient, is_form, unreadable};
use crate::refusal::Refusal;
use crate::state::State;

/// Maximum size of a field that is no file.
const MAX_FIELD: usize = 4 * 1024;
/// Maximum number of bytes that a form has beside its file.
const FORM_BYTES: u64 = 64 * 1024;
/// Maximum length of a file's name, in characters.
const MAX_NAME: usize = 255;
/// The number of bytes by which an image is recognized.
const HEAD: usize = 64;

/// Stores an uploaded file.
pub(super) async fn create(
    caller: Submitter,
    request: HttpRequest,
    payload: Payload,
    state: web::Data<State>,
) -> Result<HttpResponse, Refusal> {
    let form = Form::default();
    let stored = store(&caller, request.headers(), payload, &state, form).await?;
    Ok(HttpResponse::Ok().json(reply::file(&stored)))
}

/// Stores an upload of any kind for `user_data`: a form with a file, or the bytes of one.
pub(in crate::dialects) async fn store_any(
    caller: &Submitter,
    request: &HttpRequest,
    payload: Payload,
    state: &State,
    ttl: Option<Duration>,
) -> Result<Blob, Refusal> {
    let headers = request.headers();
    if is_form(headers) {
        return store(caller, headers, payload, state, Form::of_user_data(ttl)).await;
    }
    Patient::read(payload, state.options.client_timeout, async |payload| {
        store_bytes(caller, headers, payload, state, ttl).await
    })
    .await
}

/// Stores a body that is the file itself.
async fn store_bytes(
    caller: &Submitter,
    headers: &HeaderMap,
    payload: Patient,
    state: &State,
    ttl: Option<Duration>,
) -> Result<Blob, Refusal> {
    let length = check_length(headers, state, 0)?;
    if length == Some(0) {
        return Err(invalid(
            "body",
            "file",
            "missing",
            "the body is empty: send the bytes of a file",
        ));
    }
    let media_type = headers.get(CONTENT_TYPE).and_then(|given| given.to_str().ok());
    let new = NewBlob {
        tenant: caller.tenant().clone(),
        purpose: USER_DATA.to_owned(),
        media_type: media_type
            .filter(|given| given.len() <= MAX_NAME)
            .unwrap_or_default()
            .to_owned(),
        filename: None,
        ttl,
        announced: length,
    };
    let body = payload.map_err(|error| unreadable(MultipartError::Payload(error), "file"));
    put(state, new, body, Ok).await
}

/// Stores the file of a form, and discards the rest of a body that is refused.
async fn store(
    caller: &Submitter,
    headers: &HeaderMap,
    payload: Payload,
    state: &State,
    form: Form,
) -> Result<Blob, Refusal> {
    Patient::read(payload, state.options.client_timeout, async |payload| {
        store_form(caller, headers, payload, state, form).await
    })
    .await
}

async fn store_form(
    caller: &Submitter,
    headers: &HeaderMap,
    payload: Patient,
    state: &State,
    form: Form,
) -> Result<Blob, Refusal> {
    let max = state.blobs.limits().max_bytes;
    let length = check_length(headers, state, FORM_BYTES)?;
    require_form(headers)?;
    let form = Rc::new(RefCell::new(form));
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
    let form = Rc::clone(&upload.form);
    let body = stream::try_unfold(upload, |mut upload| async move {
        Ok(upload.next_piece().await?.map(|piece| (piece, upload)))
    });
    let amend = |new: NewBlob| {
        let wishes = form.borrow().finish()?;
        Ok(NewBlob { purpose: wishes.purpose, ttl: wishes.ttl, ..new })
    };
    put(state, new, body, amend).await
}

/// Returns the length of a body, unless it is not known or exceeds that of a blob by more than `beside`.
fn check_length(headers: &HeaderMap, state: &State, beside: u64) -> Result<Option<u64>, Refusal> {
    let max = state.blobs.limits().max_bytes;
    let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    match length {
        Some(length) if length > max.saturating_add(beside) => Err(too_large(max)),
        length => Ok(length),
    }
}

/// Stores a body. The media type of an image is that of its content; `amend` changes the other properties when all
/// bytes were read.
async fn put(
    state: &State,
    new: NewBlob,
    body: impl Stream<Item = Result<Bytes, Refusal>>,
    amend: impl FnOnce(NewBlob) -> Result<NewBlob, Refusal>,
) -> Result<Blob, Refusal> {
    // Errors of the body must be Send, which those of its reader are not.
    let broken: Rc<RefCell<Option<Refusal>>> = Rc::default();
    let note = |refusal: Refusal| {
        *broken.borrow_mut() = Some(refusal);
        Broken
    };
    let head: RefCell<Vec<u8>> = RefCell::default();
    let body = body.map_err(note).inspect_ok(|piece| {
        let mut head = head.borrow_mut();
        let missing = HEAD.saturating_sub(head.len()).min(piece.len());
        head.extend_from_slice(&piece[..missing]);
    });
    let amend = |new: NewBlob| {
        let new = amend(new).map_err(note)?;
        let kind = media::Kind::of(&head.borrow()).ok();
        let media_type = kind.map_or(new.media_type, |kind| kind.media_type().to_owned());
        Ok(NewBlob { media_type, ..new })
    };
    let stored = state.blobs.put_amended(BlobId::new(), new, body, amend).await;
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

fn require_form(headers: &HeaderMap) -> Result<(), Refusal> {
    if is_form(headers) {
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
        while let Some(mut field) =
            self.parts.try_next().await.map_err(|error| unreadable(error, "file"))?
        {
            let name = field.name().unwrap_or_default().to_owned();
            if name == "file" {
                self.form.borrow().check()?;
                return Ok(Some(field));
            }
            let value = field.bytes(MAX_FIELD).await.map_err(|_| {
                let message = format!("a field of a form may have {MAX_FIELD} bytes");
                invalid("body", &crate::validate::echo(&name), "string_too_long", message)
            })?;
            let value = value.map_err(|error| unreadable(error, "file"))?;
            let value = String::from_utf8_lossy(&value).into_owned();
            self.form.borrow_mut().set(&name, value);
        }
        Ok(None)
    }

    /// Returns the next piece of the file. Behind the last, reads the rest of the form.
    async fn next_piece(&mut self) -> Result<Option<Bytes>, Refusal> {
        if let Some(file) = &mut self.file {
            if let Some(piece) = file.try_next().await.map_err(|error| unreadable(error, "file"))? {
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
