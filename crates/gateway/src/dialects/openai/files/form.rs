//! The fields of an upload's form beside the file.

use std::time::Duration;

use super::super::query::invalid;
use super::{UPLOADS, USER_DATA, ttl, wrong_ttl};
use crate::refusal::Refusal;
use crate::validate::{FieldError, echo};

/// The fields of a form. They may come before or behind the file.
#[derive(Debug, Default)]
pub(super) struct Form {
    purpose: Option<String>,
    anchor: Option<String>,
    seconds: Option<String>,
    /// The time for which the file is kept, unless the form says so.
    ttl: Option<Duration>,
}

/// The fields of a complete form.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wishes {
    pub(super) purpose: String,
    pub(super) ttl: Option<Duration>,
}

impl Form {
    /// Starts a form without a purpose of its own.
    pub(super) fn of_user_data(ttl: Option<Duration>) -> Self {
        Self { purpose: Some(USER_DATA.to_owned()), ttl, ..Self::default() }
    }

    /// Notes a field. Unknown ones are ignored.
    pub(super) fn set(&mut self, name: &str, value: String) {
        match name {
            "purpose" => self.purpose = Some(value),
            "expires_after[anchor]" => self.anchor = Some(value),
            "expires_after[seconds]" => self.seconds = Some(value),
            _ => {}
        }
    }

    /// Checks a purpose that has come already, so that a wrong one is refused before the file is read.
    pub(super) fn check(&self) -> Result<(), Refusal> {
        match &self.purpose {
            Some(other) if !UPLOADS.contains(&other.as_str()) => {
                let allowed = UPLOADS.join(", ");
                let message = format!("must be one of {allowed}; is '{}'", echo(other));
                Err(invalid("body", "purpose", "enum", message))
            }
            _ => Ok(()),
        }
    }

    /// Returns what the complete form says.
    pub(super) fn finish(&self) -> Result<Wishes, Refusal> {
        self.check()?;
        let Some(purpose) = self.purpose.clone() else {
            let message = format!("this field is required: one of {}", UPLOADS.join(", "));
            return Err(invalid("body", "purpose", "missing", message));
        };
        if self.anchor.is_none() && self.seconds.is_none() {
            return Ok(Wishes { purpose, ttl: self.ttl });
        }
        let wrong = |name: &str, kind, message: String| {
            let loc = ["body".into(), "expires_after".into(), name.into()];
            Err(Refusal::invalid(vec![FieldError::new(loc, kind, message)]))
        };
        if self.anchor.as_deref() != Some("created_at") {
            return wrong("anchor", "enum", "must be \"created_at\"".to_owned());
        }
        let seconds = self.seconds.as_deref().and_then(|seconds| seconds.trim().parse().ok());
        match seconds.and_then(ttl) {
            Some(ttl) => Ok(Wishes { purpose, ttl: Some(ttl) }),
            None => wrong("seconds", "value_error", wrong_ttl()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finished(fields: &[(&str, &str)]) -> Result<Wishes, Option<String>> {
        let mut form = Form::default();
        fields.iter().for_each(|(name, value)| form.set(name, (*value).to_owned()));
        form.finish().map_err(|refusal| refusal.param())
    }

    #[test]
    fn forms_name_the_field_that_is_wrong() {
        let (anchor, seconds) = ("expires_after[anchor]", "expires_after[seconds]");
        let batch = ("purpose", "batch");
        let wishes = |ttl| Ok(Wishes { purpose: "batch".into(), ttl });
        assert_eq!(finished(&[batch, ("more", "x")]), wishes(None));
        let whole = [(anchor, "created_at"), (seconds, "3600"), batch];
        assert_eq!(finished(&whole), wishes(Some(Duration::from_secs(3600))));
        for (fields, param) in [
            (&[][..], "purpose"),
            (&[("purpose", "batch_output")], "purpose"),
            (&[batch, (anchor, "now"), (seconds, "3600")], "expires_after.anchor"),
            (&[batch, (seconds, "3600")], "expires_after.anchor"),
            (&[batch, (anchor, "created_at")], "expires_after.seconds"),
            (&[batch, (anchor, "created_at"), (seconds, "3599")], "expires_after.seconds"),
            (&[batch, (anchor, "created_at"), (seconds, "x")], "expires_after.seconds"),
        ] {
            assert_eq!(finished(fields), Err(Some(param.to_owned())), "{fields:?}");
        }
    }
}
