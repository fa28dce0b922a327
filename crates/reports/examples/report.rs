//! Prints a report on files: `cargo run --release -p qwen-queue-reports --example report -- logs/`, with `-` for
//! standard input.

use std::error::Error;
use std::io::Write;
use std::path::PathBuf;

use reports::{Filter, Format, Input, Options, Report};

fn main() -> Result<(), Box<dyn Error>> {
    let paths: Vec<PathBuf> = std::env::args().skip(1).map(PathBuf::from).collect();
    let inputs = Input::find(&paths)?;
    let threads = std::thread::available_parallelism()?.get();
    let options = Options { filter: Filter::default(), top: 20, threads };
    let report = Report::read(&inputs, &options, &|_| {});
    std::io::stdout().write_all(report.render(Format::Terminal)?.as_bytes())?;
    Ok(())
}
