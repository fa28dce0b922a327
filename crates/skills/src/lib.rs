//! # skills: what makes a product of a model
//!
//! A skill is one file: a prompt with fields, checks, sampling parameters, what its answer consists of, and whether the
//! answer is drawn on the image. The gateway writes tasks with it; the worker reads the answers. docs/SKILLS.md describes
//! the built-in ones and how to write others.
//!
//! ## Layout
//!
//! | module       | contents |
//! |--------------|----------|
//! | [`registry`] | [`Skills`]: the built-in skills (`builtin/*.toml`) and those of a folder |
//! | [`skill`]    | [`Skill`], which writes the prompts of tasks |
//! | `template`   | what templates are given, and what they write |
//! | [`field`]    | the fields of requests |
//! | [`file`]     | the file of a skill, and what is wrong with one |
//! | `load`       | checks a file |
//! | [`read`]     | parsers of answers, one for each kind of output, and the mapping of coordinates |
//! | [`marks`]    | images and what is marked on them |
//! | `draw`       | draws marks on images (feature `draw`) |

#[cfg(feature = "draw")]
pub mod draw;
pub mod field;
pub mod file;
mod load;
pub mod marks;
pub mod read;
pub mod registry;
pub mod skill;
mod template;

pub use file::{FileError, ReadError};
pub use registry::{Change, Skills};
pub use skill::Skill;
pub use template::{Given, Written};
