//! [`Form`]: reads a form (`multipart/form-data`) with images, with limits on its size and the time it takes.
//!
//! - `patient`: a body, each piece of which must arrive in time.

mod patient;

use std::io;

use actix_multipart::{Field, Multipart, MultipartError};
use actix_web::HttpRequest;
use actix_web::error::PayloadError;
use actix_web::http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap};
use actix_web::web::{Bytes, Payload};
use futures::TryStreamExt;
use queue::ContentHash;
use serde_json::{Value, json};
use skills::Skill;
use tokio::time::timeout;

pub(crate) use self::patient::Patient;
use crate::body::check_encoding;
use crate::order::{Order, Room};
use crate::refusal::{Code, Refusal};
use crate::skill_requests;
use crate::state::State;
use crate::validate::form::{FormFields, Given, kind_of_picture};
use crate::validate::{FieldError, echo, generate_with, named_model};

/// Maximum number of fields.
const MAX_FIELDS: usize = 1_100;

/// A form that was read.
pub(crate) struct Form {
    pub(crate) fields: FormFields,
    /// Its share of the memory for large bodies.
    pub(crate) room: Room,
}

impl Form {
    /// Reads the form of a request.
    ///
    /// # Errors
    /// If it is no form, exceeds a limit, or does not arrive in time.
    pub(crate) async fn read(
        request: &HttpRequest,
        payload: Payload,
        state: &State,
    ) -> Result<Self, Refusal> {
        let (headers, options) = (request.headers(), &state.options);
        check_encoding(headers)?;
        if !is_form(headers) {
            return Err(Refusal::unsupported_media_type(
                "Unsupported Content-Type: send a form, as 'multipart/form-data'",
            ));
        }
        let small = options.max_body_bytes();
        let most = small.saturating_add(options.max_inline_images());
        let patience = options.client_timeout;
        Patient::read(payload, patience, async |payload| {
            let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok());
            let length = length.and_then(|length| length.parse::<usize>().ok());
            if length.is_some_and(|length| length > most) {
                return Err(Refusal::body_too_large(most));
            }
            let mut room = Room::default();
            if length.is_none_or(|length| length > small) {
                let given = state.images.room(patience).await;
                room = given.ok_or_else(|| Refusal::busy_with_images(patience))?;
            }
            let parts = Parts::new(Multipart::new(headers, payload), state);
            let fields = timeout(patience, parts.read()).await;
            let fields = fields.unwrap_or_else(|_| Err(Refusal::body_timeout()))?;
            Ok(Self { fields, room })
        })
        .await
    }

    /// Returns a value that is the same for forms with the same fields.
    pub(crate) fn identity(&self) -> Value {
        let hash = |bytes: &[u8]| ContentHash::of(bytes).to_string();
        let pictures: Vec<Value> =
            self.fields.pictures().map(|picture| picture.identity(hash)).collect();
        json!({"fields": self.fields.body().ok(), "images": pictures})
    }

    /// Validates the form as a request for one task, with all its images; by the skill that writes its prompt, if there
    /// is one.
    ///
    /// # Errors
    /// If something is invalid, or the queue is unavailable.
    pub(crate) async fn into_order(
        mut self,
        state: &State,
        skill: Option<&Skill>,
    ) -> Result<Order, Refusal> {
        let body = self.fields.body().map_err(Refusal::invalid)?;
        let pictures = self.fields.take_pictures();
        let order = match skill {
            Some(skill) => skill_requests::read(state, skill, &body, pictures).await,
            None => {
                let other_models = state.other_models(named_model(&body)).await?;
                let limits = state.options.limits(&other_models);
                generate_with(&body, pictures, &limits).map_err(Refusal::invalid)
            }
        };
        let mut order = order.map_err(|refusal| match refusal.code {
            Code::Invalid => self.invalid(refusal.problems),
            _ => refusal,
        })?;
        order.images.room = self.room;
        Ok(order)
    }

    /// Names the prompt's field in problems as the form does.
    fn invalid(&self, mut problems: Vec<FieldError>) -> Refusal {
        for problem in &mut problems {
            if problem.loc.get(1) == Some(&"prompt".into()) {
                problem.loc[1] = self.fields.name_of_prompt().into();
            }
        }
        Refusal::invalid(problems)
    }
}

/// Returns whether a body is a form.
pub(crate) fn is_form(headers: &HeaderMap) -> bool {
    let given = headers.get(CONTENT_TYPE).and_then(|given| given.to_str().ok());
    let essence = given.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("multipart/form-data")
}

