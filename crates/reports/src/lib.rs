//! # Reports on logs of ended tasks
//!
//! Reads `llm_requests.log` in any amount, plain, rotated or compressed, and makes of it a [`Report`] (counts,
//! percentiles, rows per hour, model and owner) or an [`export`] (a row per task).
//!
//! ## Layout
//!
//! | module      | what it does |
//! |-------------|--------------|
//! | `inputs`  | finds the files of a log |
//! | `decode`  | opens them: plain text, gzip, Zstandard |
//! | `blocks`  | splits text into blocks of whole lines |
//! | `scan`    | reads blocks with several threads, and passes their lines to a sink for each |
//! | `line`    | parses a line without copying it; `clock` parses its time |
//! | `filter`  | selects lines |
//! | `tally`   | the sink of reports: counts by `periods` and `names`, with the distributions of `figures` |
//! | `kind`    | finds the kind of an error |
//! | `report`  | merges the tallies of all threads |
//! | `render`  | renders reports for terminals, as Markdown, HTML with plots, CSV and JSON |
//! | `export`    | the sink of exports: writes CSV, NDJSON or Parquet |
//!
//! ## Memory
//!
//! It does not depend on the length of the log. Lines, names, the numbers of names and of periods are bounded:
//! longer lines count as malformed, further names share a group, and periods become longer. Figures are counted in
//! histograms.

mod blocks;
mod clock;
mod decode;
mod export;
mod figures;
mod filter;
mod inputs;
mod kind;
mod line;
mod names;
mod periods;
mod render;
mod report;
mod scan;
mod tally;

pub use export::{ExportError, ExportFormat, Exported, export};
pub use filter::Filter;
pub use inputs::{Input, InputError};
pub use render::{Format, RenderError};
pub use report::{
    ErrorCount, Figures, MalformedLine, NamedRow, Options, Period, Problem, Report, Row,
};
pub use scan::OnProgress;
