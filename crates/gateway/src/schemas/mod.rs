//! Types that only document the API: bodies that are read field by field, and error responses. The
//! OpenAPI document and the routes use them; [`crate::validate`] does the checking.

mod errors;
pub(crate) mod fields;
mod generate;

pub(crate) use errors::{
    AdminErrors, BlobErrors, ErrorReply, FullReply, InvalidReply, KeyErrors, Problem, Step,
    SubmitErrors, TaskErrors, UploadErrors,
};
pub(crate) use generate::GenerateBody;
