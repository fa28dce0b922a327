//! Validates the webhook URL.

use protocol::Webhook;
use webhooks::{Guard, UrlRefused};

use super::fields::Fields;

const FIELD: &str = "webhook_url";

/// Reads the field, and records problems in `fields`. Its host name is resolved only at delivery.
pub(super) fn read(fields: &mut Fields<'_>, guard: Guard) -> Option<Webhook> {
    let value = fields.get(FIELD)?;
    let text = fields.text(FIELD, value)?;
    match guard.check(text) {
        Ok(receiver) => Some(Webhook { url: receiver.as_str().to_owned() }),
        Err(refused) => {
            let kind = match refused {
                UrlRefused::TooLong => "url_too_long",
                UrlRefused::Malformed => "url_parsing",
                UrlRefused::Scheme => "url_scheme",
                UrlRefused::Credentials | UrlRefused::NotPublic => "value_error",
            };
            // Does not echo the URL, which may contain secrets.
            fields.problem(FIELD, kind, refused.to_string());
            None
        }
    }
}