/// Says why a form can't be read on. `field` is the one that is blamed for a malformed form.
pub(crate) fn unreadable(error: MultipartError, field: &str) -> Refusal {
    match error {
        MultipartError::Payload(PayloadError::Io(error))
            if error.kind() == io::ErrorKind::TimedOut =>
        {
            Refusal::body_timeout()
        }
        MultipartError::Payload(error) => Refusal::body_broken(&error),
        error => problem(field, "value_error", format!("the form is malformed: {error}")),
    }
}

fn problem(field: &str, kind: &'static str, message: String) -> Refusal {
    Refusal::invalid(vec![FieldError::new(["body".into(), (*echo(field)).into()], kind, message)])
}

/// The parts of a form, and what of each kind it may still have.
struct Parts<'a> {
    parts: Multipart,
    state: &'a State,
    /// The bytes of texts.
    text_left: usize,
    /// The bytes of images.
    images_left: usize,
}

impl<'a> Parts<'a> {
    fn new(parts: Multipart, state: &'a State) -> Self {
        let text_left = state.options.max_body_bytes();
        Self { parts, state, text_left, images_left: state.options.images.max_bytes }
    }

    async fn read(mut self) -> Result<FormFields, Refusal> {
        let mut fields = FormFields::default();
        let mut count = 0;
        let unreadable = |error| unreadable(error, "form");
        while let Some(mut part) = self.parts.try_next().await.map_err(unreadable)? {
            count += 1;
            let name = part.name().unwrap_or_default().to_owned();
            if count > MAX_FIELDS {
                let message = format!("a form may have {MAX_FIELDS} fields");
                return Err(problem(&name, "too_long", message));
            }
            let is_picture = kind_of_picture(&name).is_some();
            if is_picture && is_file(&part) {
                let file = self.file(&name, &mut part).await?;
                self.log(&part, &name, file.len());
                // A page sends an empty file without a name if nobody chose one.
                if !file.is_empty() || has_file_name(&part) {
                    fields.add_picture(&name, Given::File(file));
                }
                continue;
            }
            let text = self.text(&name, is_picture, &mut part).await?;
            self.log(&part, &name, text.len());
            match is_picture {
                true if text.trim().is_empty() => {}
                true => fields.add_picture(&name, Given::Text(text)),
                false => fields.add_text(&name, text),
            }
        }
        Ok(fields)
    }

    /// Reads a file.
    async fn file(&mut self, name: &str, part: &mut Field) -> Result<Bytes, Refusal> {
        let most = self.state.options.images.max_bytes;
        let read = part.bytes(self.images_left).await.map_err(|_| {
            let message = match self.images_left == most {
                true => format!("the image has more than {most} bytes (MAX_IMAGE_BYTES)"),
                false => format!(
                    "the images of a form may have {most} bytes together (MAX_IMAGE_BYTES): upload each with POST \
                     /blobs, and send its id"
                ),
            };
            problem(name, "too_long", message)
        })?;
        let bytes = read.map_err(|error| unreadable(error, name))?;
        self.images_left -= bytes.len();
        Ok(bytes)
    }

    /// Reads a text, which may have an image in base64.
    async fn text(
        &mut self,
        name: &str,
        is_picture: bool,
        part: &mut Field,
    ) -> Result<String, Refusal> {
        let limit = match is_picture {
            true => (self.images_left / 3 * 4).saturating_add(1024),
            false => self.text_left,
        };
        let read = part.bytes(limit).await.map_err(|_| {
            problem(name, "string_too_long", format!("may have at most {limit} bytes here"))
        })?;
        let bytes = read.map_err(|error| unreadable(error, name))?;
        match is_picture {
            true => self.images_left = self.images_left.saturating_sub(bytes.len() / 4 * 3),
            false => self.text_left -= bytes.len(),
        }
        String::from_utf8(bytes.into())
            .map_err(|_| problem(name, "string_unicode", "is not UTF-8".to_owned()))
    }

    /// Logs a field, without its content, if the operator asks for it.
    fn log(&self, part: &Field, name: &str, bytes: usize) {
        if self.state.options.debug_image_form {
            let media_type = part.content_type().map(ToString::to_string);
            tracing::info!(
                target: "gateway.form",
                field = echo(name),
                bytes,
                media_type = media_type.map(|text| echo(&text)),
                is_file = has_file_name(part),
                "a form has a field"
            );
        }
    }
}

fn has_file_name(part: &Field) -> bool {
    let given = part.content_disposition();
    let name =
        given.and_then(|given| given.get_filename().or(given.get_filename_ext().map(|_| "x")));
    name.is_some_and(|name| !name.is_empty())
}

/// Returns whether a part is a file: it has a file's name, or a media type other than text's.
fn is_file(part: &Field) -> bool {
    let has_name = part
        .content_disposition()
        .is_some_and(|given| given.get_filename().is_some() || given.get_filename_ext().is_some());
    has_name || part.content_type().is_some_and(|kind| kind.type_() != "text")
}
