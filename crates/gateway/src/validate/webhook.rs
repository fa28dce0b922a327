//! Validates the webhook URL.

use protocol::{Webhook, WebhookForm};
use webhooks::{Guard, UrlRefused};

use super::fields::Fields;

/// The field of most APIs.
pub(crate) const FIELD: &str = "webhook_url";

/// Reads the field, and records problems in `fields`. Its host name is resolved only at delivery.
pub(crate) fn read(
    fields: &mut Fields<'_>,
    field: &str,
    form: WebhookForm,
    guard: Guard,
) -> Option<Webhook> {
    let value = fields.get(field)?;
    let text = fields.text(field, value)?;
    match guard.check(text) {
        Ok(receiver) => Some(Webhook { url: receiver.as_str().to_owned(), form }),
        Err(refused) => {
            let kind = match refused {
                UrlRefused::TooLong => "url_too_long",
                UrlRefused::Malformed => "url_parsing",
                UrlRefused::Scheme => "url_scheme",
                UrlRefused::Credentials | UrlRefused::NotPublic => "value_error",
            };
            // Does not echo the URL, which may contain secrets.
            fields.problem(field, kind, webhooks::refused(refused));
            None
        }
    }
}
