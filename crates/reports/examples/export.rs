//! Exports files as Parquet: `cargo run --release -p qwen-queue-reports --example export -- tasks.parquet logs/`.

use std::error::Error;
use std::fs::File;
use std::path::PathBuf;

use reports::{ExportFormat, Filter, Input, export};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1).map(PathBuf::from);
    let output = arguments.next().ok_or("name the file to write, then the files to read")?;
    let inputs = Input::find(&arguments.collect::<Vec<_>>())?;
    let format = match output.extension().and_then(|ending| ending.to_str()) {
        Some("csv") => ExportFormat::Csv,
        Some("ndjson") => ExportFormat::Ndjson,
        _ => ExportFormat::Parquet,
    };
    export(&inputs, &Filter::default(), format, File::create(output)?, &|_| {})?;
    Ok(())
}
