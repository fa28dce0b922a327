//! Aligned columns of text.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::document::{Document, Table};
use super::escape::printable;

/// The maximum width of a cell, except of the last column.
const MAX_WIDTH: usize = 60;

pub(super) fn render(document: &Document) -> String {
    let mut text: String = document.facts.iter().map(|fact| printable(fact) + "\n").collect();
    for shown in &document.tables {
        text += &format!("\n{}\n{}", printable(&shown.title), table(shown));
    }
    text
}

fn table(table: &Table) -> String {
    let last = table.columns.len() - 1;
    let cells = |row: &Vec<String>| -> Vec<String> {
        let cell = |(at, cell): (usize, &String)| {
            if at == last { printable(cell) } else { cut(&printable(cell)) }
        };
        row.iter().enumerate().map(cell).collect()
    };
    let headings = table.columns.iter().map(|column| column.heading.to_owned()).collect();
    let rows: Vec<Vec<String>> =
        [headings].into_iter().chain(table.rows.iter().map(cells)).collect();
    let width = |at: usize| rows.iter().map(|row| row[at].width()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..=last).map(width).collect();
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (at, cell) in row.iter().enumerate() {
            let pad = " ".repeat(widths[at].saturating_sub(cell.width()));
            let (before, after) =
                if table.columns[at].is_number { (pad.as_str(), "") } else { ("", pad.as_str()) };
            line += &format!("{}{before}{cell}{after}", if at == 0 { "" } else { "  " });
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}

fn cut(text: &str) -> String {
    if text.width() <= MAX_WIDTH {
        return text.to_owned();
    }
    let mut width = 1;
    let kept = text.chars().take_while(|c| {
        width += c.width().unwrap_or(0);
        width <= MAX_WIDTH
    });
    kept.chain(['…']).collect()
}
