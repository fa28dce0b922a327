//! The field that says whom to tell of a task's end.

use protocol::Webhook;
use webhooks::{Guard, UrlRefused};

use super::fields::Fields;

/// The field's name.
const FIELD: &str = "webhook_url";

/// Reads the field; what is wrong is noted in the fields. Where its name leads is looked up when there
/// is something to tell.
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
            // Without an echo: a URL may hold secrets.
            fields.problem(FIELD, kind, refused.to_string());
            None
        }
    }
}
